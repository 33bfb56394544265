"""One envelope makes one request, also when it is posted to several workers.

Every envelope has one worker that remembers it: by rendezvous hashing over the workers that are up, so that a worker that
goes or comes moves only its own. Whoever accepted an envelope keeps it in mind too, and tells the new owner when one
changes. What is left is narrow and written down in docs/operating.md: an envelope that the dead worker had both accepted and
owned, and one that is posted twice within the moment in which two workers differ about who is up. A provider refuses to run
an envelope twice in any case.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import OrderedDict
from collections.abc import Callable, Iterable
from functools import partial
from itertools import islice
from typing import Final

from hushnet.coordinator.admission.envelopes import ENVELOPES_MAX, EnvelopeMemory
from hushnet.coordinator.bus.frames import Claimed, ClaimEnvelopes
from hushnet.coordinator.bus.mesh import Mesh
from hushnet.coordinator.bus.peer import Peer
from hushnet.foundation.clock import Clock
from hushnet.foundation.errors import CapacityError
from hushnet.foundation.ids import AccountId

TOLD_AT_ONCE: Final = 1024
"""Envelopes in one step when an owner changes: about two milliseconds."""


class EnvelopeClaims:
    """This worker's part: what it owns, and what it has accepted and others own."""

    def __init__(self, mesh: Mesh, clock: Clock) -> None:
        self._mesh = mesh
        self._clock = clock
        self._owned = EnvelopeMemory()
        self._accepted: OrderedDict[tuple[AccountId, bytes], int] = OrderedDict()

    async def claim(self, account: AccountId, envelope_id: bytes, *, until: int) -> bool:
        """Say whether nobody has claimed this envelope before, on any worker. An owner that is lost meanwhile is replaced.

        Raises `CapacityError` when the owner is there and does not answer: it may have been told of the envelope elsewhere.
        """
        claim = Claimed(account, envelope_id, until)
        self._keep(account, envelope_id, until)
        for _ in range(self._mesh.count):
            owner = self._owner_of(claim)
            if owner is None:
                return self.take((claim,))
            answer = await owner.ask(partial(ClaimEnvelopes, claims=(claim,)))
            if answer is not None:
                return answer.is_yes
            if not owner.gone.is_set():
                raise CapacityError("another worker of the coordinator does not answer", code="busy")
        return self.take((claim,))

    def take(self, claims: Iterable[Claimed]) -> bool:
        """Remember envelopes as their owner; True when none was remembered before."""
        now = self._clock.now_ms() // 1000
        are_new = [
            self._owned.insert(AccountId(claim.account_id), claim.envelope_id, until=claim.until, now=now)
            for claim in claims
        ]
        return all(are_new)

    async def hand_over(self) -> None:
        """The workers have changed: tell of each envelope that this one has accepted to whom it belongs now, in parts."""
        now = self._clock.now_ms() // 1000
        accepted = iter(list(self._accepted))  # only the keys at once; what comes meanwhile is told as it comes
        while keys := list(islice(accepted, TOLD_AT_ONCE)):
            batches: dict[Peer | None, list[Claimed]] = {}
            for account, id_ in keys:
                until = self._accepted.get((account, id_), 0)
                if until <= now:
                    continue
                claim = Claimed(account, id_, until)
                batches.setdefault(self._owner_of(claim), []).append(claim)
            for owner, claims in batches.items():
                if owner is None:
                    self.take(claims)
                else:
                    owner.send(ClaimEnvelopes(0, tuple(claims)))  # nobody waits for the answer to question 0
            await asyncio.sleep(0)

    def _owner_of(self, claim: Claimed) -> Peer | None:
        """Return the worker that remembers an envelope, None when it is this one."""
        weigh: Callable[[int], bytes] = partial(_weight, claim)
        owner = max((self._mesh.worker, *(peer.worker for peer in self._mesh.peers)), key=weigh)
        return self._mesh.peer(owner)

    def _keep(self, account: AccountId, envelope_id: bytes, until: int) -> None:
        now = self._clock.now_ms() // 1000
        self._accepted[account, envelope_id] = until
        while len(self._accepted) > ENVELOPES_MAX or next(iter(self._accepted.values())) <= now:
            self._accepted.popitem(last=False)
            if not self._accepted:
                return


def _weight(claim: Claimed, worker: int) -> bytes:
    account = claim.account_id.to_bytes(8, "big", signed=False)
    return hashlib.blake2b(account + claim.envelope_id + worker.to_bytes(2, "big"), digest_size=8).digest()
