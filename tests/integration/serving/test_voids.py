"""A provider that fails before content costs nobody anything: every way to ask, every form of answer, both databases."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from hushnet.coordinator.app.build import CHAT_PATH
from hushnet.coordinator.ledger.model import Code, Phase, UsageOutcome
from hushnet.foundation.ids import AccountId
from hushnet.sealing.errors import WireCode
from hushnet.sealing.streaming import MEDIA_REQUEST, MEDIA_STREAM
from support.control import network
from support.exchange import Exchange
from support.fleet import MODEL, ScriptedProvider, ServedAttempt, refuses, until
from support.ledger import database_url
from support.scripted_provider import Part
from support.x402_network import PayingNetwork, chat_body, open_paying
from support.x402_peer import Account

CREDIT = 1_000_000


def fails_after_the_head(attempt: ServedAttempt) -> None:
    attempt.head()
    attempt.error(WireCode.ENGINE_FAILED)


def fails_after_the_role(attempt: ServedAttempt) -> None:
    attempt.head()
    if attempt.is_stream:
        attempt.role()
    attempt.error(WireCode.INTERNAL)


def claims_tokens_and_fails(attempt: ServedAttempt) -> None:
    attempt.head()
    attempt.usage(output=40)
    attempt.send(attempt.sealer.error(attempt.meter(output=40, code=WireCode.ENGINE_FAILED), b"{}"))
    attempt.finish()


def answers_with_an_error_of_the_requests(attempt: ServedAttempt) -> None:
    attempt.head(status=400, content_type="application/json")
    attempt.error(WireCode.CONTEXT_TOO_LONG, b'{"error":{"message":"too long","code":"context_too_long"}}')


def loses_its_link(attempt: ServedAttempt) -> None:
    attempt.head()
    attempt.provider.close("connection_lost")


def frees_the_slot_without_an_end(attempt: ServedAttempt) -> None:
    attempt.head()
    attempt.finish()


def skips_a_record(attempt: ServedAttempt) -> None:
    attempt.head()
    attempt.sealer.boilerplate(b"never sent")
    attempt.role()


ERRORS: tuple[Part, ...] = (
    refuses(WireCode.INTERNAL),
    refuses(WireCode.OPEN_FAILED),
    refuses(WireCode.BOUND_EXCEEDED),
    fails_after_the_head,
    fails_after_the_role,
    claims_tokens_and_fails,
    answers_with_an_error_of_the_requests,
    loses_its_link,
    frees_the_slot_without_an_end,
    skips_a_record,
)

Ask = Callable[[PayingNetwork, ScriptedProvider, bool], Awaitable[Exchange]]


async def with_a_key(paying: PayingNetwork, _: ScriptedProvider, stream: bool) -> Exchange:
    return paying.network.chat(key=await paying.network.consumer(CREDIT), stream=stream)


async def sealed(paying: PayingNetwork, provider: ScriptedProvider, stream: bool) -> Exchange:
    request = paying.network.seal(provider, stream=stream)
    return paying.network.send_sealed(request, key=await paying.network.consumer(CREDIT))


async def sealed_in_text(paying: PayingNetwork, provider: ScriptedProvider, stream: bool) -> Exchange:
    request = paying.network.seal(provider, stream=stream)
    return paying.network.send_sealed(request, key=await paying.network.consumer(CREDIT), is_binary=False)


async def without_a_key(paying: PayingNetwork, _: ScriptedProvider, stream: bool) -> Exchange:
    body = chat_body(model=MODEL, stream=stream)
    return paying.send(body, headers=await paying.pay(await paying.terms(body)))


async def sealed_without_a_key(paying: PayingNetwork, provider: ScriptedProvider, stream: bool) -> Exchange:
    raw = paying.network.seal(provider, stream=stream).raw
    headers = await paying.pay(await paying.terms(raw, content_type=MEDIA_REQUEST))
    return paying.send(raw, content_type=MEDIA_REQUEST, headers={"accept": MEDIA_STREAM, **headers})


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    with database_url(request.param, tmp_path) as opened:
        yield opened


@pytest.fixture
async def paying(url: str) -> AsyncIterator[PayingNetwork]:
    async with open_paying(url) as opened:
        yield opened


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("ask", [with_a_key, sealed, sealed_in_text, without_a_key, sealed_without_a_key])
async def test_every_route_and_dialect_voids_on_provider_error(paying: PayingNetwork, ask: Ask, stream: bool) -> None:
    net = paying.network
    for number, error in enumerate(ERRORS, 1):
        paying.account = Account.from_key(bytes([number]) * 32)
        paying.facilitator.chain.mint(paying.account.address, CREDIT)
        provider = await net.provider(part=error)

        exchange = await ask(paying, provider, stream)
        await until(lambda exchange=exchange: exchange.task.done() or net.serving.service.waiting)
        for connected in net.serving.fleet.providers():
            connected.link.report()
        await exchange.finished()
        await net.settled()
        provider.close("over")

        assert len(provider.served) >= 1, (error, exchange.status, exchange.body)
        (record, *_) = await net.store.usage_of(None, before=(1 << 63) - 1, limit=1)
        assert (record.cost, record.usage.outcome) == (0, UsageOutcome.NOT_DELIVERED), error
        assert (record.held > 0, record.to_provider, record.to_platform) == (True, 0, 0), error
        (paid,) = [row.amount for row in await paying.rows() if row.owner == record.owner] or [CREDIT]
        balance = await net.ledger.balance(AccountId(record.owner))
        assert (balance.held, balance.spendable) == (0, paid), error
        assert await net.earned(provider) == 0, error
    rows = await net.store.inspect(lambda books: [row for row, _ in books.transfers()])
    assert [row.phase for row in rows if row.fact & 1] == [Phase.VOIDED] * len(ERRORS)
    assert not [row for row in rows if row.code == Code.SETTLE]


async def test_there_is_no_other_route_to_a_provider(tmp_path: Path) -> None:
    """Whoever adds one asks through it above."""
    async with network(tmp_path) as net:
        assert set(net.coordinator.dispatcher._hot) == {CHAT_PATH}
