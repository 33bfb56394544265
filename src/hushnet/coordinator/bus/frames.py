"""What workers of one coordinator tell each other: msgpack arrays, told apart by their first element.

All workers run the same build and the same user's code, so a frame that does not decode is a bug and ends the connection.
What a provider has claimed is verified again by whoever hears of it; what a worker says of capacity and challenges is
believed. No frame carries a token, a key's text or a prompt: envelopes and records are ciphertext.
"""

from __future__ import annotations

from typing import Final, TypeAlias

import msgspec

from hushnet.foundation.ids import ModelId
from hushnet.wire.frames import Capacity, ModelOffer, StatementDocument

MESH_VERSION: Final = 1


class Frame(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One frame; subclasses carry the tag."""


# Between any two workers.


class Hello(Frame, frozen=True, tag=0):
    """The first frame, both ways: who speaks. `version` is the mesh's own, `network` the name keys are bound to."""

    version: int
    worker: int
    network: str


class Beat(Frame, frozen=True, tag=1):
    """Nothing to say: the worker's loop runs."""


class Drained(Frame, frozen=True, tag=2):
    """The worker takes no requests any more and has none left: nothing more will be dispatched from there."""


# About the providers of the worker that speaks.


class Work(Frame, frozen=True, tag=10):
    """What everybody but the hearer has open at a provider (`fleet.load.OthersWork`), beside the provider's own report."""

    capacity: Capacity
    total: int
    by_model: dict[ModelId, int]
    tokens: int
    output: int
    full: tuple[ModelId, ...]


class OlderKey(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A sealing key of a former statement that its provider still opens with."""

    key_id: bytes
    receipt_key: bytes | None
    expires_at: int


class Present(Frame, frozen=True, tag=11):
    """A provider is here, or what is known of it has changed; `connected_ms` tells its links apart and orders them."""

    provider_id: str
    connected_ms: int
    account_id: int
    key_id: int
    agent_version: str
    statement: StatementDocument
    offers: tuple[ModelOffer, ...]
    older_keys: tuple[OlderKey, ...]
    answered_at: int | None
    missed: int
    is_draining: bool
    work: Work
    region: str = ""
    link_ms: int = 0


class Told(Frame, frozen=True, tag=12):
    """A provider's room has changed."""

    provider_id: str
    connected_ms: int
    work: Work
    link_ms: int = 0


class Left(Frame, frozen=True, tag=13):
    """A provider's link is gone."""

    provider_id: str
    connected_ms: int


# From a worker with a request to the worker with the provider's socket.


class Dispatch(Frame, frozen=True, tag=20):
    """Start an attempt; `number` is the sender's, counted on this connection. Model and bounds are in the envelope."""

    number: int
    provider_id: str
    connected_ms: int
    deadline_ms: int
    credit_bytes: int
    envelope: bytes


class Cancel(Frame, frozen=True, tag=21):
    number: int
    code: int


class Grant(Frame, frozen=True, tag=22):
    number: int
    bytes_: int


class CloseLink(Frame, frozen=True, tag=23):
    """End the link of a provider: its token was revoked, it was suspended. A newer link is news enough (`Present`)."""

    provider_id: str
    connected_ms: int
    code: str


# Back.


class Records(Frame, frozen=True, tag=30):
    """Sealing records of an attempt, whole and in order, as the provider sent them."""

    number: int
    raw: bytes


class Refused(Frame, frozen=True, tag=31):
    number: int
    code: int


class Finished(Frame, frozen=True, tag=32):
    number: int


class Lost(Frame, frozen=True, tag=33):
    """The provider's link is gone."""

    number: int


# Questions; `ask` is the sender's number, counted on this connection.


class KeysChanged(Frame, frozen=True, tag=40):
    """Forget what is remembered of a key, of all keys of the account where `key_id` is None; `is_barred` ends what they
    opened."""

    ask: int
    account_id: int
    key_id: int | None
    is_barred: bool


class ProviderBarred(Frame, frozen=True, tag=41):
    """A provider was suspended; with a `reason` of None it may serve again."""

    ask: int
    provider_id: str
    reason: str | None


class PricesChanged(Frame, frozen=True, tag=42):
    ask: int


class BudgetsChanged(Frame, frozen=True, tag=46):
    """Forget what is remembered of an account's budgets."""

    ask: int
    account_id: int


class Claimed(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """An envelope that makes a request; `until` in Unix seconds."""

    account_id: int
    envelope_id: bytes
    until: int


class ClaimEnvelopes(Frame, frozen=True, tag=43):
    """Remember these; the answer is yes when none was remembered before."""

    ask: int
    claims: tuple[Claimed, ...]


class Scrape(Frame, frozen=True, tag=44):
    """Ask for the worker's metrics."""

    ask: int


class Answer(Frame, frozen=True, tag=49):
    ask: int
    is_yes: bool
    text: bytes = b""


Question: TypeAlias = KeysChanged | ProviderBarred | PricesChanged | BudgetsChanged | ClaimEnvelopes | Scrape
AnyFrame: TypeAlias = (
    Hello
    | Beat
    | Drained
    | Present
    | Told
    | Left
    | Dispatch
    | Cancel
    | Grant
    | CloseLink
    | Records
    | Refused
    | Finished
    | Lost
    | KeysChanged
    | ProviderBarred
    | PricesChanged
    | BudgetsChanged
    | ClaimEnvelopes
    | Scrape
    | Answer
)

encode: Final = msgspec.msgpack.Encoder().encode
decode: Final = msgspec.msgpack.Decoder(AnyFrame).decode
