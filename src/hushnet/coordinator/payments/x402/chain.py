"""What the chain says of a payment, over a node's JSON-RPC: the only witness that neither side can bribe.

EIP-3009 marks a nonce as used in the same call that transfers, and emits `AuthorizationUsed` directly before `Transfer`; so a
payment is paid when the two stand next to each other with the right token, payer, recipient and amount. A nonce that is used
without that was cancelled, or spent on somebody else. Permit2 keeps a bitmap of nonces; there the transaction is named.
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


Seen: TypeAlias = Paid | Unpaid | SpentElsewhere | Unseen


class Chain(Protocol):
    """Somebody who can see the chain."""

    async def look_up(self, payment: Payment) -> Seen:
        """Say what became of an `exact` payment."""
        ...

    async def look_up_permit(self, payment: Payment, amount: int, txid: str) -> Seen:
        """Say whether `txid` transferred `amount` of an `upto` payment; without it, whether the nonce is used."""
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
        """Ask the node at `url`, which often holds a key; logs are searched in the last `blocks_back` blocks (nodes bound this, often to 10,000)."""
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

    async def look_up_permit(self, payment: Payment, amount: int, txid: str) -> Seen:
        """See `Chain.look_up_permit`."""
        assert payment.scheme is Scheme.UPTO
        try:
            if txid:
                receipt = await self._receipt(txid)
                is_paid = receipt is not None and any(_is_transfer(log, payment, amount) for log in receipt.logs)
                return Paid(txid) if is_paid else Unseen("not_in_that_transaction")
            nonce = int(payment.nonce, 16)
            data = _call("nonceBitmap(address,uint256)", _word(payment.payer), f"{nonce >> 8:064x}")
            if int(await self._read(PERMIT2, data), 16) >> (nonce & 0xFF) & 1:
                return Unseen("nonce_used")
            return await self._unpaid(payment)
        except _UnseenError as error:
            return Unseen(str(error))

    async def aclose(self) -> None:
        await self._http.aclose()

    async def _look_up(self, payment: Payment) -> Seen:
        data = _call("authorizationState(address,bytes32)", _word(payment.payer), payment.nonce[2:])
        if int(await self._read(payment.asset, data), 16) == 0:
            return await self._unpaid(payment)
        newest = int((await self._block()).number, 16)
        topics = [
            [_topic("AuthorizationUsed(address,bytes32)"), _topic("AuthorizationCanceled(address,bytes32)")],
            "0x" + _word(payment.payer),
            payment.nonce,
        ]
        bounds = {"fromBlock": hex(max(0, newest - self._blocks_back)), "toBlock": "latest"}
        logs = await self._ask("eth_getLogs", [{"address": payment.asset, "topics": topics, **bounds}], list[_Log])
        if not logs:
            return Unseen("nonce_used_unseen")
        receipt = await self._receipt(logs[0].transaction_hash)
        if receipt is None:
            return Unseen("no_receipt")
        after = int(logs[0].log_index, 16) + 1
        is_used = logs[0].topics[0] == topics[0][0]
        is_paid = is_used and any(
            int(log.log_index, 16) == after and _is_transfer(log, payment, payment.amount) for log in receipt.logs
        )
        return Paid(logs[0].transaction_hash.lower()) if is_paid else SpentElsewhere()

    async def _unpaid(self, payment: Payment) -> Seen:
        """The nonce was unused when it was read; the block's time is read after it, so a transfer in between is not missed."""
        latest = await self._block()
        if int(latest.timestamp, 16) < payment.valid_before_s + FINAL_S:
            return Unpaid(is_final=False)
        # The state may have been read at an older block than the one whose time is over: read it once more at this one.
        if payment.scheme is Scheme.EXACT:
            data = _call("authorizationState(address,bytes32)", _word(payment.payer), payment.nonce[2:])
            is_used = int(await self._read(payment.asset, data, at=latest.number), 16) != 0
            return Unseen("nonce_used_late") if is_used else Unpaid(is_final=True)
        return Unpaid(is_final=True)

    async def _receipt(self, txid: str) -> _Receipt | None:
        receipt = await self._ask("eth_getTransactionReceipt", [txid], _Receipt | None)
        return receipt if receipt is not None and receipt.status == "0x1" else None

    async def _block(self) -> _Block:
        block: _Block = await self._ask("eth_getBlockByNumber", ["latest", False], _Block)
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
    topics = [_topic("Transfer(address,address,uint256)"), "0x" + _word(payment.payer), "0x" + _word(payment.pay_to)]
    return (
        log.address.lower() == payment.asset
        and [topic.lower() for topic in log.topics] == topics
        and log.data.lower() == f"0x{amount:064x}"
    )


@cache
def _topic(event: str) -> str:
    return "0x" + keccak(event.encode("ascii")).hex()


def _call(function: str, *words: str) -> str:
    return _topic(function)[:10] + "".join(words)


def _word(address: str) -> str:
    return "0" * 24 + address[2:]
