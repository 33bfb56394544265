"""Background tasks have an owner."""

from __future__ import annotations

import asyncio
import logging

import pytest

from hushnet.foundation.tasks import TaskSet, keep_running


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


async def test_work_that_fails_is_begun_again_and_its_error_told_by_type(caplog: pytest.LogCaptureFixture) -> None:
    tries: list[int] = []

    async def work() -> None:
        tries.append(len(tries))
        if len(tries) < 4:
            raise ValueError("the canary prompt")

    with caplog.at_level(logging.ERROR):
        await keep_running(work, name="fails", pause_s=0)
    assert tries == [0, 1, 2, 3]
    assert [record.error for record in caplog.records] == ["ValueError"] * 3  # type: ignore[attr-defined]
    assert "canary" not in caplog.text


async def test_work_that_is_cancelled_is_not_begun_again() -> None:
    begun: list[bool] = []

    async def work() -> None:
        begun.append(True)
        await asyncio.Event().wait()

    tasks = TaskSet()
    tasks.spawn(keep_running(work, name="waits"), name="waits")
    await asyncio.sleep(0)
    await tasks.aclose()
    assert begun == [True]
