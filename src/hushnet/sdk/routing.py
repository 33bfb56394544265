"""What a consumer tells the router beside a sealed or standard request: whom it prefers, and what may be cached where.

The key of the affinity tags is made here, lives in this process only, and is never sent or stored: the tags and salts of
two clients, or of one before and after a restart, have nothing in common.
"""

from __future__ import annotations

import json
import secrets
from collections import OrderedDict
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import Any, Final

from hushnet.dialects import openai_chat
from hushnet.dialects.affinity import HEADER as AFFINITY_HEADER
from hushnet.dialects.affinity import KEY_BYTES, NO_AFFINITY, Affinity, affinity_of, encode_tags
from hushnet.foundation.errors import RequestError

ROUTE_HEADER: Final = "hushnet-route"
PREFIXES_REMEMBERED_MAX: Final = 4096


@dataclass(frozen=True, slots=True)
class Route:
    """The header `hushnet-route` of a request, and what it means for whom the request is sealed to."""

    header: str = ""
    only: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()
    is_own_only: bool = False

    @property
    def headers(self) -> Mapping[str, str]:
        return {ROUTE_HEADER: self.header} if self.header else {}

    def allows(self, provider_id: bytes) -> bool:
        """Say whether a provider may be sealed to: who is not to answer has no need of a key to the prompt."""
        name = provider_id.hex()
        return not name.startswith(self.ignore) and (not self.only or name.startswith(self.only))


NO_ROUTE: Final = Route()


def route_of(wanted: Mapping[str, Any] | str | None) -> Route:
    """Make the header out of its object (docs/http.md), or take it as it was sent; the coordinator checks every member.

    Raises `RequestError` `bad_route` for what is not one JSON object, and for lists of providers that can't be read as
    such: whom a request is sealed to depends on them, so a mistake must not mean everybody.
    """
    if not wanted:
        return NO_ROUTE
    try:
        header = wanted if isinstance(wanted, str) else json.dumps(dict(wanted), separators=(",", ":"))
        members = json.loads(header)
    except (TypeError, ValueError, RecursionError):
        members = None
    if not isinstance(members, dict):
        raise RequestError(
            "how to route is not a JSON object", code="bad_route", hint='it looks like {"only": ["PROVIDER_ID"]}'
        )
    # Written again: a header is ASCII, and one line.
    header = json.dumps(members, separators=(",", ":"))
    only, ignore = _names(members, "only"), _names(members, "ignore")
    return Route(header, only, ignore, is_own_only=members.get("own") == "only")


def _names(members: Mapping[str, object], member: str) -> tuple[str, ...]:
    names = members.get(member)
    if names is None:
        return ()
    if isinstance(names, list) and names and all(isinstance(name, str) and name for name in names):
        return tuple(map(str, names))
    raise RequestError(
        f"{member} is not a list of provider ids",
        code="bad_route",
        hint=f'it looks like {{"{member}": ["PROVIDER_ID"]}}',
    )


@dataclass(slots=True)
class Conversations:
    """The key of one client's tags, and which providers have read which prefixes: digests only, least recent first out."""

    _key: bytes = field(default_factory=lambda: secrets.token_bytes(KEY_BYTES), repr=False)
    _served: OrderedDict[bytes, bytes] = field(default_factory=OrderedDict, repr=False)

    def affinity_of(self, body: bytes) -> Affinity:
        """Return the tags and the salt of a chat body."""
        return affinity_of(openai_chat.decode_request(body), self._key)

    def likely(self, tags: Sequence[bytes]) -> Set[bytes]:
        """Return the providers that have read any of these prefixes."""
        return {provider_id for tag in tags if (provider_id := self._served.get(tag)) is not None}

    def note(self, tags: Sequence[bytes], provider_id: bytes) -> None:
        """Remember who has read these prefixes."""
        for tag in tags:
            self._served[tag] = provider_id
            self._served.move_to_end(tag)
        while len(self._served) > PREFIXES_REMEMBERED_MAX:
            self._served.popitem(last=False)


class Turn:
    """One request of a conversation: what it carries, and who is likely to go on with it fastest."""

    def __init__(self, body: bytes, conversations: Conversations | None) -> None:
        self._conversations = conversations
        affinity = NO_AFFINITY if conversations is None else conversations.affinity_of(body)
        self._tags = tuple(tag.tag for tag in affinity.tags)
        self.cache_salt = affinity.salt
        self.headers = {AFFINITY_HEADER: encode_tags(affinity.tags)} if affinity.tags else {}

    @property
    def likely(self) -> Set[bytes]:
        return frozenset() if self._conversations is None else self._conversations.likely(self._tags)

    def served_by(self, provider_id: bytes) -> None:
        """Take note of the provider that answered."""
        if self._conversations is not None:
            self._conversations.note(self._tags, provider_id)
