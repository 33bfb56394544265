"""What a client is told it must sign, in both versions of the protocol, and what it is told afterwards.

Field names and header forms are those of the x402 specification (`PaymentRequired`, `SettlementResponse`): version 2 in the
header `PAYMENT-REQUIRED`, base64 of JSON, version 1 as the body of the 402. One unit of USDC is one micro-USD.
"""

from __future__ import annotations

from base64 import b64encode
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from hushnet.coordinator.payments.x402.networks import Network
from hushnet.coordinator.payments.x402.payload import V1, Payment, Scheme
from hushnet.coordinator.payments.x402.signature import checksummed

REQUIRED_HEADER: Final = b"payment-required"
SIGNATURE_HEADER: Final = b"payment-signature"
RESPONSE_HEADER: Final = b"payment-response"
V1_SIGNATURE_HEADER: Final = b"x-payment"
V1_RESPONSE_HEADER: Final = b"x-payment-response"
DESCRIPTION: Final = "one request; what it does not use stays the wallet's credit"


@dataclass(frozen=True, slots=True)
class Offer:
    """What is taken here: USDC on `network`, paid to `pay_to` (lower case), signed for at most `window_s` seconds, at the URL `resource`.

    `facilitator` is who settles `upto` payments; empty where they are not taken.
    """

    network: Network
    pay_to: str
    window_s: int
    resource: str
    facilitator: str = ""

    def requirements(self, amount: int, *, scheme: Scheme = Scheme.EXACT, facilitator: str = "") -> dict[str, Any]:
        """Return one entry of version 2's `accepts`."""
        extra: dict[str, Any] = {"name": self.network.name, "version": self.network.version}
        if scheme is Scheme.UPTO:
            extra |= {"assetTransferMethod": "permit2", "facilitatorAddress": checksummed(facilitator)}
        return {
            "scheme": scheme.value,
            "network": self.network.caip2,
            "asset": self.network.usdc,
            "amount": str(amount),
            "payTo": checksummed(self.pay_to),
            "maxTimeoutSeconds": self.window_s,
            "extra": extra,
        }

    def requirements_v1(self, amount: int) -> dict[str, Any]:
        """Return one entry of version 1's `accepts`."""
        return {
            "scheme": Scheme.EXACT.value,
            "network": self.network.word,
            "maxAmountRequired": str(amount),
            "resource": self.resource,
            "description": DESCRIPTION,
            "mimeType": "application/json",
            "payTo": checksummed(self.pay_to),
            "maxTimeoutSeconds": self.window_s,
            "asset": self.network.usdc,
            "extra": {"name": self.network.name, "version": self.network.version},
        }

    def asked_of_facilitator(self, payment: Payment, amount: int) -> dict[str, Any]:
        """Return the body of `verify` and `settle`, made of what was parsed and of these terms alone."""
        if payment.version == V1:
            payload: dict[str, Any] = {"x402Version": 1, "scheme": payment.scheme.value, "network": self.network.word}
            terms = self.requirements_v1(amount)
        else:
            terms = self._requirements_of(payment, amount)
            payload = {"x402Version": 2, "accepted": self._requirements_of(payment, payment.amount)}
        body = {**payload, "payload": payment.inner()}
        return {"x402Version": payment.version, "paymentPayload": body, "paymentRequirements": terms}

    def _requirements_of(self, payment: Payment, amount: int) -> dict[str, Any]:
        return self.requirements(amount, scheme=payment.scheme, facilitator=payment.facilitator)

    def payment_required(self, amount: int, *, error: str, is_upto: bool) -> dict[str, Any]:
        """Return version 2's document; `is_upto` offers to settle what was used, after serving."""
        accepts = [self.requirements(amount)]
        if is_upto and self.facilitator:
            accepts.append(self.requirements(amount, scheme=Scheme.UPTO, facilitator=self.facilitator))
        return {
            "x402Version": 2,
            "error": error,
            "resource": {"url": self.resource, "description": DESCRIPTION, "mimeType": "application/json"},
            "accepts": accepts,
        }

    def payment_required_v1(self, amount: int, *, error: str) -> dict[str, Any]:
        """Return version 1's document."""
        return {"x402Version": 1, "error": error, "accepts": [self.requirements_v1(amount)]}


@dataclass(frozen=True, slots=True)
class Receipt:
    """What became of a payment that bought a request; `txid` is empty where the wallet's credit covered it."""

    version: int
    network: Network
    payer: str
    txid: str
    amount: int

    def headers(self) -> list[tuple[bytes, bytes]]:
        """Return the header that tells the client, in the version that it spoke."""
        network = self.network.word if self.version == V1 else self.network.caip2
        document: dict[str, Any] = {
            "success": True,
            "transaction": self.txid,
            "network": network,
            "payer": checksummed(self.payer),
        }
        if self.version != V1:
            document["amount"] = str(self.amount)
        name = V1_RESPONSE_HEADER if self.version == V1 else RESPONSE_HEADER
        return [(name, encoded(document)), (b"access-control-expose-headers", name)]


def encoded(document: dict[str, Any]) -> bytes:
    """Write a document as the value of a header."""
    return b64encode(msgspec.json.encode(document))
