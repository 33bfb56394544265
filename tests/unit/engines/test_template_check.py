"""A chat template that drops a part of a conversation with tools is found out by the engine's own counts."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from typing import Any

import pytest

from hushnet.dialects.openai_chat import ChatRequest
from hushnet.foundation.errors import RequestError
from hushnet.provider.engines.base import Event, Finished, Usage
from hushnet.provider.engines.probes import Answer, check_template


def engine(render: Callable[[ChatRequest], str]) -> Answer:
    """Return an engine that counts the words of what `render` makes of a request."""

    async def answer(request: ChatRequest, tokens: int) -> AsyncGenerator[Event, None]:
        assert tokens == 1
        yield Finished("length", Usage(len(render(request).replace('"', " ").split()), 0, 1))

    return answer


def whole(request: ChatRequest, *, without: str = "") -> str:
    """Render everything but the part named `without`."""
    lines: list[Any] = [] if without == "tools" else list(request.tools)
    for message in request.messages:
        if without != message["role"]:
            lines.append(message.get("content") or "")
        if without != "calls":
            lines += [call["function"]["arguments"] for call in message.get("tool_calls", ())]
    return " ".join(map(str, lines))


async def test_a_template_that_renders_everything_is_sound() -> None:
    assert await check_template(engine(whole), "m")


@pytest.mark.parametrize("part", ["tools", "calls", "tool"])
async def test_a_template_that_drops_a_part_is_not(part: str) -> None:
    assert not await check_template(engine(lambda request: whole(request, without=part)), "m")


async def test_an_engine_that_refuses_the_conversation_has_no_sound_template() -> None:
    async def refuses(request: ChatRequest, tokens: int) -> AsyncGenerator[Event, None]:
        if any(message["role"] == "tool" for message in request.messages):
            raise RequestError("the template does not know this role", code="engine_refused")
        yield Finished("length", Usage(len(whole(request).split()), 0, 1))

    assert not await check_template(refuses, "m")
