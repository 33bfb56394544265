"""Background tasks have an owner."""

from __future__ import annotations

import asyncio
import logging

import pytest

from hushnet.foundation.tasks import TaskSet


async def test_closing_the_set_cancels_and_awaits_every_task() -> None:
    ended = []

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(True)

    tasks = TaskSet()
    tasks.spawn(work(), name="one")
    tasks.spawn(work(), name="two")
    await asyncio.sleep(0)
    await tasks.aclose()
    assert ended == [True, True]
    assert len(tasks) == 0


async def test_a_failure_is_logged_by_type_and_never_by_text(caplog: pytest.LogCaptureFixture) -> None:
    async def work() -> None:
        raise ValueError("the canary prompt")

    tasks = TaskSet()
    with caplog.at_level(logging.ERROR):
        await asyncio.wait([tasks.spawn(work(), name="fails")])
        await asyncio.sleep(0)
    assert "canary" not in caplog.text
    assert caplog.records[0].error == "ValueError"  # type: ignore[attr-defined]


async def test_a_closed_set_takes_no_more_work() -> None:
    async def work() -> None: ...

    tasks = TaskSet()
    await tasks.aclose()
    with pytest.raises(RuntimeError):
        tasks.spawn(work(), name="late")
