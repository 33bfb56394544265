"""What a provider says under seal, as the coordinator's own sealing client reads it for a client of standard mode."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator

import pytest

from hushnet.coordinator.api.problem_table import ROWS
from hushnet.coordinator.confidential import StandardRequest
from hushnet.coordinator.serving.attempt import SEALERS_OWN
from hushnet.foundation.errors import RequestError
from hushnet.provider.engines.base import ChatRequest, ContextTooLong, Delta, EngineBusy, EngineFailed, Event
from hushnet.provider.engines.grammar import UnsupportedSchema
from hushnet.sealing.records import meter_of
from hushnet.sealing.statements import SerialMemory, verify_statement
from support.provider_bench import NETWORK, Bench, body
from support.scripted_engine import ScriptedEngine

STATUS = {row.code: row.status for row in ROWS}


@pytest.mark.parametrize("is_stream", [True, False])
@pytest.mark.parametrize(
    ("error", "code", "status", "is_callers"),
    [
        (ContextTooLong(prompt_tokens=9, context_tokens=8), "context_too_long", 400, True),
        (UnsupportedSchema("not cannot be enforced"), "unsupported_schema", 400, True),
        (RequestError("no", code="engine_refused"), "engine_refused", 400, True),
        (RequestError("no", code="unsupported_feature"), "unsupported_feature", 400, True),
        (EngineBusy("full"), "capacity", 503, False),
        (EngineFailed("dead"), "engine_failed", 502, False),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else None,
)
async def test_a_sealed_error_has_the_status_of_its_code_and_blames_who_caused_it(
    error: Exception, code: str, status: int, is_callers: bool, is_stream: bool
) -> None:
    async def fail(request: ChatRequest) -> AsyncGenerator[Event, None]:
        del request
        raise error
        yield Delta("", 0)

    bench = await Bench.open(ScriptedEngine(fail))
    statement = verify_statement(
        bench.statement, network=NETWORK, now=bench.now, provider_id=None, serials=SerialMemory()
    )
    request = StandardRequest(body(stream=is_stream), output_tokens_default=64)
    attempt = await request.seal(statement.recipient(), trust="none", now=bench.now)
    writer = await bench.exchange(attempt.take_envelope())
    for record in writer.records:
        attempt.read(record)

    assert attempt.error_body is not None
    shown = json.loads(attempt.error_body)["error"]
    assert (attempt.status, attempt.content_type) == (status, "application/json")
    assert shown["code"] == code
    assert shown["type"] == ("invalid_request_error" if is_callers else shown["type"])
    assert (meter_of(writer.records[-1]).code in SEALERS_OWN) is is_callers
    assert code in STATUS
    assert not is_callers or STATUS[code] == status
    await bench.aclose()
