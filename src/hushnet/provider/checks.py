"""Step 12 of opening: the body parses, agrees with the header, and fits (docs/sealing.md section 6).

The provider obeys the header, never a looser body. What fails here is told to the consumer in a sealed error.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from hushnet.dialects import openai_chat
from hushnet.dialects.openai_chat import BadRequestError, ChatRequest
from hushnet.foundation.errors import RequestError
from hushnet.provider.engines.base import ContextTooLong
from hushnet.sealing.errors import WireCode
from hushnet.sealing.header import RoutingHeader

DIALECTS: Final[Mapping[str, Callable[[bytes], ChatRequest]]] = {
    "/v1/chat/completions": openai_chat.decode_request,
}
"""The endpoints served, each with the decoder of its body."""


@dataclass(frozen=True, slots=True)
class Failure:
    """Why an attempt ends without an `end` record: the wire code in clear, the rest for the consumer alone."""

    code: WireCode
    status: int
    message: str
    detail: str = ""
    param: str | None = None
    hint: str = ""

    @property
    def is_sealed(self) -> bool:
        """Whether the consumer is told under seal although nothing was answered yet: step 12 found it."""
        return self.code in _SEALED

    def body(self) -> bytes:
        """Render the dialect's error body; `detail` is its code where the wire code says too little."""
        code = self.detail or self.code.label
        return openai_chat.render_error(self.status, code, self.message, self.param, hint=self.hint)


MEDIA_FEATURES: Final = frozenset({"vision", "audio"})

_SEALED = frozenset(
    {WireCode.HEADER_BODY_MISMATCH, WireCode.BOUND_EXCEEDED, WireCode.BAD_REQUEST, WireCode.CONTEXT_TOO_LONG}
)
_FAILED: Final = {
    WireCode.CAPACITY: (503, "the provider has no free place for this request"),
    WireCode.MODEL_UNAVAILABLE: (503, "the provider does not serve this model now"),
    WireCode.DRAINING: (503, "the provider is stopping"),
    WireCode.ENGINE_FAILED: (502, "the provider's engine failed"),
    WireCode.TIMED_OUT: (504, "the answer took longer than the request allows"),
    WireCode.CANCELLED: (499, "the request was cancelled"),
    WireCode.BACKPRESSURE: (503, "the answer was not read for too long"),
}


def failed(code: WireCode) -> Failure:
    """Return the failure of `code` with its fixed status and sentence."""
    status, message = _FAILED.get(code, (500, "the provider failed"))
    return Failure(code, status, message)


def decode_body(header: RoutingHeader, data: bytes) -> ChatRequest | Failure:
    """Decode a request body and compare it with its header."""
    decode = DIALECTS.get(header.endpoint)
    if decode is None:
        return Failure(WireCode.BAD_REQUEST, 404, f"this provider does not serve {header.endpoint}")
    try:
        request = decode(data)
    except BadRequestError as error:
        return Failure(WireCode.BAD_REQUEST, 400, str(error), error.error_code, error.param, error.hint())
    return _mismatch(header, request) or request


def is_prompt_within(header: RoutingHeader, request: ChatRequest) -> bool:
    """Say whether the prompt cannot exceed what the header reserves, so that nobody needs to count it beforehand."""
    has_media = not MEDIA_FEATURES.isdisjoint(openai_chat.features_of(request))  # whose tokens no length of text bounds
    return not has_media and openai_chat.prompt_bytes_bound(request) <= header.max_prompt_tokens


def bound_output(
    header: RoutingHeader, request: ChatRequest, *, prompt_tokens: int | None, context_tokens: int
) -> int | Failure:
    """Return how many tokens may be generated: within the header, the body and what is left of the context.

    `prompt_tokens` is None where nobody counted: then the engine finds the end of the context.
    """
    if prompt_tokens is not None and prompt_tokens > header.max_prompt_tokens:
        return Failure(
            WireCode.BOUND_EXCEEDED,
            400,
            f"the prompt is {prompt_tokens} tokens, more than the {header.max_prompt_tokens} that were reserved",
        )
    wanted = header.max_output_tokens if request.max_output_tokens is None else request.max_output_tokens
    if wanted > header.max_output_tokens:
        return Failure(
            WireCode.BOUND_EXCEEDED,
            400,
            f"the body asks for {wanted} output tokens, more than the {header.max_output_tokens} that were reserved",
        )
    left = context_tokens - (prompt_tokens or 0)
    if left < 1:
        return too_long(f"the prompt is {prompt_tokens} tokens; the context holds {context_tokens}, answer included")
    return min(wanted, left)


def too_long(message: str) -> Failure:
    """Return the failure of a prompt that the model has no room for."""
    return Failure(WireCode.CONTEXT_TOO_LONG, 400, message, param="messages", hint=ContextTooLong.default_hint)


def refused_by_engine(error: RequestError) -> Failure:
    """Return the failure of a request that only the engine could find wrong, a grammar that does not compile for one."""
    param = getattr(error, "param", None)
    return Failure(WireCode.BAD_REQUEST, 400, str(error), error.error_code, param, error.hint())


def _mismatch(header: RoutingHeader, request: ChatRequest) -> Failure | None:
    unnamed = [feature for feature in openai_chat.features_of(request) if feature not in header.features]
    if request.model != header.model:
        what = param = "model"
    elif request.stream is not header.stream:
        what = param = "stream"
    elif unnamed:
        what, param = (
            f"what is asked for: the body needs {', '.join(unnamed)}",
            openai_chat.PARAM_OF_FEATURE[unnamed[0]],
        )
    else:
        return None
    hint = "make a new envelope whose header says what its body says; the SDK does so by itself"
    return Failure(WireCode.HEADER_BODY_MISMATCH, 400, f"header and body disagree about {what}", param=param, hint=hint)
