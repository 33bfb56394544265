"""What the chain says of a payment, over a node's JSON-RPC: the only witness that neither side can bribe.

EIP-3009 marks a nonce as used in the same call that transfers, and emits `AuthorizationUsed` directly before `Transfer`; so a
payment is paid when the two stand next to each other with the right token, payer, recipient and amount. A nonce that is used
without that was cancelled, or spent on somebody else. Permit2 keeps a bitmap of nonces and emits nothing: there the transfers themselves
are looked for.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any, Final, Protocol, TypeAlias

import httpx
import msgspec

from hushnet.coordinator.payments.calls import CLOCKS_S
from hushnet.coordinator.payments.x402.networks import PERMIT2
from hushnet.coordinator.payments.x402.payload import Payment, Scheme
from hushnet.coordinator.payments.x402.signature import keccak
from hushnet.foundation.redaction import Secret

_LOG = logging.getLogger(__name__)

ANSWER_BYTES_MAX: Final = 1 << 20
FINAL_S: Final = 60
"""A block this much later than `valid_before` will not be undone by a short reorganisation."""


@dataclass(frozen=True, slots=True)
class Paid:
    """The transfer is on the chain."""

    txid: str


@dataclass(frozen=True, slots=True)
class Unpaid:
    """Its nonce is unused; `is_final` when its time is over by the chain's own clock."""

    is_final: bool


@dataclass(frozen=True, slots=True)
class SpentElsewhere:
    """Its nonce was cancelled, or used for another transfer: it never can be paid."""


@dataclass(frozen=True, slots=True)
class Unseen:
    """The node did not answer, or not enough."""

    word: str


@dataclass(frozen=True, slots=True)
class Transfers:
    """The permit's nonce is used, and these transactions have transferred that amount by other means than EIP-3009.

    `is_complete`: there are no others. One of them settled the payment, unless all of them settled something else.
    """

    txids: tuple[str, ...]
    is_complete: bool


Seen: TypeAlias = Paid | Unpaid | SpentElsewhere | Unseen
PermitSeen: TypeAlias = Transfers | Unpaid | Unseen


class Chain(Protocol):
    """Somebody who can see the chain."""

    async def look_up(self, payment: Payment) -> Seen:
        """Say what became of an `exact` payment."""
        ...

    async def look_up_permit(self, payment: Payment, amount: int, since_s: int) -> PermitSeen:
        """Say what became of an `upto` payment that was settled for `amount`, no earlier than `since_s` by our clock."""
        ...


class _Log(msgspec.Struct, rename="camel"):
    address: str
    topics: list[str]
    data: str
    log_index: str
    transaction_hash: str = ""


class _Receipt(msgspec.Struct):
    status: str
    logs: list[_Log]


class _Block(msgspec.Struct):
    number: str
    timestamp: str


_Word = Annotated[str, msgspec.Meta(pattern="^0x[0-9a-fA-F]{64}$")]


class _UnseenError(Exception):
    """The node did not answer as a node answers."""


