"""A decoded chat request: checked, bounded, and silent about its content in `repr`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

MEDIA_FEATURES: Final = {"image_url": "vision", "input_audio": "audio"}
"""Content parts that are not text, and the feature that each asks for."""

PARAM_OF_FEATURE: Final = {
    "tools": "tools",
    "json_schema": "response_format",
    "logprobs": "logprobs",
    "vision": "messages",
    "audio": "messages",
}
"""The member of a body that asks for each feature."""


@dataclass(frozen=True, slots=True)
class ResponseFormat:
    """What the answer must look like: any JSON object, or one JSON schema."""

    kind: Literal["json_object", "json_schema"]
    name: str = field(default="", repr=False)
    schema: Mapping[str, Any] | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """One chat request. Absent numbers are None: the engine's own default applies.

    `messages` and `tools` are plain JSON values in the dialect's shape. `max_output_tokens` is the caller's bound in
    either spelling. `raw` is the whole body as sent, unknown fields included.
    """

    model: str
    messages: list[dict[str, Any]] = field(repr=False)
    stream: bool = False
    include_usage: bool = False
    max_output_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    seed: int | None = None
    stop: tuple[str, ...] = field(default=(), repr=False)
    response_format: ResponseFormat | None = field(default=None, repr=False)
    logprobs: bool = False
    top_logprobs: int = 0
    tools: tuple[Mapping[str, Any], ...] = field(default=(), repr=False)
    tool_choice: str | Mapping[str, Any] | None = field(default=None, repr=False)
    parallel_tool_calls: bool | None = None
    raw: Mapping[str, Any] = field(default_factory=dict, repr=False)


def features_of(request: ChatRequest) -> tuple[str, ...]:
    """Name what an engine must be able to do to serve `request`: sorted, unique, the sealing header's feature names."""
    features = set()
    if request.tools:
        features.add("tools")
    if request.response_format is not None:
        features.add("json_schema")
    if request.logprobs:
        features.add("logprobs")
    features.update(_media_of(request.messages))
    return tuple(sorted(features))


def _media_of(messages: list[dict[str, Any]]) -> set[str]:
    parts = (part for message in messages if isinstance(message.get("content"), list) for part in message["content"])
    return {MEDIA_FEATURES[part["type"]] for part in parts if part["type"] in MEDIA_FEATURES}
