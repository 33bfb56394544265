"""What an engine is: one small protocol, and the values that cross it.

Rules every engine keeps, and `tests/conformance/engines` checks:

- nothing blocks the event loop; nothing logs a prompt or an answer;
- closing the generator of `generate` cancels: the engine stops within 100 ms and its slot is free again, whether the
  request was queued, reading its prompt or writing its answer;
- token counts come from the engine, never from guesses; a delta tells the prompt's where it is known by then;
- a capability is announced only after a probe has shown it;
- a bad request raises `RequestError`, a full queue `EngineBusy`, a broken engine `EngineFailed`, and nothing else.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol, TypeAlias

from hushnet.dialects.openai_chat import (
    PARAM_OF_FEATURE,
    ChatRequest,
    Delta,
    FinishReason,
    Usage,
    features_of,
    prompt_bytes_bound,
)
from hushnet.foundation.errors import CapacityError, HushnetError, RequestError
from hushnet.foundation.ids import ModelId

__all__ = [
    "Capabilities",
    "ChatRequest",
    "ContextTooLong",
    "Delta",
    "Engine",
    "EngineBusy",
    "EngineCapacity",
    "EngineFailed",
    "Event",
    "Finished",
    "Health",
    "ModelSpec",
    "UnsupportedFeature",
    "Usage",
    "check_features",
    "check_length",
]


class EngineFailed(HushnetError):  # noqa: N818 - named after what happened, as its code is
    """The engine broke, died or cannot be reached; the request may run elsewhere."""

    code = "engine_failed"
    default_hint = "`hush doctor` shows what this machine offers; start the provider again once the cause is gone."
    is_retryable = True


class ContextTooLong(RequestError):  # noqa: N818 - named after what happened, as its code is
    """The prompt leaves no room for an answer in the model's context. An answer that fills the context ends in `length`.

    `prompt_tokens` is exact, unless the prompt is so long that it was not even counted.
    """

    code = "context_too_long"
    default_hint = "Shorten the prompt."

    def __init__(self, *, prompt_tokens: int, context_tokens: int) -> None:
        super().__init__(
            f"the prompt is {prompt_tokens} tokens and the context holds {context_tokens}, answer included"
        )
        self.prompt_tokens = prompt_tokens
        self.context_tokens = context_tokens


class UnsupportedFeature(RequestError):  # noqa: N818 - named after what happened, as its code is
    """The request asks for what probing did not show; `param` is the member that asks for the first such feature."""

    code = "unsupported_feature"

    def __init__(self, features: Sequence[str]) -> None:
        params = [PARAM_OF_FEATURE[feature] for feature in features]
        super().__init__(
            f"this model's engine cannot do {', '.join(features)}",
            hint=f"leave out {', '.join(dict.fromkeys(params))}, or choose a model that lists the feature in GET /v1/models",
        )
        self.param = params[0]


class EngineBusy(CapacityError):  # noqa: N818 - named after what happened, as its code is
    """Every slot is taken and the engine's own queue is full."""

    code = "engine_busy"


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """A model to load: files on disk (`path`) or a server that already has it (`url`).

    `context_tokens` is per slot; None takes what the model was trained for, within the engine's own limit. `build` is the
    SHA-256 of the weights in hex, empty where nobody can know it.
    """

    model: ModelId
    path: Path | None = None
    url: str | None = None
    slots: int = 4
    context_tokens: int | None = None
    threads: int = 1
    build: str = ""
    engine: str = "llamacpp"
    name_at_server: str = ""
    """What the attached server calls the model, where the network calls it otherwise."""


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What probing found: feature names of the sealing header, context tokens of one request, parallel requests.

    `is_template_sound` says whether a conversation with tools reached the model whole; None where nobody has looked.
    """

    features: frozenset[str]
    context_tokens: int
    slots: int
    is_template_sound: bool | None = None


@dataclass(frozen=True, slots=True)
class EngineCapacity:
    """The engine's load now. `tokens_active` counts prompt and answer tokens held by running requests."""

    slots: int
    active: int
    queued: int
    tokens_active: int
    decode_tokens_s: float
    """Tokens a second of one request while it decodes, exponentially weighted over answers; 0 before the first."""
    prefill_tokens_s: float = 0.0
    """Prompt tokens a second, weighted the same way."""


@dataclass(frozen=True, slots=True)
class Health:
    """Whether the engine answers, and a fixed word for why not."""

    is_healthy: bool
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Finished:
    """The last event of every answer that was not cancelled."""

    reason: FinishReason
    usage: Usage


Event: TypeAlias = Delta | Finished


class Engine(Protocol):
    """Runs one model at a time."""

    name: str

    async def load(self, spec: ModelSpec) -> Capabilities:
        """Load `spec` and probe it; raise `EngineFailed` or `ConfigurationError`. Loading twice is an error."""
        ...

    async def unload(self) -> None:
        """Cancel what runs and free the model; unloading twice is harmless."""
        ...

    def generate(
        self, request: ChatRequest, *, max_output_tokens: int, cache_salt: str | None = None
    ) -> AsyncGenerator[Event, None]:
        """Stream the answer: deltas, then one `Finished`. `max_output_tokens` binds, whatever the request says.

        Raises `ContextTooLong` before any event when the prompt does not fit. Prefix caches are shared only between
        requests with the same `cache_salt` (docs/sealing.md section 5); without one nothing is shared.
        """
        ...

    async def count_prompt_tokens(self, request: ChatRequest) -> int:
        """Count the prompt's tokens after the chat template: exactly what `Usage.input` will say."""
        ...

    def capacity(self) -> EngineCapacity:
        """Report the load now, from memory: never waits."""
        ...

    async def health(self) -> Health:
        """Ask the engine whether it still answers; never raises."""
        ...


BYTES_PER_TOKEN_MAX = 32
"""No text averages more over a whole context, except runs of blanks; English has 4."""


def check_length(request: ChatRequest, context_tokens: int) -> None:
    """Raise `ContextTooLong` for a prompt that is too long to be worth counting: tokenizing megabytes takes seconds."""
    if (most := prompt_bytes_bound(replace(request, response_format=None))) > BYTES_PER_TOKEN_MAX * (
        context_tokens + 1024
    ):
        raise ContextTooLong(prompt_tokens=most // BYTES_PER_TOKEN_MAX, context_tokens=context_tokens)


def check_features(request: ChatRequest, features: frozenset[str] | None) -> None:
    """Raise `RequestError` when `request` needs what probing did not show; None means that nothing is loaded."""
    if features is None:
        raise EngineFailed("no model is loaded")
    if missing := [feature for feature in features_of(request) if feature not in features]:
        raise UnsupportedFeature(missing)