class RpcChain:
    """A node's JSON-RPC endpoint."""

    def __init__(self, url: Secret, *, timeout_s: float, blocks_back: int) -> None:
        """Ask the node at `url`, which often holds a key. Logs are searched in the last `blocks_back` blocks."""
        self._url = url.reveal()
        self._blocks_back = blocks_back
        self._timeout_s = timeout_s
        self._http = httpx.AsyncClient(timeout=timeout_s, follow_redirects=False, trust_env=False)
        self._ids = itertools.count(1)

    async def look_up(self, payment: Payment) -> Seen:
        """See `Chain.look_up`."""
        try:
            return await self._look_up(payment)
        except _UnseenError as error:
            return Unseen(str(error))

    async def look_up_permit(self, payment: Payment, amount: int, since_s: int) -> PermitSeen:
        """See `Chain.look_up_permit`."""
        try:
            return await self._look_up_permit(payment, amount, since_s)
        except _UnseenError as error:
            return Unseen(str(error))

    async def aclose(self) -> None:
        await self._http.aclose()

    async def _look_up(self, payment: Payment) -> Seen:
        if not await self._is_used(payment):
            return await self._unpaid(payment)
        used = _topic("AuthorizationUsed(address,bytes32)")
        kinds = [used, _topic("AuthorizationCanceled(address,bytes32)")]
        logs, _ = await self._logs(payment, [kinds, "0x" + _word(payment.payer), payment.nonce])
        if not logs:
            return Unseen("nonce_used_unseen")
        receipt = await self._receipt(logs[0].transaction_hash)
        if receipt is None:
            return Unseen("no_receipt")
        after = int(logs[0].log_index, 16) + 1
        is_paid = logs[0].topics[0] == used and any(
            int(log.log_index, 16) == after and _is_transfer(log, payment, payment.amount) for log in receipt.logs
        )
        return Paid(logs[0].transaction_hash.lower()) if is_paid else SpentElsewhere()

    async def _look_up_permit(self, payment: Payment, amount: int, since_s: int) -> PermitSeen:
        if not await self._is_used(payment):
            return await self._unpaid(payment)
        logs, oldest = await self._logs(payment, _transfer_topics(payment))
        found = [log.transaction_hash.lower() for log in logs if _is_transfer(log, payment, amount)]
        txids = [txid for txid in dict.fromkeys(found) if not await self._is_authorised(txid, payment)]
        began = await self._block(oldest)
        return Transfers(tuple(txids), is_complete=int(began.timestamp, 16) <= since_s - CLOCKS_S)

    async def _is_authorised(self, txid: str, payment: Payment) -> bool:
        """Whether a transaction used an EIP-3009 nonce of the payer: then its transfer paid an `exact` payment."""
        receipt = await self._receipt(txid)
        if receipt is None:
            raise _UnseenError("no_receipt")
        begins = [_topic("AuthorizationUsed(address,bytes32)"), "0x" + _word(payment.payer)]
        return any([topic.lower() for topic in log.topics[:2]] == begins for log in receipt.logs)

    async def _is_used(self, payment: Payment, *, at: str = "latest") -> bool:
        if payment.scheme is Scheme.EXACT:
            data = _call("authorizationState(address,bytes32)", _word(payment.payer), payment.nonce[2:])
            return int(await self._read(payment.asset, data, at=at), 16) != 0
        nonce = int(payment.nonce, 16)
        data = _call("nonceBitmap(address,uint256)", _word(payment.payer), f"{nonce >> 8:064x}")
        return bool(int(await self._read(PERMIT2, data, at=at), 16) >> (nonce & 0xFF) & 1)

    async def _unpaid(self, payment: Payment) -> Unpaid | Unseen:
        """The nonce was unused when it was read: say whether it stays so."""
        latest = await self._block()
        if int(latest.timestamp, 16) < payment.valid_before_s + FINAL_S:
            return Unpaid(is_final=False)
        # It may have been read at an older block than the one whose time is over: read it once more at this one.
        is_used = await self._is_used(payment, at=latest.number)
        return Unseen("nonce_used_late") if is_used else Unpaid(is_final=True)

    async def _logs(self, payment: Payment, topics: list[Any]) -> tuple[list[_Log], str]:
        """Return the token's logs with these topics, and the number of the oldest block that was searched."""
        newest = int((await self._block()).number, 16)
        oldest = hex(max(0, newest - self._blocks_back))
        asked = {"address": payment.asset, "topics": topics, "fromBlock": oldest, "toBlock": "latest"}
        logs: list[_Log] = await self._ask("eth_getLogs", [asked], list[_Log])
        return logs, oldest

    async def _receipt(self, txid: str) -> _Receipt | None:
        receipt = await self._ask("eth_getTransactionReceipt", [txid], _Receipt | None)
        return receipt if receipt is not None and receipt.status == "0x1" else None

    async def _block(self, number: str = "latest") -> _Block:
        block: _Block = await self._ask("eth_getBlockByNumber", [number, False], _Block)
        return block

    async def _read(self, contract: str, data: str, *, at: str = "latest") -> str:
        word: str = await self._ask("eth_call", [{"to": contract, "data": data}, at], _Word)
        return word

    async def _ask(self, method: str, params: list[Any], type_: Any) -> Any:
        body = {"jsonrpc": "2.0", "id": next(self._ids), "method": method, "params": params}
        try:
            async with asyncio.timeout(self._timeout_s):
                answer = await self._http.post(
                    self._url, content=msgspec.json.encode(body), headers={"content-type": "application/json"}
                )
        except (httpx.HTTPError, httpx.InvalidURL, TimeoutError) as error:
            raise self._unseen(method, type(error).__name__.lower()) from None
        if answer.status_code != 200 or len(answer.content) > ANSWER_BYTES_MAX:
            raise self._unseen(method, f"http_{answer.status_code}")
        try:
            envelope = msgspec.json.decode(answer.content, type=dict[str, msgspec.Raw])
            return msgspec.json.decode(envelope["result"], type=type_)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, KeyError):
            raise self._unseen(method, "bad_answer") from None

    def _unseen(self, method: str, word: str) -> _UnseenError:
        _LOG.warning("the chain's node did not answer", extra={"call": method, "error": word})
        return _UnseenError(word)


def _is_transfer(log: _Log, payment: Payment, amount: int) -> bool:
    return (
        log.address.lower() == payment.asset
        and [topic.lower() for topic in log.topics] == _transfer_topics(payment)
        and log.data.lower() == f"0x{amount:064x}"
    )


def _transfer_topics(payment: Payment) -> list[str]:
    return [_topic("Transfer(address,address,uint256)"), "0x" + _word(payment.payer), "0x" + _word(payment.pay_to)]


@cache
def _topic(event: str) -> str:
    return "0x" + keccak(event.encode("ascii")).hex()


def _call(function: str, *words: str) -> str:
    return _topic(function)[:10] + "".join(words)


def _word(address: str) -> str:
    return "0" * 24 + address[2:]
