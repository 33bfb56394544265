"""What an engine can do, found by asking it to do it.

A probe whose free answer would be prose shows whether a schema is enforced: servers exist that accept the field and
ignore it.
"""

from __future__ import annotations

import math
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import replace
from itertools import pairwise
from typing import Final

import msgspec

from hushnet.dialects.openai_chat import ChatRequest, Delta, ResponseFormat
from hushnet.foundation.errors import HushnetError
from hushnet.provider.engines.base import Event, Finished

Answer = Callable[[ChatRequest, int], AsyncGenerator[Event, None]]
"""Runs a request for at most so many tokens, without asking what the engine is known to be able to do."""

_PROBE_TOKENS: Final = 48
_PROMPT: Final = "Tell me in one long sentence how the sea came to be salty."
_LONG: Final = "white crystals that are left where the water of the sea has dried in the sun"
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


async def check_template(answer: Answer, model: str) -> bool:
    """Say whether a conversation with tools reaches the model whole.

    The engine renders it with the model's own template, and its count of the prompt tells what of it came out: a tool, a
    longer call and a longer result must each make the prompt longer. Templates exist that drop them without a word.
    """
    counts = [
        await _prompt_tokens(answer, probe_request(model)),
        await _prompt_tokens(answer, probe_request(model, tools=(_TOOL,))),
        await _prompt_tokens(answer, _conversation(model, word="salt", result="white")),
        await _prompt_tokens(answer, _conversation(model, word=_LONG, result="white")),
        await _prompt_tokens(answer, _conversation(model, word=_LONG, result=_LONG)),
    ]
    return all(before < after for before, after in pairwise(counts)) and counts[0] > 0


def probe_request(model: str, **members: object) -> ChatRequest:
    """Make a request with a neutral prompt and other members as given."""
    return replace(ChatRequest(model, [{"role": "user", "content": _PROMPT}]), **members)  # type: ignore[arg-type]


def _conversation(model: str, *, word: str, result: str) -> ChatRequest:
    """Make a conversation in which a tool was called and has answered."""
    call = {"id": "call00001", "type": "function", "function": {"name": "look_up", "arguments": _json({"word": word})}}
    messages = [
        {"role": "user", "content": _PROMPT},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "call00001", "content": result},
    ]
    return probe_request(model, messages=messages, tools=(_TOOL,))


async def _prompt_tokens(answer: Answer, request: ChatRequest) -> int:
    """Return the engine's count of a prompt, 0 where it does not take the request."""
    events = await _collect(answer, request, tokens=1)
    return next((event.usage.input for event in events if isinstance(event, Finished)), 0)


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()


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


async def _collect(answer: Answer, request: ChatRequest, tokens: int = _PROBE_TOKENS) -> list[Event]:
    """Run to the end; a probe that fails shows nothing."""
    try:
        async with aclosing(answer(request, tokens)) as stream:
            events = [event async for event in stream]
    except HushnetError:
        return []
    return events if events and isinstance(events[-1], Finished) else []
