"""`hush chat`: talk with a model, one question or many; answers go to stdout, everything else to stderr."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass, field
from typing import Annotated, Any

import typer
from rich.markup import escape

from hushnet.cli import console
from hushnet.cli import prompt as terminal
from hushnet.cli.options import ApiKey, AsJson, BaseUrl, Home, Trust, client_of
from hushnet.foundation.errors import CapacityError, HushnetError, RequestError
from hushnet.foundation.money import format_usd
from hushnet.sdk.client import ChatStream, Client

STDIN_BYTES_MAX = 8 << 20
# A shorter span holds too few tokens to tell a speed.
SPEED_SPAN_S_MIN = 0.2
QUIT = "/quit"
LOW_FLOOR = "statements are always verified; that proves who holds a key, not what their machine does with the text"


def command(
    prompt: Annotated[
        str | None, typer.Argument(help="One question; without it, a conversation. '-' reads stdin.")
    ] = None,
    model: Annotated[str | None, typer.Option("--model", "-m", help="The model; default: the first on offer.")] = None,
    system: Annotated[str | None, typer.Option("--system", "-s", help="Instructions before the conversation.")] = None,
    standard: Annotated[
        bool, typer.Option("--standard", help="Not end to end: the coordinator can read prompt and answer too.")
    ] = False,
    max_tokens: Annotated[
        int | None, typer.Option("--max-tokens", min=1, help="The longest answer, in tokens.")
    ] = None,
    temperature: Annotated[
        float, typer.Option("--temperature", "-t", min=0, max=2, help="0 is the likeliest answer every time.")
    ] = 0.2,
    only: Annotated[
        list[str] | None,
        typer.Option("--only", help="A provider's id or its first 12 digits; nobody else. Repeatable.", metavar="ID"),
    ] = None,
    region: Annotated[
        list[str] | None,
        typer.Option("--region", help="A region; no provider elsewhere. Repeatable.", metavar="NAME"),
    ] = None,
    own: Annotated[
        bool,
        typer.Option("--own", help="Only machines of your own account, which is free; with --only, or --standard."),
    ] = False,
    trust: Trust = None,
    base_url: BaseUrl = None,
    api_key: ApiKey = None,
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """Chat with a model; sealed end to end by default.

    With a question (or text piped in) it answers once and ends: `git diff | hush chat "what changed?"`.
    """
    asked = {"only": only, "regions": region, "own": "only" if own else None}
    route = {name: value for name, value in asked.items() if value}
    with client_of(base_url, api_key, home, sealed=not standard, trust=trust, route=route) as client:
        client.settings.require_key()
        talk = Conversation(client, model or first_model(client), as_json=as_json)
        talk.options = {"max_tokens": max_tokens, "temperature": temperature}
        if system:
            talk.messages.append({"role": "system", "content": system})
        question = question_of(prompt)
        talk.announce()
        if question is not None:
            talk.ask(question)
        else:
            talk.run()


@dataclass(slots=True)
class Conversation:
    """The messages so far and how to print the next answer."""

    client: Client
    model: str
    as_json: bool = False
    messages: list[dict[str, Any]] = field(default_factory=list)
    options: dict[str, Any] = field(default_factory=dict)

    def announce(self) -> None:
        """Say before the first prompt who will be able to read it."""
        err = console.err()
        err.print(f"[bold]{escape(self.model)}[/] at {escape(self.client.settings.base_url)}")
        if self.client.sealed:
            policy = self.client.policy
            least = "" if policy.floor == "none" else f" (trust {policy.floor} or better)"
            err.print(
                f"[green]sealed[/]: readable by you and by {self._readers()}, whose keys are verified here{least}; "
                "the coordinator can't read it"
            )
            if policy.floor in {"none", "self_signed"}:
                err.print(f"  [dim]{LOW_FLOOR}[/]")
        else:
            err.print("[yellow]standard[/]: readable by you, the coordinator's memory, and the provider that answers")

    def _readers(self) -> str:
        count = self.client.readers(self.model)
        return "1 provider" if count == 1 else f"{count} providers"

    def run(self) -> None:
        """Ask until the person stops; an error ends one question, not the conversation."""
        console.err().print("[dim]Ctrl-D or /quit ends; Ctrl-C stops an answer[/]")
        terminal.prepare()
        while True:
            try:
                question = terminal.read_message("you> ")
            except KeyboardInterrupt:
                console.err().print("\n[dim]Ctrl-D ends[/]")
                continue
            if question is None:
                console.err().print()
                return
            if question == QUIT:
                return
            self._try(question)

    def _try(self, question: str) -> None:
        answered = len(self.messages)
        try:
            self.ask(question)
        except HushnetError as error:
            del self.messages[answered:]
            console.print_error(error)
        except KeyboardInterrupt:
            del self.messages[answered:]
            console.err().print("\n[dim]stopped before an answer[/]")

    def ask(self, question: str) -> None:
        """Send one question, print the answer as it comes, then what it took."""
        self.messages.append({"role": "user", "content": question})
        started = time.perf_counter()
        stream = self.client.chat.completions.create(
            model=self.model, messages=self.messages, stream=True, **self.options
        )
        first, text = self._print_answer(stream)
        if first is None:
            self.messages.pop()
        else:
            self.messages.append({"role": "assistant", "content": text})
        now = time.perf_counter()
        if self.as_json:
            console.print_json(self._record(stream, text))
        else:
            self._print_facts(stream, first_s=(first or now) - started, total_s=now - started)

    def _print_answer(self, stream: ChatStream) -> tuple[float | None, str]:
        first: float | None = None
        parts: list[str] = []
        try:
            for chunk in stream:
                for choice in chunk.choices:
                    if choice.delta.content:
                        first = first or time.perf_counter()
                        parts.append(choice.delta.content)
                        self._write(choice.delta.content)
        except KeyboardInterrupt:
            stream.close()
            console.err().print("\n[dim]stopped; what was delivered is charged[/]")
        finally:
            self._write("\n")
        return first, "".join(parts)

    def _write(self, text: str) -> None:
        if not self.as_json:
            sys.stdout.write(printable(text))
            sys.stdout.flush()

    def _print_facts(self, stream: ChatStream, *, first_s: float, total_s: float) -> None:
        usage, facts = stream.usage, stream.facts
        parts = []
        if usage:
            span_s = total_s - first_s
            speed = usage.completion_tokens / span_s if span_s >= SPEED_SPAN_S_MIN else 0.0
            parts.append(f"{usage.prompt_tokens} + {usage.completion_tokens} tokens")
            parts.append(f"first after {first_s * 1000:.0f} ms" + (f", then {speed:.0f} tokens/s" if speed else ""))
        if facts.cost_micro_usd is not None:
            parts.append(format_usd(facts.cost_micro_usd))
        if facts.provider_id:
            parts.append(f"provider {facts.provider_id[:16]} ({facts.trust})")
        console.err().print(f"[dim]{' | '.join(parts)}[/]")

    def _record(self, stream: ChatStream, text: str) -> dict[str, Any]:
        usage, facts = stream.usage, stream.facts
        return {
            "answer": text,
            "model": self.model,
            "mode": "sealed" if facts.sealed else "standard",
            "readable_by": list(facts.readable_by),
            "trust": facts.trust,
            "provider_id": facts.provider_id,
            "request_id": facts.request_id,
            "input_tokens": usage.prompt_tokens if usage else None,
            "output_tokens": usage.completion_tokens if usage else None,
            "cost_micro_usd": facts.cost_micro_usd,
        }


def question_of(prompt: str | None) -> str | None:
    """Join the argument with what is piped in; None means a conversation at the terminal."""
    is_typed = sys.stdin.isatty()
    piped = "" if is_typed else sys.stdin.read(STDIN_BYTES_MAX + 1).strip()
    if len(piped) > STDIN_BYTES_MAX:
        raise RequestError("more than 8 MiB was piped in", code="body_too_large")
    if is_typed and prompt in (None, "-"):
        return None
    asked = "" if prompt in (None, "-") else prompt.strip()
    joined = "\n\n".join(text for text in (asked, piped) if text)
    if not joined:
        raise RequestError("there is no question", code="bad_request", hint='ask one: hush chat "hello"')
    return joined


def first_model(client: Client) -> str:
    """Return the first model on offer; raises `CapacityError` when there is none."""
    models = client.models.list()
    if not models:
        raise CapacityError(
            "no model is on offer", code="model_unavailable", hint="`hush provider start` connects a machine"
        )
    return min(str(model["id"]) for model in models)


def printable(text: str) -> str:
    """Drop control characters with which a model could drive the terminal; newlines and tabs stay."""
    return "".join(char for char in text if char in "\n\t" or not (char < " " or "\x7f" <= char <= "\x9f"))
