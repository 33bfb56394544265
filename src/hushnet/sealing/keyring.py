"""A provider's short-lived sealing and receipt keys: made here, rotated at half life, never stored (section 3)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from hushnet.sealing.forks import PROCESS
from hushnet.sealing.limits import KEY_GRACE, STATEMENT_LIFE, STATEMENT_LIFE_MAX
from hushnet.sealing.statements import IdentitySigner, Statement, issue_statement
from hushnet.sealing.suites import SealingKeyPair, Suite, available_suites, generate_key_pair


@dataclass(frozen=True, slots=True)
class LiveKey:
    """A sealing key that may still be asked for, and the receipt key that its statement names."""

    pair: SealingKeyPair
    receipt_key: Ed25519PrivateKey = field(repr=False)
    destroyed_at: int


class Keyring:
    """The live keys of one serving process, newest statement last.

    Every rotation makes new keys for all suites and a new statement; a private key is forgotten 420 s after its
    statement expires. A forked process finds no keys here: it would not share the replay cache that guards them.
    """

    def __init__(
        self,
        signer: IdentitySigner,
        *,
        network: str,
        life: int = STATEMENT_LIFE,
        suites: Sequence[Suite] | None = None,
    ) -> None:
        """Hold no keys until `rotate`; `life` is a statement's lifetime in seconds, 2..86400."""
        if not 2 <= life <= STATEMENT_LIFE_MAX:
            raise ValueError("a statement lives for 2 s to a day")
        self._signer = signer
        self._network = network
        self._life = life
        self._suites = tuple(suites) if suites is not None else available_suites()
        self._live: dict[tuple[int, bytes], LiveKey] = {}
        self._statement: Statement | None = None
        self._serial = 0
        self._rotates_at = 0
        self._generation = PROCESS.generation

    @property
    def statement(self) -> Statement | None:
        """The statement to show, None before the first rotation."""
        return self._statement

    @property
    def rotates_at(self) -> int:
        """The second at which the next rotation is due: half a lifetime after the last."""
        return self._rotates_at

    def is_due(self, now: int) -> bool:
        """Tell whether it is time to rotate."""
        return now >= self._rotates_at

    def rotate(self, now: int) -> Statement:
        """Make new keys for all suites and the statement that endorses them; forget keys whose time is over."""
        pairs = [generate_key_pair(suite) for suite in self._suites]
        receipt_key = Ed25519PrivateKey.generate()
        expires_at = now + self._life
        serial = max(self._serial + 1, now * 1000)
        statement = issue_statement(
            self._signer,
            network=self._network,
            keys=pairs,
            receipt_public_key=receipt_key.public_key().public_bytes_raw(),
            issued_at=now,
            expires_at=expires_at,
            serial=serial,
        )
        self.expire(now)
        self.hold(pairs, receipt_key=receipt_key, expires_at=expires_at)
        self._statement, self._serial, self._rotates_at = statement, serial, now + self._life // 2
        return statement

    def hold(self, pairs: Sequence[SealingKeyPair], *, receipt_key: Ed25519PrivateKey, expires_at: int) -> None:
        """Keep the private keys of one statement until nobody may seal to them any more."""
        live = {(int(pair.suite), pair.key_id): LiveKey(pair, receipt_key, expires_at + KEY_GRACE) for pair in pairs}
        # One assignment, because bodies are opened in other threads while keys change.
        self._live = {**self._live, **live}

    def find(self, suite_id: int, key_id: bytes, *, now: int) -> LiveKey | None:
        """Return the live key of that suite and id, None where there is none (any more)."""
        live = self._live.get((suite_id, key_id))
        if live is None or now >= live.destroyed_at or self._generation != PROCESS.generation:
            return None
        return live

    def expire(self, now: int) -> None:
        """Forget the private keys whose time is over."""
        self._live = {name: live for name, live in self._live.items() if now < live.destroyed_at}

    def destroy(self) -> None:
        """Forget every private key: the process is ending."""
        self._live = {}

    def __repr__(self) -> str:
        return f"Keyring({len(self._live)} live keys, rotates_at={self._rotates_at})"
