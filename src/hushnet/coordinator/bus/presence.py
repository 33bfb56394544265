"""What each worker knows of the others' providers: gossip of its own, and the fleet's picture of theirs.

Changes are gathered for one pass of the event loop; then each other worker hears of each changed provider once: everything
about it when its claims changed, else only its room, and that only now and then while there is plenty. A statement that arrives is verified here again, and the verdict is
this worker's own, by the challenges that were answered there.

One provider, two links: the one that was admitted later counts, on every worker by the same rule (`connected_ms`, then the
worker's number); the worker with the older link ends it with `replaced`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping
from typing import Final, TypeAlias

from hushnet.attestation.policy import ChallengeRecord
from hushnet.coordinator.bus.crossing import Crossing, RemoteLink
from hushnet.coordinator.bus.frames import Left, OlderKey, Present, Told, Work
from hushnet.coordinator.bus.hosting import Host
from hushnet.coordinator.bus.peer import Peer
from hushnet.coordinator.fleet.fleet import Fleet
from hushnet.coordinator.fleet.load import Load, OthersWork
from hushnet.coordinator.fleet.provider import LiveKey, LiveProvider
from hushnet.coordinator.fleet.store import Owner
from hushnet.coordinator.trust.challenges import ChallengeBook
from hushnet.foundation.clock import Clock
from hushnet.foundation.ids import AccountId, ApiKeyId, ProviderId
from hushnet.sealing.errors import SealingError
from hushnet.sealing.statements import SerialMemory, Statement, VerifiedStatement, verify_statement
from hushnet.wire.frames import StatementDocument, StatementSignature

_LOG = logging.getLogger(__name__)

ROOMY_S: Final = 0.05
"""How late the others may hear of the room of a provider that had plenty before and has now: requests come and go there by
the hundred a second, and its own worker refuses what is too much."""
ROOMY_SHARE: Final = 0.25
"""More than this part of the slots free, and never fewer than three, is plenty."""

_Claims: TypeAlias = tuple[object, ...]


class Announcer:
    """Tells the other workers of the providers of this one."""

    def __init__(
        self, fleet: Fleet, trust: ChallengeBook, hosts: Mapping[int, Host], peers: Callable[[], Iterable[Peer]]
    ):
        self._fleet = fleet
        self._trust = trust
        self._hosts = hosts
        self._peers = peers
        self._loop = asyncio.get_running_loop()
        self._changed: set[ProviderId] = set()
        self._announced: dict[ProviderId, _Claims] = {}
        self._roomy: set[ProviderId] = set()
        """Providers that the others believe to have plenty of room."""
        self._late: set[ProviderId] = set()
        fleet.watch(self._note)

    def greet(self, peer: Peer) -> None:
        """Tell a worker that has just joined of every provider of this one."""
        for provider in self._fleet.providers():
            if not provider.is_elsewhere:
                self._announced[provider.provider_id] = self._claims_of(provider)
                peer.send(self._present(provider, peer))

    def _note(self, provider: LiveProvider) -> None:
        # A provider of ours that one elsewhere has replaced is noted by its new entry: it may have been announced.
        if provider.is_elsewhere and provider.provider_id not in self._announced:
            return
        if not self._changed:
            self._loop.call_soon(self._tell)
        self._changed.add(provider.provider_id)

    def _tell(self) -> None:
        changed, self._changed = self._changed, set()
        for provider_id in changed:
            provider = self._fleet.get(provider_id)
            if provider is None or provider.is_elsewhere:
                self._retract(provider_id)
            elif provider_id in self._roomy and _is_roomy(provider) and self._is_announced(provider):
                self._postpone(provider_id)
            else:
                self._announce(provider)

    def _postpone(self, provider_id: ProviderId) -> None:
        if not self._late:
            self._loop.call_later(ROOMY_S, self._tell_late)
        self._late.add(provider_id)

    def _tell_late(self) -> None:
        late, self._late = self._late, set()
        for provider_id in late:
            provider = self._fleet.get(provider_id)
            if provider is not None and not provider.is_elsewhere:
                self._announce(provider)

    def _is_announced(self, provider: LiveProvider) -> bool:
        return self._announced.get(provider.provider_id) == self._claims_of(provider)

    def _retract(self, provider_id: ProviderId) -> None:
        self._roomy.discard(provider_id)
        claims = self._announced.pop(provider_id, None)
        if claims is not None:
            connected_ms = claims[0]
            assert isinstance(connected_ms, int)
            for peer in self._peers():
                peer.send(Left(provider_id, connected_ms))

    def _announce(self, provider: LiveProvider) -> None:
        is_known = self._is_announced(provider)
        if not is_known:
            self._announced[provider.provider_id] = self._claims_of(provider)
        (self._roomy.add if _is_roomy(provider) else self._roomy.discard)(provider.provider_id)
        for peer in self._peers():
            if is_known:
                work = self._work(provider, peer)
                peer.send(Told(provider.provider_id, provider.connected_ms, work, provider.link_ms))
            else:
                peer.send(self._present(provider, peer))

    def _claims_of(self, provider: LiveProvider) -> _Claims:
        record = self._trust.record(provider.provider_id)
        return (
            provider.connected_ms,
            provider.verified.digest,
            tuple(provider.offers.values()),
            record.answered_at,
            record.missed,
            provider.is_draining or provider.is_lost,
        )

    def _present(self, provider: LiveProvider, peer: Peer) -> Present:
        record = self._trust.record(provider.provider_id)
        current = {key.key_id for key in provider.verified.keys}
        return Present(
            provider_id=provider.provider_id,
            connected_ms=provider.connected_ms,
            account_id=provider.owner.account_id,
            key_id=provider.owner.key_id,
            agent_version=provider.agent_version,
            statement=_document_of(provider.statement),
            offers=tuple(provider.offers.values()),
            older_keys=tuple(
                OlderKey(key_id, key.receipt_key, key.expires_at)
                for key_id, key in provider.keys.items()
                if key_id not in current
            ),
            answered_at=record.answered_at,
            missed=record.missed,
            is_draining=provider.is_draining or provider.is_lost,
            work=self._work(provider, peer),
            region=provider.region,
            link_ms=provider.link_ms,
        )

    def _work(self, provider: LiveProvider, peer: Peer) -> Work:
        work = provider.load.beside(self._hosts[peer.worker].share(provider.provider_id))
        return Work(work.capacity, work.total, dict(work.by_model), work.tokens, work.output, work.full)


class Neighbours:
    """Keeps the fleet's entries of providers of the other workers."""

    def __init__(
        self, fleet: Fleet, trust: ChallengeBook, *, serials: SerialMemory, network: str, clock: Clock, worker: int
    ) -> None:
        self._fleet = fleet
        self._trust = trust
        self._serials = serials
        self._network = network
        self._clock = clock
        self._worker = worker
        self._of: dict[int, dict[ProviderId, LiveProvider]] = {}

    def present(self, crossing: Crossing, frame: Present) -> None:
        """Take a provider in, or what has changed of it."""
        provider_id, worker = ProviderId(frame.provider_id), crossing.peer.worker
        mine = self._fleet.get(provider_id)
        if mine is not None and self._order(mine) > (frame.connected_ms, worker):
            return  # the other worker has heard, or will hear, of the newer link, and ends the older one
        try:
            statement = Statement.from_json_object(frame.statement.to_json_object())
            verified = self._verify(statement, provider_id)
        except SealingError as error:
            _LOG.warning("statement refused", extra={"provider_id": provider_id, "code": error.error_code})
            self._forget(provider_id, worker)
            return
        if mine is not None and self._order(mine) == (frame.connected_ms, worker):
            self._change(mine, frame, statement, verified)
        else:
            self._adopt(crossing, frame, statement, verified)

    def told(self, worker: int, frame: Told) -> None:
        provider = self._of.get(worker, {}).get(ProviderId(frame.provider_id))
        if provider is not None and provider.connected_ms == frame.connected_ms:
            provider.link_ms = frame.link_ms
            self._fleet.told(provider, _others(frame.work))

    def left(self, worker: int, frame: Left) -> None:
        provider = self._of.get(worker, {}).get(ProviderId(frame.provider_id))
        if provider is not None and provider.connected_ms == frame.connected_ms:
            self._forget(provider.provider_id, worker)

    def lose(self, worker: int) -> None:
        """A worker is gone, and its providers with it: they will dial again."""
        for provider_id in list(self._of.get(worker, {})):
            self._forget(provider_id, worker)

    def _adopt(self, crossing: Crossing, frame: Present, statement: Statement, verified: VerifiedStatement) -> None:
        provider_id, worker = ProviderId(frame.provider_id), crossing.peer.worker
        record = ChallengeRecord(answered_at=frame.answered_at, missed=frame.missed)
        provider = LiveProvider(
            provider_id=provider_id,
            owner=Owner(AccountId(frame.account_id), ApiKeyId(frame.key_id)),
            link=RemoteLink(
                crossing,
                provider_id,
                connected_ms=frame.connected_ms,
                on_closed=self._closed,
            ),
            agent_version=frame.agent_version,
            statement=statement,
            verified=verified,
            tier=self._trust.adopt(verified, record).tier,
            load=Load(frame.work.capacity),
            connected_ms=frame.connected_ms,
            policy=self._fleet.policy,
            region=frame.region,
            link_ms=frame.link_ms,
            is_draining=frame.is_draining,
            is_elsewhere=True,
        )
        provider.keys = {key.key_id: LiveKey(key.receipt_key, key.expires_at) for key in frame.older_keys}
        provider.told(_others(frame.work))
        provider.offer(frame.offers)
        self._of.setdefault(worker, {})[provider_id] = provider
        old = self._fleet.join(provider)
        if old is not None and not old.is_elsewhere:
            old.link.close("replaced")

    def _change(
        self, provider: LiveProvider, frame: Present, statement: Statement, verified: VerifiedStatement
    ) -> None:
        record = ChallengeRecord(answered_at=frame.answered_at, missed=frame.missed)
        verdict = self._trust.adopt(verified, record)
        provider.told(_others(frame.work))
        provider.link_ms = frame.link_ms
        provider.is_draining = frame.is_draining
        if verified.digest != provider.verified.digest:
            self._fleet.restated(provider, statement, verified)
        self._fleet.judged(provider, verdict.tier)
        self._fleet.offered(provider, frame.offers)

    def _forget(self, provider_id: ProviderId, worker: int) -> None:
        provider = self._of.get(worker, {}).pop(provider_id, None)
        if provider is not None and self._fleet.leave(provider):
            self._trust.forget(provider_id)

    def _closed(self, link: RemoteLink) -> None:
        provider = self._of.get(link.worker, {}).get(link.provider_id)
        if provider is not None and provider.link is link:
            self._forget(link.provider_id, link.worker)

    def _order(self, provider: LiveProvider) -> tuple[int, int]:
        link = provider.link
        return provider.connected_ms, link.worker if isinstance(link, RemoteLink) else self._worker

    def _verify(self, statement: Statement, provider_id: ProviderId) -> VerifiedStatement:
        return verify_statement(
            statement,
            network=self._network,
            now=self._clock.now_ms() // 1000,
            provider_id=bytes.fromhex(provider_id),
            serials=self._serials,
        )


def _is_roomy(provider: LiveProvider) -> bool:
    load = provider.load
    return all(
        load.slots_left(model, offer.slots) >= max(3, int(offer.slots * ROOMY_SHARE) + 1)
        for model, offer in provider.offers.items()
    )


def _others(work: Work) -> OthersWork:
    return OthersWork(
        capacity=work.capacity,
        total=work.total,
        by_model=work.by_model,
        tokens=work.tokens,
        output=work.output,
        full=work.full,
    )


def _document_of(statement: Statement) -> StatementDocument:
    shown = statement.to_json_object()
    return StatementDocument(
        payload_type=shown["payloadType"],
        payload=shown["payload"],
        signatures=tuple(StatementSignature(keyid=each["keyid"], sig=each["sig"]) for each in shown["signatures"]),
    )
