"""The facilitator over HTTP: it verifies and submits payments, and is believed only as far as its answer fits the question.

A refusal is a refusal only when the answer is well formed, names no transaction and gives a reason that sending it again does
not change. Everything else (a time-out, a 5xx, `settlement_pending`, a nonce already used, another payer, network or amount than
asked) is `Unanswered`: the chain will tell. Redirects are not followed, answers are bounded.
"""

from __future__ import annotations

import asyncio
import logging
import re
from dataclasses import dataclass
from typing import Any, Final, TypeAlias, TypeVar

import httpx
import msgspec

from hushnet.coordinator.payments.x402.payload import V1, Payment
from hushnet.coordinator.payments.x402.terms import Offer
from hushnet.foundation.redaction import Secret

_LOG = logging.getLogger(__name__)
T = TypeVar("T")

ANSWER_BYTES_MAX: Final = 65_536
_REASON: Final = re.compile(r"[a-z0-9_]{1,80}", re.ASCII)
_TXID: Final = re.compile(r"0x[0-9a-fA-F]{64}", re.ASCII)
_DEFINITE: Final = re.compile(
    r"(invalid|insufficient|unsupported|missing|network|permit2|upto|asset|undeployed|eip6492)_[a-z0-9_]+"
)
_OPEN_WORDS: Final = (
    "transaction",
    "nonce",
    "pending",
    "already",
    "used",
    "unexpected",
    "timeout",
    "duplicate",
    "settle",
)
"""Reasons that a facilitator also gives when it has lost sight of what it submitted; x402 2.25 says `transaction_failed` then."""
_LATER: Final = frozenset({401, 403, 404, 405, 408, 409, 425, 429})
"""Answers of the 4xx kind that are about us, the route or the moment, and not about the payment."""


@dataclass(frozen=True, slots=True)
class Valid:
    """It could be settled now."""


@dataclass(frozen=True, slots=True)
class Settled:
    """It says that the transfer is on the chain, in this transaction."""

    txid: str


@dataclass(frozen=True, slots=True)
class Rejected:
    """It was refused, and nothing was submitted; `reason` is a word of the protocol."""

    reason: str


@dataclass(frozen=True, slots=True)
class Unanswered:
    """Whether anything was submitted is not known; `word` is ours."""

    word: str


Verified: TypeAlias = Valid | Rejected | Unanswered
Settlement: TypeAlias = Settled | Rejected | Unanswered


class _VerifyAnswer(msgspec.Struct, rename="camel"):
    is_valid: bool
    invalid_reason: str | None = None
    payer: str | None = None


class _SettleAnswer(msgspec.Struct, rename="camel"):
    success: bool
    network: str
    transaction: str = ""
    error_reason: str | None = None
    payer: str | None = None
    amount: str | None = None


class _Kind(msgspec.Struct, rename="camel"):
    scheme: str
    network: str
    x402_version: int = msgspec.field(name="x402Version", default=1)
    extra: dict[str, Any] | None = None


class _Supported(msgspec.Struct):
    kinds: list[_Kind]


