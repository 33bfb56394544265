"""The pieces of an answer, whatever engine made them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

FinishReason: TypeAlias = Literal["stop", "length", "tool_calls", "content_filter"]

TokenLogprob: TypeAlias = Mapping[str, Any]
"""One token as the API shows it: `token`, `logprob`, `bytes`, `top_logprobs`."""


@dataclass(frozen=True, slots=True)
class Usage:
    """Token counts of one answer; `cached` is the part of `input` that came from a prefix cache."""

    input: int
    cached: int
    output: int


@dataclass(frozen=True, slots=True)
class Delta:
    """The next piece of an answer; its text stays out of `repr`.

    `tokens` is how many output tokens the engine spent on this piece: at least 0, and over a whole answer never more
    than the final usage. `tool_calls` are partial calls in the dialect's own streaming shape. `prompt_tokens` is
    the prompt's count from an engine that knows it by then; 0 says nothing.
    """

    text: str = field(repr=False)
    tokens: int
    logprobs: list[TokenLogprob] | None = field(default=None, repr=False)
    tool_calls: list[Mapping[str, Any]] | None = field(default=None, repr=False)
    prompt_tokens: int = 0
