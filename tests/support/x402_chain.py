"""A chain in memory: USDC with EIP-3009, Permit2 with x402's upto proxy, blocks, logs and receipts, on a clock of the test's.

It keeps the rules that money depends on: signatures over exactly what is transferred, nonces used once, validity in the chain's own
time, balances. Signatures are checked by eth-account, which shares no code with what is tested. `FacilitatorEvmSigner` of the
official package stands on it, so that the official facilitator's own code verifies and settles here.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from support.x402_peer import (
    AUTHORIZATION_TYPES,
    PERMIT2_ADDRESS,
    UPTO_PERMIT2_WITNESS_TYPES,
    X402_UPTO_PERMIT2_PROXY_ADDRESS,
    Account,
    TransactionReceipt,
    encode_typed_data,
    keccak,
)

TOKEN = "0x036CbD53842c5426634e7929541eC2318f3dCF7e"
TOKEN_NAME = "USDC"
CHAIN_ID = 84532
FACILITATOR = Account.from_key(b"\x0f" * 32).address


class RevertError(Exception):
    """The contract refused."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"execution reverted: {reason}")


def topic(event: str) -> str:
    return "0x" + keccak(text=event).hex()


def word(value: str | int) -> str:
    return f"{value:064x}" if isinstance(value, int) else value.lower().removeprefix("0x").rjust(64, "0")


@dataclass
class FakeChain:
    """The state of the chain; `now_s` is the time of the next block."""

    now_s: Callable[[], int]
    balances: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    allowances: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    used: dict[tuple[str, str], bool] = field(default_factory=dict)
    permits: set[tuple[str, int]] = field(default_factory=set)
    receipts: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    is_receipt_lost: bool = False
    """Transactions are made, and whoever waits for their receipt waits in vain."""
    is_down: bool = False
    hidden: int = 0
    """For so many more questions the node answers as of before everything."""
    oldest_s: int = 0
    """The time of the oldest block that the node searches."""
    lock: threading.RLock = field(default_factory=threading.RLock)

    def mint(self, address: str, amount: int) -> None:
        self.balances[address.lower()] += amount
        self.allowances[address.lower()] = 1 << 200

    def balance(self, address: str) -> int:
        return self.balances[address.lower()]

    # EIP-3009.

    def transfer_with_authorization(self, *args: Any) -> str:
        payer, to, value, after, before, nonce, v, r, s = args
        with self.lock:
            self._check_authorization(payer, to, value, after, before, nonce, (v, r, s))
            key = (payer.lower(), "0x" + nonce.hex())
            self.used[key] = True
            return self._mined(
                [self._log([topic("AuthorizationUsed(address,bytes32)"), "0x" + word(payer), key[1]], "0x")],
                payer,
                to,
                value,
            )

    def cancel(self, payer: str, nonce: str) -> str:
        """Mark a nonce as used without a transfer, as `cancelAuthorization` does."""
        self.used[payer.lower(), nonce] = True
        topics = [topic("AuthorizationCanceled(address,bytes32)"), "0x" + word(payer), nonce]
        return self._seal([self._log(topics, "0x")])

    def spend_elsewhere(self, payer: str, nonce: str, to: str, value: int, *, besides: list[tuple[str, int]]) -> str:
        """Use a nonce for another transfer, in one transaction with further ones."""
        self.used[payer.lower(), nonce] = True
        logs = [self._log([topic("AuthorizationUsed(address,bytes32)"), "0x" + word(payer), nonce], "0x")]
        for receiver, amount in [(to, value), *besides]:
            logs.append(self._transferred(payer, receiver, amount))
        return self._seal(logs)

    def transfer(self, payer: str, to: str, value: int) -> str:
        """Make a plain transfer."""
        return self._mined([], payer, to, value)

    def _check_authorization(
        self, payer: Any, to: Any, value: Any, after: Any, before: Any, nonce: Any, vrs: Any
    ) -> None:
        if self.now_s() <= after:
            raise RevertError("FiatTokenV2: authorization is not yet valid")
        if self.now_s() >= before:
            raise RevertError("FiatTokenV2: authorization is expired")
        if self.used.get((payer.lower(), "0x" + nonce.hex())):
            raise RevertError("FiatTokenV2: authorization is used or canceled")
        domain = {"name": TOKEN_NAME, "version": "2", "chainId": CHAIN_ID, "verifyingContract": TOKEN}
        message = {
            "from": payer,
            "to": to,
            "value": value,
            "validAfter": after,
            "validBefore": before,
            "nonce": nonce,
        }
        if not _is_signed(domain, AUTHORIZATION_TYPES, message, vrs, payer):
            raise RevertError("FiatTokenV2: invalid signature")
        if self.balances[payer.lower()] < value:
            raise RevertError("ERC20: transfer amount exceeds balance")

    # Permit2, through x402's proxy.

    def settle_permit(self, *args: Any) -> str:
        ((token, permitted), nonce, deadline), amount, owner, (to, facilitator, after), signature = args
        with self.lock:
            if self.now_s() > deadline:
                raise RevertError("SignatureExpired")
            if self.now_s() < after:
                raise RevertError("PaymentTooEarly")
            if (owner.lower(), nonce) in self.permits:
                raise RevertError("InvalidNonce")
            if amount > permitted:
                raise RevertError("AmountExceedsPermitted")
            domain = {"name": "Permit2", "chainId": CHAIN_ID, "verifyingContract": PERMIT2_ADDRESS}
            message = {
                "permitted": {"token": token, "amount": permitted},
                "spender": X402_UPTO_PERMIT2_PROXY_ADDRESS,
                "nonce": nonce,
                "deadline": deadline,
                "witness": {"to": to, "facilitator": facilitator, "validAfter": after},
            }
            vrs = (signature[64], signature[:32], signature[32:64])
            if not _is_signed(domain, UPTO_PERMIT2_WITNESS_TYPES, message, vrs, owner):
                raise RevertError("InvalidSignature")
            if self.balances[owner.lower()] < amount:
                raise RevertError("TRANSFER_FROM_FAILED")
            self.permits.add((owner.lower(), nonce))
            return self._mined([], owner, to, amount)

    def _mined(self, logs: list[dict[str, Any]], payer: str, to: str, value: int) -> str:
        return self._seal([*logs, self._transferred(payer, to, value)])

    def _transferred(self, payer: str, to: str, value: int) -> dict[str, Any]:
        self.balances[payer.lower()] -= value
        self.balances[to.lower()] += value
        topics = [topic("Transfer(address,address,uint256)"), "0x" + word(payer), "0x" + word(to)]
        return self._log(topics, "0x" + word(value))

    def _log(self, topics: list[str], data: str) -> dict[str, Any]:
        return {"address": TOKEN.lower(), "topics": topics, "data": data}

    def _seal(self, logs: list[dict[str, Any]]) -> str:
        txid = "0x" + keccak(text=f"transaction {len(self.receipts)}").hex()
        self.receipts[txid] = [
            log | {"logIndex": hex(7 + place), "transactionHash": txid} for place, log in enumerate(logs)
        ]
        return txid

    # JSON-RPC.

    def answer(self, method: str, params: list[Any]) -> Any:
        """Answer a node's question about the state of the chain."""
        with self.lock:
            is_hidden, self.hidden = self.hidden > 0, max(0, self.hidden - 1)
            if method == "eth_getBlockByNumber":
                is_latest = params[0] == "latest"
                return {"number": hex(100_000), "timestamp": hex(self.now_s() if is_latest else self.oldest_s)}
            if method == "eth_call":
                return "0x" + word(0 if is_hidden else self._called(params[0]["to"].lower(), params[0]["data"]))
            if method == "eth_getLogs":
                return [] if is_hidden else self._found(params[0])
            if method == "eth_getTransactionReceipt":
                logs = self.receipts.get(params[0])
                return None if logs is None or is_hidden else {"status": "0x1", "logs": logs}
        raise AssertionError(method)

    def _called(self, contract: str, data: str) -> int:
        payer, rest = "0x" + data[34:74], data[74:138]
        if contract == TOKEN.lower():
            assert data.startswith(topic("authorizationState(address,bytes32)")[:10])
            return int(self.used.get((payer, "0x" + rest), False))
        assert data.startswith(topic("nonceBitmap(address,uint256)")[:10])
        high = int(rest, 16)
        return sum(1 << (nonce & 0xFF) for owner, nonce in self.permits if owner == payer and nonce >> 8 == high)

    def _found(self, asked: dict[str, Any]) -> list[dict[str, Any]]:
        wanted, *rest = asked["topics"]
        kinds = wanted if isinstance(wanted, list) else [wanted]
        return [
            log
            for logs in self.receipts.values()
            for log in logs
            if log["topics"][0] in kinds and log["topics"][1:] == rest
        ]


