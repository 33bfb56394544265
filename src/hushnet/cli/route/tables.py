"""Decisions and fleets as people read them: the decision first, then a line a candidate, then who is not listed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Final

from hushnet.cli import console

ID_SHOWN: Final = 12
"""Enough of an id to name a provider with: `--only` and `--ignore` take it."""
TERMS_SHOWN: Final = 4
WORD_SHOWN: Final = 24
START: Final = "start one with `hush provider start`, or a whole network here with `hush up`"
_WORDS: Final = (("trust", "trust"), ("region", "region"), ("agent", "agent_version"))
_SECONDS_FROM_MS: Final = 100_000
_HOURS_FROM_MS: Final = 10_000_000


def print_explanation(explanation: Mapping[str, Any]) -> None:
    """Print the decision, the candidates with the terms of their costs that matter, and how many more lost and why."""
    console.out().print(_decision(explanation))
    if waiting := explanation["waiting"]:
        console.out().print(f"[yellow]{waiting} waiting[/]: they have their turn before a new request")
    if explanation["candidates"]:
        _print_candidates(explanation["candidates"])
    rest = [_counted(explanation["unlisted"], "not listed (--limit lists more)")]
    rest += [_counted(explanation["unroutable"], "connected and not routable")]
    for line in filter(None, rest):
        console.out().print(f"[dim]{line}[/]")
    if not explanation["total"] and not explanation["unroutable"]:
        console.err().print(f"no provider of this model is connected: {START}")


def print_fleet(models: Sequence[Mapping[str, Any]]) -> None:
    """Print a line a model."""
    if not models:
        console.err().print(f"no provider is connected: {START}")
        return
    numbers = ("ready", "full", "unroutable", "slots", "tokens", "tok/s", "waiting")
    table = console.table("model", *numbers, numeric=frozenset(numbers), whole=frozenset({"model"}))
    for each in models:
        unroutable = sum(each["unroutable"].values())
        table.add_row(
            _escaped(each["model"]),
            *map(str, (each["ready"], each["full"], unroutable)),
            f"{each['slots_free']}/{each['slots']}",
            "-" if each["tokens_free"] is None else f"{each['tokens_free']:,}",
            f"{each['decode_tokens_s']:g}",
            str(each["waiting"]),
        )
    console.print_table(table)
    console.out().print("[dim]ready: providers with a free slot; slots, tokens: free now; tok/s: the median rate[/]")


def print_groups(model: Mapping[str, Any]) -> None:
    """Print what kinds of providers one model has, the largest first."""
    numbers = ("providers", "ready", "slots", "context")
    words = ("trust", "features", "region", "build")
    table = console.table(*words, *numbers, numeric=frozenset(numbers), whole=frozenset({"trust"}))
    for group in model["groups"]:
        table.add_row(
            group["trust"],
            _word(" ".join(group["features"])),
            _word(group["region"]),
            _word(group["build"][:ID_SHOWN]),
            str(group["candidates"]),
            str(group["ready"]),
            str(group["slots_free"]),
            f"{group['context_tokens']:,}",
        )
    if model["groups"]:
        console.print_table(table)
    else:
        console.err().print("nobody whom the router sees offers this model")
    if model["unroutable"]:
        console.out().print(f"[dim]{_counted(model['unroutable'], 'connected and not routable')}[/]")
    if model["groups_unlisted"]:
        console.out().print(f"[dim]and {model['groups_unlisted']} smaller groups[/]")


def _decision(explanation: Mapping[str, Any]) -> str:
    model, total = f"[bold]{_escaped(explanation['model'])}[/]", explanation["total"]
    if explanation["outcome"] == "assigned":
        following = explanation["next_ms"]
        beaten = f"next best {span(following)}" if following is not None else "nobody else can take it now"
        chosen = explanation["provider_id"][:ID_SHOWN]
        seen = f"{explanation['examined']} of {total} examined"
        return f"{model} goes to [green]{chosen}[/]: {span(explanation['cost_ms'])}, {beaten}; {seen}"
    lost = f" of {total} candidates: {_counted(explanation['lost'], '')}" if total else " nobody offers it now"
    if explanation["outcome"] == "waiting":
        return f"{model} [yellow]waits[/]: room is likely in {span(round(explanation['after_s'] * 1000))};{lost}"
    return f"{model} is [red]refused[/]: {explanation['reason'].replace('_', ' ')};{lost}"


def _print_candidates(candidates: Sequence[Mapping[str, Any]]) -> None:
    """Print a line a candidate; what is the same of all is said once, below."""
    terms = _largest_terms(candidates)
    numbers = ("cost", *terms, "slots", "tok/s")
    same = {
        name: found for name, fact in _WORDS if len(found := {_word(each["facts"][fact]) for each in candidates}) == 1
    }
    words = [(name, fact) for name, fact in _WORDS if name not in same]
    columns = ("provider", "why", *numbers, *(name for name, _ in words))
    table = console.table(*columns, numeric=frozenset(numbers), whole=frozenset({"provider", "why", "trust"}))
    for each in candidates:
        facts = each["facts"]
        table.add_row(
            each["provider_id"][:ID_SHOWN],
            _why(each),
            _cell(each["cost_ms"]),
            *(_cell(each["terms"][term]) if term in each["terms"] else "-" for term in terms),
            f"{facts['slots_left']}/{facts['slots']}",
            f"{facts['decode_tokens_s']:.3g}" if facts["decode_tokens_s"] else "?",
            *(_word(facts[fact]) for _, fact in words),
        )
    console.print_table(table)
    said = [
        "costs in ms, slots free of all",
        *(f"{name} of all: {''.join(found)}" for name, found in same.items() if found != {"-"}),
    ]
    console.out().print(f"[dim]{'; '.join(said)}[/]")


def _largest_terms(candidates: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the few terms that weigh most in any of these costs, in the order in which they do."""
    most: Counter[str] = Counter()
    for each in candidates:
        for term, value in each["terms"].items():
            most[term] = max(most[term], value)
    return [term for term, value in most.most_common(TERMS_SHOWN) if value > 0]


def _why(each: Mapping[str, Any]) -> str:
    if each["is_chosen"]:
        return "[green]chosen[/]"
    note = f", {each['note'].replace('_', ' ')}" if each["note"] else ""
    behind = each["behind_ms"]
    if behind is not None:
        return f"{'+' if behind >= 0 else '-'}{_cell(abs(behind))}{note}"
    return str(each["reason"]).removesuffix("_unavailable").replace("_", " ") + note


def span(milliseconds: int) -> str:
    """Write a time: `820 ms`, `120 s`, `2,778 h`."""
    if milliseconds < _SECONDS_FROM_MS:
        return f"{milliseconds:,} ms"
    if milliseconds < _HOURS_FROM_MS:
        return f"{milliseconds / 1000:,.0f} s"
    return f"{milliseconds / 3_600_000:,.0f} h"


def _cell(milliseconds: int) -> str:
    """Write a time in a column of milliseconds; one that nobody would wait for by its size alone."""
    return f"{milliseconds:,}" if milliseconds < _HOURS_FROM_MS else span(milliseconds)


def _counted(counts: Mapping[str, int], meaning: str) -> str:
    parts = [f"{count} {word.replace('_', ' ')}" for word, count in sorted(counts.items(), key=lambda item: -item[1])]
    return f"{meaning}: {', '.join(parts)}" if parts and meaning else ", ".join(parts)


def _word(text: str) -> str:
    """Show a word that a provider chose, in a table that it does not break."""
    return _escaped(text[:WORD_SHOWN]) or "-"


def _escaped(text: str) -> str:
    from rich.markup import escape

    return escape(text)