class Facilitator:
    """One facilitator. Nothing here raises: what goes wrong is `Unanswered`."""

    def __init__(
        self, url: str, offer: Offer, *, token: Secret | None = None, verify_s: float, settle_s: float
    ) -> None:
        """Talk to the facilitator at `url` about payments of `offer`; `token` is sent as a bearer token."""
        self._url = url.rstrip("/")
        self._offer = offer
        self._verify_s = verify_s
        self._settle_s = settle_s
        headers = {"authorization": f"Bearer {token.reveal()}"} if token and token.reveal() else {}
        self._http = httpx.AsyncClient(headers=headers, timeout=settle_s, follow_redirects=False, trust_env=False)

    async def verify(self, payment: Payment) -> Verified:
        """Ask whether the payment could be settled now."""
        answer = await self._ask("verify", self._offer.asked_of_facilitator(payment, payment.amount))
        read = answer if isinstance(answer, Unanswered) else _read(answer, _VerifyAnswer)
        if isinstance(read, Unanswered):
            return read
        if not read.is_valid:
            return Rejected(_reason(read.invalid_reason))
        return Valid() if _is_same(read.payer, payment.payer) else self._lie("payer")

    async def settle(self, payment: Payment, amount: int) -> Settlement:
        """Have `amount` of the payment transferred (all of it, unless it is `upto`)."""
        body = self._offer.asked_of_facilitator(payment, amount)
        answer = await self._ask("settle", body, timeout_s=self._settle_s)
        read = answer if isinstance(answer, Unanswered) else _read(answer, _SettleAnswer)
        if isinstance(read, Unanswered):
            return read
        network = payment.network.word if payment.version == V1 else payment.network.caip2
        if not read.success:
            reason = _reason(read.error_reason)
            is_open = bool(read.transaction) or any(word in reason for word in _OPEN_WORDS)
            return Rejected(reason) if _DEFINITE.fullmatch(reason) and not is_open else Unanswered(reason)
        if read.network != network or (read.payer is not None and not _is_same(read.payer, payment.payer)):
            return self._lie("network or payer")
        if read.amount is not None and read.amount != str(amount):
            return self._lie("amount")
        if _TXID.fullmatch(read.transaction) is None:
            return self._lie("transaction")
        return Settled(read.transaction.lower())

    async def lacks(self) -> list[str]:
        """Return what of the offer the facilitator does not say that it settles; empty also when it says nothing."""
        answer = await self._ask("supported", None)
        read = answer if isinstance(answer, Unanswered) else _read(answer, _Supported)
        if isinstance(read, Unanswered):
            return []
        network = self._offer.network
        kinds = {(kind.x402_version, kind.scheme, kind.network) for kind in read.kinds}
        wanted = {"exact": (2, "exact", network.caip2), "exact, version 1": (1, "exact", network.word)}
        lacking = [name for name, kind in wanted.items() if kind not in kinds]
        if self._offer.facilitator and not any(self._is_upto(kind) for kind in read.kinds):
            lacking.append("upto")
        return lacking

    def _is_upto(self, kind: _Kind) -> bool:
        address = (kind.extra or {}).get("facilitatorAddress")
        is_ours = isinstance(address, str) and address.lower() == self._offer.facilitator
        return is_ours and (kind.x402_version, kind.scheme, kind.network) == (2, "upto", self._offer.network.caip2)

    async def aclose(self) -> None:
        await self._http.aclose()

    async def _ask(
        self, what: str, body: dict[str, Any] | None, *, timeout_s: float | None = None
    ) -> bytes | Unanswered:
        """Return a body that may be an answer about the payment."""
        content = None if body is None else msgspec.json.encode(body)
        headers = {"content-type": "application/json"}
        method = "GET" if body is None else "POST"
        try:
            async with (
                asyncio.timeout(timeout_s or self._verify_s),
                self._http.stream(method, f"{self._url}/{what}", content=content, headers=headers) as answer,
            ):
                data = await _bounded(answer)
                status = answer.status_code
        except (httpx.HTTPError, httpx.InvalidURL, TimeoutError) as error:
            return self._failed(what, type(error).__name__.lower())
        if data is None or status >= 500 or status in _LATER or 300 <= status < 400:
            return self._failed(what, f"http_{status}")
        return data

    def _failed(self, what: str, word: str) -> Unanswered:
        _LOG.warning("the facilitator did not answer", extra={"call": what, "error": word})
        return Unanswered(word)

    def _lie(self, what: str) -> Unanswered:
        _LOG.error("the facilitator's answer does not fit the question", extra={"member": what})
        return Unanswered("bad_answer")


async def _bounded(answer: httpx.Response) -> bytes | None:
    data = b""
    async for piece in answer.aiter_bytes():
        data += piece
        if len(data) > ANSWER_BYTES_MAX:
            return None
    return data


def _read(data: bytes, type_: type[T]) -> T | Unanswered:
    try:
        return msgspec.json.decode(data, type=type_)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        _LOG.error("the facilitator's answer cannot be read")
        return Unanswered("bad_answer")


def _reason(text: str | None) -> str:
    """Keep a reason only if it is a word: what a facilitator writes goes to clients and into the database."""
    return text if text is not None and _REASON.fullmatch(text) else "payment_refused"


def _is_same(address: str | None, expected: str) -> bool:
    return address is not None and address.lower() == expected
