"""One registered link over a real socket: envelopes down, records up."""

from __future__ import annotations

from support.links import CONTENT, END, ENVELOPE, HEAD, pair


async def test_an_attempt_travels_down_and_its_answer_comes_back() -> None:
    async with pair() as both:
        attempt, sink = both.dispatch()
        writer = await both.handler.writer(attempt)
        assert both.handler.all("arrived") == [("arrived", attempt, ENVELOPE, 60_000)]
        for each in (HEAD, CONTENT, END):
            await writer.ready()
            writer.write(each)
        writer.finish()
        await sink.saw("finished")
        assert [each.raw for each in sink.records] == [HEAD, CONTENT, END]
        assert sink.endings == ["finished"]
