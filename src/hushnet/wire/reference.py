"""The generated parts of docs/wire.md: frames, faults, limits and state diagrams, rendered from the code that rules them."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Iterator, Mapping
from inspect import cleandoc
from typing import Any, Final, get_args

import msgspec
from msgspec import inspect

from hushnet.wire import frames as fr
from hushnet.wire import limits
from hushnet.wire.codec import DataType
from hushnet.wire.errors import FAULTS
from hushnet.wire.transitions import COORDINATOR_ATTEMPT, COORDINATOR_LINK, PROVIDER_ATTEMPT, PROVIDER_LINK

_BLOCK: Final = re.compile(r"(<!-- generated: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)
_PARTS: Final = (
    fr.Capacity,
    fr.ModelCapacity,
    fr.ModelOffer,
    fr.StatementDocument,
    fr.StatementSignature,
)


def render_into(page: str) -> str:
    """Return `page` with the text between its `<!-- generated: NAME -->` and `<!-- end -->` marks made anew."""
    return _BLOCK.sub(lambda match: f"{match[1]}{_RENDERERS[match[2]]().strip()}\n{match[3]}", page)


def render_frames() -> str:
    """Return every control frame with its members and bounds."""
    sections = [
        ("Coordinator to provider", get_args(fr.CoordinatorFrame)),
        ("Provider to coordinator", get_args(fr.ProviderFrame)),
        ("Parts of frames", _PARTS),
    ]
    return "\n".join(line for title, structs in sections for line in [f"### {title}\n", *_structs(structs)])


def render_data() -> str:
    """Return the data record types."""
    directions = {DataType.RECORD: "provider to coordinator"}
    rows = [
        f"| {kind.value} | `{kind.name}` | {directions.get(kind, 'coordinator to provider')} |" for kind in DataType
    ]
    return _table("type | name | direction", rows)


def render_faults() -> str:
    """Return the closed list of faults."""
    rows = [
        f"| `{fault}` | {rule.reach.value} | {rule.close_code if rule.reach.value == 'link' else ''} | {rule.meaning} |"
        for fault, rule in FAULTS.items()
    ]
    return _table("code | ends | close code | when", rows)


def render_limits() -> str:
    """Return the protocol's constants and what a deployment may change."""
    constants = [
        f"| `{name}` | {_number(value)} | |"
        for name, value in vars(limits).items()
        if name.isupper() and isinstance(value, int | str)
    ]
    fields = [f"| `{each.name}` | {_number(each.default)} | yes |" for each in dataclasses.fields(limits.LinkLimits)]
    return _table("name | value | may be changed", constants + fields)


def render_diagrams() -> str:
    """Return the four state tables as mermaid diagrams."""
    tables: dict[str, Mapping[Any, Any]] = {
        "A link at the coordinator": COORDINATOR_LINK,
        "A link at the provider": PROVIDER_LINK,
        "An attempt at the coordinator": COORDINATOR_ATTEMPT,
        "An attempt at the provider": PROVIDER_ATTEMPT,
    }
    return "\n".join(f"### {title}\n\n```mermaid\n{diagram(table)}\n```\n" for title, table in tables.items())


def diagram(table: Mapping[Any, Any]) -> str:
    """Draw one table; the triggers of an edge share a label."""
    start = next(iter(table))[0]
    edges: dict[tuple[str, str], list[str]] = {}
    for (before, trigger), after in table.items():
        edges.setdefault((before.value, after.value), []).append(trigger)
    lines = [f"    {before} --> {after} : {', '.join(labels)}" for (before, after), labels in edges.items()]
    return "\n".join(["stateDiagram-v2", f"    [*] --> {start.value}", *lines])


def _structs(structs: tuple[type[msgspec.Struct], ...]) -> Iterator[str]:
    for struct in structs:
        info = inspect.type_info(struct)
        if not isinstance(info, inspect.StructType):
            raise TypeError(f"{struct.__name__} is no struct")
        yield f"#### `{info.tag or struct.__name__}`\n"
        yield f"{cleandoc(struct.__doc__ or '')}\n"
        if info.fields:
            rows = [f"| `{each.encode_name}` | {_type(each.type)} | {_default(each)} |" for each in info.fields]
            yield _table("member | value | when absent", rows)


def _type(kind: inspect.Type) -> str:
    match kind:
        case inspect.IntType():
            text = f"integer {kind.ge}..{kind.le}"
        case inspect.FloatType():
            text = f"number {kind.ge:g}..{kind.le:g}"
        case inspect.BytesType():
            text = f"base64 of {kind.min_length} bytes"
        case inspect.StrType():
            pattern = kind.pattern and kind.pattern.removeprefix(r"\A").removesuffix(r"\Z")
            text = f"string `{pattern}`" if pattern else f"string, at most {kind.max_length} characters"
        case inspect.VarTupleType():
            text = f"list of {kind.min_length or 0}..{kind.max_length}: {_type(kind.item_type)}"
        case inspect.StructType():
            text = f"`{kind.cls.__name__}`"
        case inspect.UnionType():
            text = " or ".join(_type(each) for each in kind.types)
        case inspect.NoneType():
            text = "null"
        case inspect.BoolType():
            text = "true or false"
        case _:
            text = f"string, at most {fr.TOKEN_CHARACTERS_MAX} characters, never logged"
    return text


def _default(member: inspect.Field) -> str:
    if member.required:
        return "refused"
    return f"`{msgspec.json.encode(member.default).decode()}`"


def _number(value: object) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:g}" if isinstance(value, float) else f"`{value}`"


def _table(heads: str, rows: list[str]) -> str:
    columns = heads.count("|") + 1
    return "\n".join([f"| {heads} |", "|" + " --- |" * columns, *rows]) + "\n"


_RENDERERS: Final[Mapping[str, Callable[[], str]]] = {
    "frames": render_frames,
    "data": render_data,
    "faults": render_faults,
    "limits": render_limits,
    "diagrams": render_diagrams,
}
