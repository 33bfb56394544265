"""The sealed half of the chat route: an envelope in, records out, in the form that `Accept` asks for."""

from __future__ import annotations

from typing import Final

from starlette.types import Scope

from hushnet.coordinator.api.bodies import header_of
from hushnet.coordinator.api.streaming import Form, SealedBinaryForm, SealedEventsForm
from hushnet.coordinator.routing.model import Preferences
from hushnet.coordinator.serving.seal import SealedBody, StreamForm
from hushnet.dialects.affinity import PrefixTag
from hushnet.foundation.errors import RequestError
from hushnet.sealing.envelope import parse_envelope
from hushnet.sealing.errors import SealingError
from hushnet.sealing.streaming import MEDIA_STREAM

_FORMS: Final[dict[StreamForm, Form]] = {
    StreamForm.EVENTS: SealedEventsForm(),
    StreamForm.BINARY: SealedBinaryForm(),
}


def form_of(scope: Scope) -> tuple[StreamForm, Form]:
    """Choose the response form: records back to back for who asks for them, server-sent events for everybody else."""
    accept = (header_of(scope, b"accept") or b"").decode("latin-1").lower()
    wanted = {part.partition(";")[0].strip() for part in accept.split(",")}
    chosen = StreamForm.BINARY if MEDIA_STREAM in wanted else StreamForm.EVENTS
    return chosen, _FORMS[chosen]


def read_envelope(
    raw: bytes, *, endpoint: str, form: StreamForm, preferences: Preferences, tags: tuple[PrefixTag, ...]
) -> SealedBody:
    """Parse an envelope that was posted to `endpoint`; raises `RequestError` with the sealing protocol's code."""
    try:
        envelope = parse_envelope(raw)
    except SealingError as error:
        raise RequestError("the envelope is not one", code=error.error_code) from None
    if envelope.header.endpoint != endpoint:
        raise RequestError("the envelope was sealed for another endpoint", code="bad_header")
    return SealedBody(envelope, form=form, preferences=preferences, tags=tags)
