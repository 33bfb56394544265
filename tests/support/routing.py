"""Fleets for the router: candidates in a few words, and the view that a decision sees."""

from __future__ import annotations

from typing import Any

from hushnet.coordinator.routing.cost import cost_ms, forecast
from hushnet.coordinator.routing.index import ModelIndex
from hushnet.coordinator.routing.model import Candidate, RouteRequest, Traits, context_floor, tokens_floor
from hushnet.coordinator.routing.router import View
from hushnet.foundation.ids import ModelId, ProviderId

A, B, C = (ProviderId(letter * 64) for letter in "abc")
REQUEST = RouteRequest(model=ModelId("m"), prompt_tokens_max=100, output_tokens_max=100)
_TRAITS = frozenset(Traits.__struct_fields__)


def candidate(provider_id: ProviderId = A, **changes: Any) -> Candidate:
    """Make an idle candidate of ordinary speed; `changes` may name fields of its traits too."""
    context_tokens = changes.get("context_tokens", 4096)
    traits = {
        "context_floor": context_floor(context_tokens),
        "tokens_floor": tokens_floor(changes.get("tokens_max") or 0),
    }
    traits |= {name: changes.pop(name) for name in _TRAITS & changes.keys()}
    fields = {"context_tokens": 4096, "slots": 4, "slots_left": 4, "decode_tokens_s": 40.0, "prefill_tokens_s": 400.0}
    return Candidate(provider_id=provider_id, traits=Traits(**traits), **{**fields, **changes})


def numbered(number: int) -> ProviderId:
    """Return the id of the provider with that number."""
    return ProviderId(f"{number:064x}")


def view(*candidates: Candidate) -> View:
    """Return the view of a fleet of `candidates`."""
    index = ModelIndex()
    for each in candidates:
        index.put(each)
    return View(index, frozenset().union(*(each.key_ids for each in candidates)))


def cost_of(view: View, each: Candidate, request: RouteRequest) -> int:
    """Return what `request` is estimated to cost at a candidate of `view`."""
    return cost_ms(each, forecast(each, decode_unknown=view.index.decode_median), request)
