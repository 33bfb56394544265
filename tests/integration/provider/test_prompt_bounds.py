"""The bound that a prompt is held and billed within: no prompt exceeds it unseen, and none that does is generated for."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from hushnet.dialects.openai_chat import ChatRequest, decode_request, prompt_bytes_bound
from hushnet.foundation.ids import ModelId
from hushnet.provider.engines.llamacpp import LlamaCppEngine
from hushnet.provider.models.source import resolve_model
from hushnet.sealing.errors import WireCode
from support.provider_bench import Bench, body, opened
from support.scripted_engine import ScriptedEngine

CJK = "機械学習は、データから学ぶ。请解释一下这个合同的第三条。자연어 처리를 설명해 주세요. "
CODE = "def f(x: int) -> int:\n\t\treturn {'a': [x ** 2, ~x], \"b\": None}  # \\x00 \\u2028 <|im_start|>\n"
TOOL = {
    "type": "function",
    "function": {
        "name": "查找",
        "description": '検索する\n\twith "quotes"',
        "parameters": {"type": "object", "properties": {f"p{n}": {"type": "string"} for n in range(9)}},
    },
}


def request_of(text: str, **members: object) -> ChatRequest:
    messages = [{"role": "system", "content": ""}, {"role": "user", "content": text}]
    return decode_request(json.dumps({"model": "tiny", "messages": messages, **members}).encode())


async def test_a_prompt_beyond_its_bound_is_refused_before_generation_not_clamped() -> None:
    engine = ScriptedEngine(prompt_tokens=1025)
    bench = await Bench.open(engine)
    sealed = bench.seal(body(stream=True, text="x" * 2_000), max_prompt_tokens=1024)
    meter = opened(sealed, await bench.exchange(sealed))[-1].meter

    assert meter is not None
    assert (meter.code, meter.input, meter.output) == (WireCode.BOUND_EXCEEDED, 0, 0)
    assert engine.bounds == []
    await bench.aclose()


async def test_cjk_code_and_tools_stay_within_the_bound(tmp_path: Path) -> None:
    """Counted by a real template and tokenizer; tools as templates print them, indented, twice."""
    engine = LlamaCppEngine()
    await engine.load(replace(await resolve_model(None, home=tmp_path), model=ModelId("tiny"), slots=1, threads=1))
    try:
        for text in (CJK, CODE, CJK * 5 + CODE, "🏳️‍🌈👩‍👩‍👧‍👦" * 10, "\u0000\ufeff\u2028" * 10):
            assert 0 < await engine.count_prompt_tokens(request_of(text)) <= prompt_bytes_bound(request_of(text))
        printed = json.dumps(TOOL, indent=4, ensure_ascii=False) + json.dumps(TOOL, indent=4)
        counted = await engine.count_prompt_tokens(request_of(CJK + printed))
        assert counted <= prompt_bytes_bound(request_of(CJK, tools=[TOOL]))
    finally:
        await engine.unload()
