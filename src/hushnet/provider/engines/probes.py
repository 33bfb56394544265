"""What an engine can do, found by asking it to do it.

A probe whose free answer would be prose shows whether a schema is enforced: servers exist that accept the field and
ignore it.
"""

from __future__ import annotations

import math
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import replace
from typing import Final

import msgspec

from hushnet.dialects.openai_chat import ChatRequest, Delta, ResponseFormat
from hushnet.foundation.errors import HushnetError
from hushnet.provider.engines.base import Event, Finished

Answer = Callable[[ChatRequest, int], AsyncGenerator[Event, None]]
"""Runs a request for at most so many tokens, without asking what the engine is known to be able to do."""

_PROBE_TOKENS: Final = 48
_PROMPT: Final = "Tell me in one long sentence how the sea came to be salty."
_SCHEMA: Final = {
    "type": "object",
    "properties": {"verdict": {"enum": ["sea", "salt"]}},
    "required": ["verdict"],
    "additionalProperties": False,
}


_TOOL: Final = {
    "type": "function",
    "function": {
        "name": "look_up",
        "description": "Look a word up.",
        "parameters": {"type": "object", "properties": {"word": {"type": "string"}}, "required": ["word"]},
    },
}


async def probe_features(answer: Answer, model: str, *, may_use_tools: bool = False) -> frozenset[str]:
    """Return the feature names that `answer` has shown."""
    found = set()
    if may_use_tools and await _calls_tools(answer, model):
        found.add("tools")
    if await _enforces_schema(answer, model):
        found.add("json_schema")
    if await _reports_logprobs(answer, model):
        found.add("logprobs")
    return frozenset(found)


def probe_request(model: str, **members: object) -> ChatRequest:
    """Make a request with a neutral prompt and other members as given."""
    return replace(ChatRequest(model, [{"role": "user", "content": _PROMPT}]), **members)  # type: ignore[arg-type]


async def _enforces_schema(answer: Answer, model: str) -> bool:
    wanted = probe_request(model, response_format=ResponseFormat("json_schema", "probe", _SCHEMA), temperature=0.0)
    text = "".join(event.text for event in await _collect(answer, wanted) if isinstance(event, Delta))
    try:
        value = msgspec.json.decode(text.encode())
    except (msgspec.MsgspecError, ValueError):
        return False
    return isinstance(value, dict) and set(value) == {"verdict"} and value["verdict"] in ("sea", "salt")


async def _calls_tools(answer: Answer, model: str) -> bool:
    wanted = probe_request(model, tools=(_TOOL,), tool_choice="required", temperature=0.0)
    calls = [
        call.get("function", {})
        for event in await _collect(answer, wanted)
        if isinstance(event, Delta)
        for call in event.tool_calls or ()
    ]
    if "look_up" not in [call.get("name") for call in calls]:
        return False
    try:
        arguments = msgspec.json.decode("".join(call.get("arguments") or "" for call in calls).encode())
    except (msgspec.MsgspecError, ValueError):
        return False
    return isinstance(arguments, dict) and isinstance(arguments.get("word"), str)


async def _reports_logprobs(answer: Answer, model: str) -> bool:
    events = await _collect(answer, probe_request(model, logprobs=True, top_logprobs=2))
    deltas = [event for event in events if isinstance(event, Delta) and event.text]
    entries = [entry for delta in deltas for entry in delta.logprobs or ()]
    return bool(entries) and all(math.isfinite(entry["logprob"]) and entry["logprob"] <= 0 for entry in entries)


async def _collect(answer: Answer, request: ChatRequest) -> list[Event]:
    """Run to the end; a probe that fails shows nothing."""
    try:
        async with aclosing(answer(request, _PROBE_TOKENS)) as stream:
            events = [event async for event in stream]
    except HushnetError:
        return []
    return events if events and isinstance(events[-1], Finished) else []
