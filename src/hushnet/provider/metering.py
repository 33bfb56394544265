"""One attempt's token counts: cumulative, never above the header's bounds, never backwards (docs/sealing.md section 9)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hushnet.dialects.openai_chat import Delta, Usage
from hushnet.sealing.errors import WireCode
from hushnet.sealing.header import RoutingHeader
from hushnet.sealing.meters import Meter


@dataclass(frozen=True, slots=True)
class MeterPace:
    """How often a usage record is due while an answer is generated; section 9 allows no less."""

    content_records: int = 16
    seconds: float = 2.0


class AttemptMeter:
    """Counts what was generated: the prompt once the engine has read it, then the answer as it comes.

    The engine's final usage replaces the running count of output, upwards only. `input_tokens` is None where nobody
    counted the prompt beforehand: then the engine's word for it counts, the first that comes.
    """

    __slots__ = (
        "_cached",
        "_input",
        "_output",
        "_output_max",
        "_pace",
        "_prompt",
        "_prompt_max",
        "_records",
        "_shown_at_s",
    )

    def __init__(
        self, header: RoutingHeader, *, input_tokens: int | None, now_s: float, pace: MeterPace | None = None
    ) -> None:
        self._prompt: int | None = None
        self._prompt_max = header.max_prompt_tokens
        self._input = 0
        self._cached = 0
        self._output = 0
        self._output_max = header.max_output_tokens
        self._pace = pace or MeterPace()
        # The first usage record follows the first content: an answer that is broken off early is still worth its prompt.
        self._records = self._pace.content_records - 1
        self._shown_at_s = now_s
        if input_tokens is not None:
            self._learn(input_tokens)

    @property
    def owes_prompt(self) -> bool:
        """Whether tokens were generated from a prompt whose count nobody has told yet."""
        return self._prompt is None and self._output > 0

    @property
    def usage(self) -> Usage:
        """The counts as the answer shows them: the same that the receipt signs."""
        return Usage(input=self._input, cached=self._cached, output=self._output)

    def count(self, deltas: Sequence[Delta]) -> None:
        """Add what the engine spent on `deltas`; the first of them says that the prompt has been read."""
        for delta in deltas:
            self._learn(delta.prompt_tokens)
        if deltas:
            self._input = self._prompt or 0
        self._output = min(self._output + sum(delta.tokens for delta in deltas), self._output_max)

    def settle(self, usage: Usage) -> None:
        """Take the engine's own final count of output and cache; a prompt that was counted before stays."""
        self.settle_prompt(usage.input)
        self._output = min(max(self._output, usage.output), self._output_max)
        self._cached = min(max(usage.cached, 0), self._input)

    def settle_prompt(self, tokens: int) -> None:
        """Take the count of a prompt that has been read."""
        self._learn(tokens)
        self._input = self._prompt or 0

    def content_sent(self) -> None:
        """Note one content record."""
        self._records += 1

    def wait_s(self, now_s: float) -> float:
        """Return the seconds until the next usage record is due; 0 when it is."""
        if self._records >= self._pace.content_records:
            return 0.0
        return max(0.0, self._shown_at_s + self._pace.seconds - now_s)

    def shown(self, now_s: float) -> Meter:
        """Return the meter for a usage record and start the count to the next."""
        self._records = 0
        self._shown_at_s = now_s
        return self.final()

    def final(self, code: WireCode | None = None) -> Meter:
        """Return the meter for a terminal record; `code` is an error's."""
        return Meter(self._input, self._cached, self._output, 0, code or 0)

    def _learn(self, tokens: int) -> None:
        if self._prompt is None and tokens > 0:
            self._prompt = min(tokens, self._prompt_max)
