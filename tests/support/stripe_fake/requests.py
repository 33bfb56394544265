"""One request as the handlers of this Stripe get it, and the table that finds the handler."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import stripe.params
import stripe.params.checkout

from support.stripe_fake.problems import StripeProblem, invalid, missing
from support.stripe_fake.world import Thing, World


@dataclass(frozen=True)
class Asked:
    """A parsed request: parameters as nested text, the ids of its path, the account it is made on behalf of."""

    world: World
    parameters: dict[str, Any]
    ids: tuple[str, ...]
    account: str

    def thing(self, kind: str, what: str, *, at: int = 0) -> Thing:
        """Return the object that the path names, of this account; raises 404."""
        found = self.world.objects[kind].get(self.ids[at])
        if found is None or found.get("account", self.account) != self.account:
            raise missing(what, self.ids[at])
        return found

    def named(self, kind: str, what: str, parameter: str) -> Thing | None:
        """Return the object that a parameter names, or None without the parameter; raises 400."""
        id_ = self.parameters.get(parameter)
        if not id_:
            return None
        found = self.world.objects[kind].get(id_)
        if found is None:
            raise missing(what, str(id_), param=parameter)
        return found

    def metadata(self, *path: str) -> dict[str, str]:
        node: Any = self.parameters
        for part in (*path, "metadata"):
            node = node.get(part, {}) if isinstance(node, dict) else {}
        if not isinstance(node, dict):
            raise invalid("metadata is a hash", param="metadata")
        return dict(node)


Handler = Callable[[Asked], Thing]


@dataclass(frozen=True)
class Endpoint:
    """A method and path, the handler, and the SDK's own list of the parameters it takes."""

    method: str
    pattern: re.Pattern[str]
    handler: Handler
    allowed: frozenset[str]


ENDPOINTS: list[Endpoint] = []


def endpoint(method: str, path: str, parameters: str = "") -> Callable[[Handler], Handler]:
    """Register a handler; `parameters` names the SDK's TypedDict (`checkout.SessionCreateParams`)."""
    place: Any = stripe.params
    for part in parameters.split(".") if parameters else []:
        place = getattr(place, part)
    allowed = frozenset(place.__annotations__) if parameters else frozenset({"expand"})
    pattern = re.compile(re.sub(r"\{[a-z]+\}", r"([A-Za-z0-9_]+)", path))

    def registered(handler: Handler) -> Handler:
        ENDPOINTS.append(Endpoint(method, pattern, handler, allowed))
        return handler

    return registered


def find_endpoint(method: str, path: str) -> tuple[Endpoint, tuple[str, ...]]:
    """Return the endpoint and the ids in the path; raises 404 in Stripe's words."""
    for candidate in ENDPOINTS:
        if candidate.method == method and (match := candidate.pattern.fullmatch(path)):
            return candidate, match.groups()
    raise StripeProblem(
        404, "invalid_request_error", f"Unrecognized request URL ({method}: {path}).", is_executed=False
    )


def check_parameters(endpoint_: Endpoint, parameters: dict[str, Any]) -> None:
    """Refuse a parameter that Stripe does not know."""
    for name in parameters:
        if name not in endpoint_.allowed:
            raise invalid(f"Received unknown parameter: {name}", code="parameter_unknown", param=name)


def listed(asked: Asked, things: list[Thing], url: str) -> Thing:
    """Page through `things` (newest first) with `limit`, `starting_after`, `ending_before` and `created[gte]`."""
    created = asked.parameters.get("created")
    if isinstance(created, dict):
        tests = {"gte": int.__ge__, "gt": int.__gt__, "lte": int.__le__, "lt": int.__lt__}
        things = [t for t in things if all(tests[name](t["created"], int(value)) for name, value in created.items())]
    ids = [thing["id"] for thing in things]
    limit = int(asked.parameters.get("limit", "10"))
    if not 1 <= limit <= 100:
        raise invalid("limit is 1 to 100", param="limit")
    if after := asked.parameters.get("starting_after"):
        things = things[_place(ids, after) + 1 :]
        page = things[:limit]
    elif before := asked.parameters.get("ending_before"):
        things = things[: _place(ids, before)]
        page = things[-limit:]
    else:
        page = things[:limit]
    return {"object": "list", "url": url, "has_more": len(page) < len(things), "data": page}


def _place(ids: list[str], id_: str) -> int:
    if id_ not in ids:
        raise missing("object", id_, param="starting_after")
    return ids.index(id_)
