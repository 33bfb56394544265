"""`hush up --once`: prove the network with one chat in each mode, and the books."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hushnet.cli import console
from hushnet.cli.local.network import Ready
from hushnet.foundation.errors import ConfigurationError, HushnetError
from hushnet.foundation.money import format_usd
from hushnet.sdk.client import Client

QUESTION_STANDARD = "What is Hushnet?"
QUESTION_SEALED = "Who can read my prompt in sealed mode?"


class DemoFailedError(HushnetError):
    """The demo did not show what it is there to show."""

    code = "demo_failed"


@dataclass(slots=True)
class Shown:
    """One chat: what was answered, who could read it, what it took."""

    mode: str
    question: str
    answer: str
    readable_by: tuple[str, ...]
    trust: str
    input_tokens: int
    output_tokens: int
    cost_micro_usd: int


@dataclass(slots=True)
class Demo:
    """Runs the two chats against a network that is ready; every figure is read from the network, none is assumed."""

    ready: Ready
    home: Path
    as_json: bool = False
    _chats: list[Shown] = field(default_factory=list)

    def run(self) -> int:
        """Return 0; raises `DemoFailedError` with the reason when something is not as it must be."""
        with Client(base_url=self.ready.base_url, api_key=self.ready.api_key) as client:
            before = client.balance()["spendable_micro_usd"]
            self._show(self._standard(client))
            self._show(self._sealed(client))
            after = client.balance()["spendable_micro_usd"]
        findings = asyncio.run(check_books(self.home))
        self._conclude(before, after, findings)
        return 0

    def _standard(self, client: Client) -> Shown:
        """Stream one answer through the official openai package."""
        try:
            from openai import OpenAI
        except ModuleNotFoundError:
            raise ConfigurationError(
                "the demo chats through the openai package", code="missing_extra", hint="pip install 'hushnet[demo]'"
            ) from None
        parts: list[str] = []
        usage: Any = None
        with OpenAI(base_url=f"{self.ready.base_url}/v1", api_key=self.ready.api_key, max_retries=0) as openai:
            raw = openai.chat.completions.with_raw_response.create(
                model=self.ready.model,
                messages=[{"role": "user", "content": QUESTION_STANDARD}],
                stream=True,
                stream_options={"include_usage": True},
                temperature=0,
            )
            for chunk in raw.parse():
                usage = chunk.usage or usage
                parts += [choice.delta.content for choice in chunk.choices if choice.delta.content]
        if usage is None:
            raise DemoFailedError("the standard stream ended without its usage")
        return Shown(
            mode="standard",
            question=QUESTION_STANDARD,
            answer="".join(parts),
            readable_by=("you", "the coordinator's memory", "the provider that answered"),
            trust=raw.headers.get("hushnet-trust", "none"),
            input_tokens=usage.prompt_tokens,
            output_tokens=usage.completion_tokens,
            cost_micro_usd=self._cost(client, raw.headers.get("hushnet-request-id", "")),
        )

    def _sealed(self, client: Client) -> Shown:
        """Stream one sealed answer through the SDK, which verifies the provider itself."""
        stream = client.chat.completions.create(
            model=self.ready.model, messages=[{"role": "user", "content": QUESTION_SEALED}], stream=True, temperature=0
        )
        answer = "".join(choice.delta.content or "" for chunk in stream for choice in chunk.choices)
        if stream.usage is None or stream.cost_micro_usd is None:
            raise DemoFailedError("the sealed answer came without its meter or its cost")
        return Shown(
            mode="sealed",
            question=QUESTION_SEALED,
            answer=answer,
            readable_by=stream.readable_by,
            trust=stream.trust,
            input_tokens=stream.usage.prompt_tokens,
            output_tokens=stream.usage.completion_tokens,
            cost_micro_usd=stream.cost_micro_usd,
        )

    def _cost(self, client: Client, request_id: str) -> int:
        cost = client.cost(request_id)
        if cost is None:
            raise DemoFailedError("the coordinator can't say what the standard chat cost")
        return cost

    def _show(self, chat: Shown) -> None:
        if not chat.answer.strip():
            raise DemoFailedError(f"the {chat.mode} chat came back empty")
        self._chats.append(chat)
        if self.as_json:
            return
        out = console.out()
        out.print(f"\n[bold]{chat.mode}[/]  {chat.question}")
        out.print(f"  {chat.answer.strip()}", markup=False)
        out.print(f"  [dim]readable by[/]  {', '.join(chat.readable_by)}")
        out.print(f"  [dim]trust tier[/]   {chat.trust}")
        out.print(f"  [dim]tokens[/]       {chat.input_tokens} in, {chat.output_tokens} out")
        out.print(f"  [dim]cost[/]         {format_usd(chat.cost_micro_usd)}")

    def _conclude(self, before: int, after: int, findings: list[str]) -> None:
        spent = sum(chat.cost_micro_usd for chat in self._chats)
        if self.as_json:
            console.print_json(
                {
                    "chats": [{name: getattr(chat, name) for name in Shown.__slots__} for chat in self._chats],
                    "balance_before_micro_usd": before,
                    "balance_after_micro_usd": after,
                    "books_balance": not findings,
                }
            )
        else:
            console.out().print(
                f"\n[bold]balance[/]  {format_usd(before)} before, {format_usd(after)} after, "
                f"{format_usd(spent)} spent on {len(self._chats)} chats"
            )
            console.out().print("[bold]books[/]    " + ("balance" if not findings else f"do not balance: {findings}"))
        if before - after != spent:
            raise DemoFailedError(f"the balance fell by {before - after} micro-USD, the chats cost {spent}")
        if findings:
            raise DemoFailedError(
                "the books do not balance",
                hint="with --home DIR the books stay, and `hush ledger check --home DIR` lists the findings",
            )


async def check_books(home: Path) -> list[str]:
    """Run the ledger's invariants over the coordinator's database while it runs; empty when all hold."""
    from hushnet.cli.ledger import checked_books

    checked = await checked_books(home=home, database=None)
    return [f"{finding.invariant} {finding.subject}: {finding.detail}" for finding in checked.findings]
