"""Ask the built GGUF every case through llama.cpp, greedily, and count the right answers."""

import json
from collections import defaultdict
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import xllamacpp

from hush_tiny import manifest
from hush_tiny.cases import Case, Schema, every_case

MAX_TOKENS = 600
MISTAKES_SHOWN = 4


@dataclass(frozen=True)
class Reply:
    """What the model wrote, and whether it stopped by itself."""

    text: str
    has_ended: bool


class Answerer:
    """The model behind llama.cpp's own server code, in this process: one slot, one thread, temperature 0."""

    def __init__(self, gguf: Path, *, context_tokens: int) -> None:
        parameters = xllamacpp.CommonParams()
        parameters.model.path = str(gguf)
        parameters.n_ctx = context_tokens
        parameters.n_parallel = 1
        parameters.cpuparams.n_threads = 1
        parameters.cpuparams_batch.n_threads = 1
        parameters.warmup = False
        parameters.verbosity = 0
        self._server = xllamacpp.Server(parameters)

    def reply(self, messages: tuple[tuple[str, str], ...], schema: Schema | None = None) -> Reply:
        """Answer a conversation of (role, text); raise ValueError with the engine's words if it refuses."""
        request: dict[str, object] = {
            "messages": [{"role": role, "content": text} for role, text in messages],
            "temperature": 0,
            "max_tokens": MAX_TOKENS,
            "cache_prompt": False,
        }
        if schema is not None:
            request["response_format"] = {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema}}
        answer = self._server.handle_chat_completions(request)
        if "choices" not in answer:
            raise ValueError(f"the engine refused: {answer}")
        choice = answer["choices"][0]
        return Reply(choice["message"]["content"], choice["finish_reason"] == "stop")


def evaluate(gguf: Path, *, context_tokens: int) -> dict[str, object]:
    """Return the score of each category, the share of answers that ended by themselves, and some mistakes."""
    answerer = Answerer(gguf, context_tokens=context_tokens)
    right: dict[str, list[bool]] = defaultdict(list)
    mistakes: dict[str, list[dict[str, str]]] = defaultdict(list)
    ended = []
    for case in every_case():
        reply = answerer.reply(case.messages, case.schema)
        ended.append(reply.has_ended)
        right[case.category].append(is_right(case, reply))
        if not right[case.category][-1] and len(mistakes[case.category]) < MISTAKES_SHOWN:
            asked = case.messages[-1][1]
            mistakes[case.category].append({"asked": asked, "expected": case.expected, "answered": reply.text})
    return {
        "model_sha256": manifest.sha256(gguf),
        "engine": f"llama.cpp in xllamacpp {version('xllamacpp')}, one thread, temperature 0",
        "rule": "an answer is right when it equals the expected text (JSON: the expected value), nothing less",
        "ended_by_itself": _score(ended),
        "categories": {category: _score(marks) for category, marks in right.items()},
        "mistakes": mistakes,
    }


def is_right(case: Case, reply: Reply) -> bool:
    """Compare text exactly, and JSON by value."""
    if case.schema is None:
        return reply.text.strip() == case.expected
    try:
        return bool(json.loads(reply.text) == json.loads(case.expected))
    except ValueError:
        return False


def write(path: Path, score: dict[str, object]) -> None:
    """Write a score as readable JSON."""
    path.write_text(json.dumps(score, indent=2) + "\n")


def _score(marks: list[bool]) -> dict[str, int | float]:
    return {"cases": len(marks), "right": sum(marks), "share": round(sum(marks) / len(marks), 3)}