class ChainSigner:
    """`FacilitatorEvmSigner` of the official package, on a `FakeChain`."""

    def __init__(self, chain: FakeChain) -> None:
        self.chain = chain

    def get_addresses(self) -> list[str]:
        return [FACILITATOR]

    def read_contract(self, address: str, abi: Any, function_name: str, *args: Any) -> Any:
        if function_name == "balanceOf":
            return self.chain.balance(args[0])
        if function_name == "allowance":
            return self.chain.allowances[args[0].lower()]
        if function_name == "transferWithAuthorization":
            payer, to, value, after, before, nonce, *vrs = args
            self.chain._check_authorization(payer, to, value, after, before, nonce, vrs)
            return None
        if function_name == "settle":
            return None
        raise RevertError(f"no {function_name} here")

    def write_contract(
        self, address: str, abi: Any, function_name: str, *args: Any, data_suffix: str | None = None
    ) -> str:
        if function_name == "transferWithAuthorization":
            return self.chain.transfer_with_authorization(*args)
        return self.chain.settle_permit(*args)

    def wait_for_transaction_receipt(self, tx_hash: str) -> Any:
        if self.chain.is_receipt_lost:
            raise TimeoutError("no receipt")
        return TransactionReceipt(status=1, block_number=1000, tx_hash=tx_hash, logs=self.chain.receipts[tx_hash])

    def get_code(self, address: str) -> bytes:
        return b"\x60" if address.lower() == TOKEN.lower() else b""


def _is_signed(domain: Any, types: Any, message: Any, vrs: Any, signer: str) -> bool:
    named = {"name": "string", "version": "string", "chainId": "uint256", "verifyingContract": "address"}
    full = {
        "types": {"EIP712Domain": [{"name": name, "type": named[name]} for name in domain], **types},
        "primaryType": next(iter(types)),
        "domain": domain,
        "message": message,
    }
    v, r, s = vrs
    numbers = tuple(int.from_bytes(part, "big") if isinstance(part, bytes) else part for part in (v, r, s))
    try:
        found = Account.recover_message(encode_typed_data(full_message=full), vrs=numbers)
    except Exception:
        return False
    return bool(found.lower() == signer.lower())
