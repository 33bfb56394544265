"""From bytes to a `ChatRequest`, or one `BadRequestError` that says which member is wrong.

Members that this dialect does not know are ignored. Nothing here allocates more than a small multiple of the body.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from hushnet.dialects.openai_chat.fields import BadRequestError, Members, members_of
from hushnet.dialects.openai_chat.request import ChatRequest, ResponseFormat

__all__ = ["BadRequestError", "decode_request"]

DEPTH_MAX: Final = 64
CONTAINERS_MAX: Final = 65_536
VALUES_MAX: Final = 131_072
"""Objects and arrays, and what they hold, of one body: two mebibytes of brackets took two seconds to decode, and nobody
else is served meanwhile."""
MESSAGES_MAX: Final = 16_384
PARTS_MAX: Final = 1_024
OUTPUT_TOKENS_MAX: Final = 1 << 20
"""As in the sealed routing header (docs/sealing.md section 4)."""
SEED_MAX: Final = 2**63 - 1
STOPS_MAX: Final = 16
STOP_CHARACTERS_MAX: Final = 256
TOOLS_MAX: Final = 128
TEXT_CHARACTERS_MAX: Final = 1 << 24

_MODEL = re.compile(r"[A-Za-z0-9._:/@+-]{1,128}", re.ASCII)
_ROLES: Final = frozenset({"system", "developer", "user", "assistant", "tool", "function"})
_PARTS: Final = frozenset({"text", "refusal", "image_url", "input_audio"})
# A string is taken whole or to the end of the body, and never given back, so that the match stays linear.
_STRING = re.compile(rb'"(?:[^"\\]++|\\.)*+"?', re.DOTALL)
_decode_json = msgspec.json.Decoder().decode


def decode_request(body: bytes) -> ChatRequest:
    """Decode a request body; raises `BadRequestError` and nothing else."""
    top = members_of(_parse(body), "")
    stream = top.boolean("stream")
    options = top.members("stream_options")
    logprobs = top.boolean("logprobs")
    top_logprobs = top.integer("top_logprobs", 0, 20) or 0
    if top_logprobs and not logprobs:
        raise top.unsupported("top_logprobs", "needs logprobs: true")
    if top.integer("n", 1, 128) not in (None, 1):
        raise top.unsupported("n", "only 1 is served")
    return ChatRequest(
        model=_model(top),
        messages=_messages(top),
        stream=stream,
        include_usage=options is not None and options.boolean("include_usage") and stream,
        max_output_tokens=_max_output_tokens(top),
        temperature=top.number("temperature", 0.0, 2.0),
        top_p=top.number("top_p", 0.0, 1.0),
        presence_penalty=top.number("presence_penalty", -2.0, 2.0),
        frequency_penalty=top.number("frequency_penalty", -2.0, 2.0),
        seed=top.integer("seed", -SEED_MAX - 1, SEED_MAX),
        stop=_stop(top),
        response_format=_response_format(top),
        logprobs=logprobs,
        top_logprobs=top_logprobs,
        tools=_tools(top),
        tool_choice=_tool_choice(top),
        parallel_tool_calls=None if top.any("parallel_tool_calls") is None else top.boolean("parallel_tool_calls"),
        raw=top.values(),
    )


def _parse(body: bytes) -> Any:
    if _is_crowded(body) and (_has_too_many_strings(body) or _is_crowded(_STRING.sub(b"", body))):
        raise BadRequestError("out_of_range", f"the body holds more than {VALUES_MAX} values")
    try:
        value = _decode_json(body)
    except RecursionError:
        raise _too_deep() from None
    except (msgspec.MsgspecError, UnicodeDecodeError, ValueError):
        raise BadRequestError("invalid_json", "the body is not valid JSON in UTF-8") from None
    _require_shallow(value)
    return value


def _is_crowded(body: bytes) -> bool:
    """Tell whether a body has more brackets or commas than one may, counting those inside of strings too."""
    containers = body.count(b"[") + body.count(b"{")
    return containers > CONTAINERS_MAX or containers + body.count(b",") > VALUES_MAX


def _has_too_many_strings(body: bytes) -> bool:
    """Tell whether a body has more strings than that many values and their names; quotes that end one may be missed."""
    return body.count(b'"') - body.count(b'\\"') > 4 * VALUES_MAX


def _require_shallow(value: Any) -> None:
    level = [value]
    for _ in range(DEPTH_MAX):
        deeper: list[Any] = []
        for item in level:
            if type(item) is dict:
                deeper.extend(child for child in item.values() if type(child) is dict or type(child) is list)
            elif type(item) is list:
                deeper.extend(child for child in item if type(child) is dict or type(child) is list)
        if not deeper:
            return
        level = deeper
    raise _too_deep()


def _too_deep() -> BadRequestError:
    return BadRequestError("json_too_deep", f"the body nests deeper than {DEPTH_MAX} levels")


def _model(top: Members) -> str:
    model = top.required_text("model", at_most=128)
    if _MODEL.fullmatch(model) is None:
        raise BadRequestError("out_of_range", "model may hold letters, digits and ._:/@+- only", param="model")
    return model


def _messages(top: Members) -> list[dict[str, Any]]:
    messages = top.items("messages", at_most=MESSAGES_MAX)
    if not messages:
        raise top.missing("messages")
    return [_message(message, f"messages[{index}]") for index, message in enumerate(messages)]


def _message(value: Any, path: str) -> dict[str, Any]:
    message = members_of(value, path)
    role = message.required_text("role", at_most=32)
    if role not in _ROLES:
        raise message.unsupported("role", "one of " + ", ".join(sorted(_ROLES)))
    content = message.any("content")
    if isinstance(content, list):
        _check_parts(message)
    elif message.text("content", at_most=TEXT_CHARACTERS_MAX) is None and role != "assistant":
        raise message.missing("content")
    for name in ("name", "tool_call_id"):
        message.text(name, at_most=256)
    for index, call in enumerate(message.items("tool_calls", at_most=TOOLS_MAX) or ()):
        _check_tool_call(members_of(call, message.path(f"tool_calls[{index}]")))
    return dict(message.values())


def _check_parts(message: Members) -> None:
    for index, value in enumerate(message.items("content", at_most=PARTS_MAX) or ()):
        part = members_of(value, message.path(f"content[{index}]"))
        kind = part.required_text("type", at_most=32)
        if kind not in _PARTS:
            raise part.unsupported("type", "one of " + ", ".join(sorted(_PARTS)))
        if kind in ("text", "refusal"):
            if part.text(kind, at_most=TEXT_CHARACTERS_MAX) is None:
                raise part.missing(kind)
        elif part.members(kind) is None:
            raise part.missing(kind)


def _check_tool_call(call: Members) -> None:
    call.required_text("id", at_most=256)
    function = call.members("function")
    if function is None:
        raise call.missing("function")
    function.required_text("name", at_most=256)
    function.text("arguments", at_most=TEXT_CHARACTERS_MAX)


def _max_output_tokens(top: Members) -> int | None:
    """Read both spellings; where both are given the smaller binds."""
    bounds = [top.integer(name, 1, OUTPUT_TOKENS_MAX) for name in ("max_tokens", "max_completion_tokens")]
    return min((bound for bound in bounds if bound is not None), default=None)


def _stop(top: Members) -> tuple[str, ...]:
    value = top.any("stop")
    single = isinstance(value, str)
    stops = [value] if single else top.items("stop", at_most=STOPS_MAX) or []
    for index, stop in enumerate(stops):
        if type(stop) is not str or not 1 <= len(stop) <= STOP_CHARACTERS_MAX:
            path = "stop" if single else f"stop[{index}]"
            raise BadRequestError(
                "wrong_type", f"{path} must be a string of 1..{STOP_CHARACTERS_MAX} characters", param=path
            )
    return tuple(stops)


def _response_format(top: Members) -> ResponseFormat | None:
    value = top.members("response_format")
    if value is None:
        return None
    kind = value.required_text("type", at_most=32)
    if kind == "text":
        return None
    if kind == "json_object":
        return ResponseFormat("json_object")
    if kind != "json_schema":
        raise value.unsupported("type", "one of text, json_object, json_schema")
    described = value.members("json_schema")
    if described is None:
        raise value.missing("json_schema")
    schema = described.members("schema")
    if schema is None:
        raise described.missing("schema")
    return ResponseFormat("json_schema", described.text("name", at_most=256) or "", schema.values())


def _tools(top: Members) -> tuple[Mapping[str, Any], ...]:
    tools = top.items("tools", at_most=TOOLS_MAX) or ()
    for index, value in enumerate(tools):
        tool = members_of(value, f"tools[{index}]")
        if tool.required_text("type", at_most=32) != "function":
            raise tool.unsupported("type", "only function is served")
        function = tool.members("function")
        if function is None:
            raise tool.missing("function")
        function.required_text("name", at_most=256)
        function.text("description", at_most=TEXT_CHARACTERS_MAX)
        function.members("parameters")
    return tuple(tools)


def _tool_choice(top: Members) -> str | Mapping[str, Any] | None:
    value = top.any("tool_choice")
    if value is None:
        return None
    if not isinstance(value, str):
        return members_of(value, "tool_choice").values()
    if value not in ("none", "auto", "required"):
        raise top.unsupported("tool_choice", "one of none, auto, required, or an object")
    return value
