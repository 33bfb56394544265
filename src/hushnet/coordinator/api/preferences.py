"""The header `hushnet-route`: what a request asks of the router beyond what it needs, in both modes alike.

Its value is one small JSON object. Nothing of it is guessed: an unknown member, a name that two providers share, a price
that is not one is a 400 that names the member and never shows its value.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from typing import Final, Literal, Protocol

import msgspec
from starlette.types import Scope

from hushnet.coordinator.fleet.roll import PREFIX_DIGITS
from hushnet.coordinator.routing.model import NO_PREFERENCES, Preferences, SelfRoute
from hushnet.dialects import affinity
from hushnet.dialects.affinity import PrefixTag, decode_tags
from hushnet.foundation.errors import RequestError
from hushnet.foundation.ids import AccountId, ProviderId
from hushnet.foundation.money import PRICE_MICRO_USD_MAX, Price

HEADER: Final = "hushnet-route"
VALUE_BYTES_MAX: Final = 4096
ENTRIES_MAX: Final = 64
PRICE_SORT_MS_PER_MICRO_USD: Final = 1000.0
"""Sorted by price, a saved micro-dollar is worth a second: an ordinary request costs 10 to 1,000 of them, so price goes
before speed among providers that can start now, and a wait of minutes still goes before a few per cent."""
_NAME: Final = re.compile(rf"[0-9a-f]{{{PREFIX_DIGITS},64}}")
_REGION: Final = re.compile(r"[a-z0-9-]{1,32}")
_BUILD: Final = re.compile(r"[0-9a-f]{64}")
_USD: Final = re.compile(r"(0|[1-9][0-9]{0,3})(?:\.([0-9]{1,6}))?", re.ASCII)
_PATH: Final = re.compile(r"`\$\.?([^`]{0,100})`")
_SHAPE: Final = (
    '{"only": [id], "ignore": [id], "regions": [name], "builds": [sha256], "price_max": {"input": "0.10", "output": '
    '"0.40"}, "own": "only" | "prefer", "sort": "price" | "latency"}; every member is optional'
)

_WANTED: Final = {
    "only": "a list of provider ids",
    "ignore": "a list of provider ids",
    "regions": "a list of names",
    "builds": "a list of SHA-256 digests in hex",
    "price_max": 'US dollars for a million tokens as text, like {"input": "0.10", "output": "0.40"}',
    "own": '"only" or "prefer"',
    "sort": '"price" or "latency"',
}


class ProviderNames(Protocol):
    """Which live providers a name stands for (`fleet.roll.Roll`)."""

    def named(self, prefix: str) -> Collection[ProviderId]: ...


class _PriceMax(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    input: str | None = None
    output: str | None = None


class _Route(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    only: list[str] | None = None
    ignore: list[str] = []
    regions: list[str] | None = None
    builds: list[str] | None = None
    price_max: _PriceMax | None = None
    own: Literal["only", "prefer"] | None = None
    sort: Literal["price", "latency"] | None = None


_DECODER: Final = msgspec.json.Decoder(_Route)


class RouteHeaderError(RequestError):
    """A header that says how to route and can't be followed; `param` is the path of the member at fault.

    Codes: `bad_route`, and `ambiguous_provider` for a name that several live providers share.
    """

    code = "bad_route"

    def __init__(self, message: str, *, param: str = "", code: str | None = None, hint: str | None = None) -> None:
        super().__init__(message, code=code, hint=hint or f"{HEADER} is a JSON object like {_SHAPE}")
        self.param = f"{HEADER}.{param}" if param else HEADER


def read_preferences(scope: Scope, account: AccountId, names: ProviderNames) -> Preferences:
    """Return what the request of `account` prefers; raises `RouteHeaderError`."""
    value = _sole_value(scope)
    if value is None:
        return NO_PREFERENCES
    if len(value) > VALUE_BYTES_MAX:
        raise RouteHeaderError(f"the header {HEADER} is longer than {VALUE_BYTES_MAX} bytes")
    route = _decode(value)
    return Preferences(
        only=frozenset(_providers("only", route.only, names)),
        ignore=frozenset(_providers("ignore", route.ignore, names)),
        regions=frozenset(_words("regions", route.regions, _REGION, "1..32 of a-z, 0-9 and -")),
        builds=frozenset(_words("builds", route.builds, _BUILD, "the SHA-256 of a build, 64 lower-case hex digits")),
        price_max=None if route.price_max is None else _price(route.price_max),
        ms_per_micro_usd=PRICE_SORT_MS_PER_MICRO_USD if route.sort == "price" else 0.0,
        own=None if route.own is None else SelfRoute(account, route.own == "only"),
    )


def read_tags(scope: Scope) -> tuple[PrefixTag, ...]:
    """Return the affinity tags that a sealing client has made; raises `RequestError` `bad_affinity`."""
    # Lines of one name are one list (RFC 9110 section 5.3).
    return decode_tags(b",".join(values)) if (values := _values(scope, affinity.HEADER)) else ()


def _sole_value(scope: Scope) -> bytes | None:
    values = _values(scope, HEADER)
    if len(values) > 1:
        raise RouteHeaderError(f"the header {HEADER} is there more than once")
    return values[0] if values else None


def _values(scope: Scope, name: str) -> list[bytes]:
    wanted = name.encode()
    return [bytes(value) for key, value in scope["headers"] if key == wanted]


def _decode(value: bytes) -> _Route:
    try:
        return _DECODER.decode(value)
    except msgspec.ValidationError as error:
        found = _PATH.findall(str(error))
        is_known = "unknown field" not in str(error)
        param = found[-1] if found else ""
        if re.split(r"[.\[]", param)[0] not in _WANTED:
            param = ""  # not a path of ours: it may be made of the caller's own words
        raise RouteHeaderError(f"{HEADER}: {_fault(param, is_known=is_known)}", param=param) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise RouteHeaderError(f"the header {HEADER} is not one JSON object in UTF-8") from None


def _fault(param: str, *, is_known: bool) -> str:
    """Say what is wrong without what was sent: a member's name that nobody knows is the caller's text."""
    if not is_known:
        return "a member is not one of those that are known"
    member = re.split(r"[.\[]", param)[0]
    return f"{member} must be {_WANTED[member]}" if member in _WANTED else "this is not an object of its members"


def _providers(member: str, given: list[str] | None, names: ProviderNames) -> Iterable[ProviderId]:
    """Resolve ids and the beginnings of ids; one that nobody here has stays as it is, and matches nobody."""
    wanted = f"a provider id or at least its first {PREFIX_DIGITS} hex digits, lower case"
    for index, name in enumerate(_words(member, given, _NAME, wanted)):
        found = names.named(name)
        if len(found) > 1:
            raise RouteHeaderError(
                f"{HEADER}.{member}[{index}] is the beginning of more than one provider's id",
                param=f"{member}[{index}]",
                code="ambiguous_provider",
                hint="send more digits of the id; GET /v1/sealing/providers lists them whole",
            )
        yield next(iter(found), ProviderId(name))


def _words(member: str, given: list[str] | None, shape: re.Pattern[str], wanted: str) -> list[str]:
    if given is None:
        return []
    if not given and member != "ignore":
        raise RouteHeaderError(f"{HEADER}.{member} is empty, so that nobody could serve it; leave it out", param=member)
    if len(given) > ENTRIES_MAX:
        raise RouteHeaderError(f"{HEADER}.{member} has more than {ENTRIES_MAX} entries", param=member)
    for index, word in enumerate(given):
        if shape.fullmatch(word) is None:
            raise RouteHeaderError(f"{HEADER}.{member}[{index}] must be {wanted}", param=f"{member}[{index}]")
    return given


def _price(most: _PriceMax) -> Price:
    return Price(input=_micro_usd("input", most.input), cached=0, output=_micro_usd("output", most.output))


def _micro_usd(member: str, text: str | None) -> int:
    """Read US dollars for a million tokens; absent is no bound."""
    if text is None:
        return PRICE_MICRO_USD_MAX
    match = _USD.fullmatch(text)
    if match is None:
        path = f"price_max.{member}"
        raise RouteHeaderError(
            f'{HEADER}.{path} must be US dollars for a million tokens in a string, like "0.10"', param=path
        )
    dollars, decimals = match.groups(default="")
    return int(dollars) * 1_000_000 + int(decimals.ljust(6, "0") or "0")
