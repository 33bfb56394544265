"""What a client sends to pay: base64 of JSON in one header, bounded, read strictly, and written anew for the facilitator.

Version 2 comes in `PAYMENT-SIGNATURE`, version 1 in `X-PAYMENT`. Numbers are decimal strings; a JSON number, a fraction, a sign
or a leading zero is refused. What goes on is made from the parsed members alone, so no two readers see different payments.
"""

from __future__ import annotations

import re
from base64 import b64decode
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, TypeVar

import msgspec

from hushnet.coordinator.payments.x402.networks import NETWORKS, PERMIT2, UPTO_PROXY, Network
from hushnet.coordinator.payments.x402.signature import checksummed, permit_digest, signer_of, transfer_digest
from hushnet.foundation.errors import RequestError
from hushnet.foundation.money import TRANSFER_MICRO_USD_MAX

T = TypeVar("T")

HEADER_BYTES_MAX: Final = 8192
"""The official client's are below 2 KiB."""
TIME_S_MAX: Final = 1 << 40
V1: Final = 1
V2: Final = 2
_ADDRESS: Final = re.compile(r"0x[0-9a-fA-F]{40}", re.ASCII)
_NONCE: Final = re.compile(r"0x[0-9a-fA-F]{64}", re.ASCII)
_SIGNATURE: Final = re.compile(r"0x[0-9a-fA-F]{130}", re.ASCII)
_DECIMAL: Final = re.compile(r"0|[1-9][0-9]{0,77}", re.ASCII)
_BY_WORD: Final = {network.word: network for network in NETWORKS.values()}


class Scheme(StrEnum):
    """How the amount is fixed: before serving, or after it up to a bound."""

    EXACT = "exact"
    UPTO = "upto"


class PaymentError(RequestError):
    """The header is no payment that could be read; nothing was asked of anybody and no money moved."""

    code = "bad_payment"


@dataclass(frozen=True, slots=True)
class Payment:
    """One signed authorisation. Addresses and nonce are lower-case hex, `amount` is in micro-USD, times in seconds."""

    version: int
    scheme: Scheme
    network: Network
    payer: str
    pay_to: str
    amount: int
    nonce: str
    valid_after_s: int
    valid_before_s: int
    signature: str
    facilitator: str = ""
    """Who alone may settle an `upto` payment."""

    @property
    def asset(self) -> str:
        return self.network.usdc.lower()

    @property
    def key(self) -> str:
        """What its facts are called after: payer and nonce, on their network and asset."""
        return f"x402:{self.network.caip2}:{self.asset}:{self.payer}:{self.nonce}"

    def is_signed_by_payer(self) -> bool:
        """Whether the payer's own key signed exactly this."""
        digest = self._transfer_digest() if self.scheme is Scheme.EXACT else self._permit_digest()
        return signer_of(digest, bytes.fromhex(self.signature[2:])) == self.payer

    def inner(self) -> dict[str, Any]:
        """Return the scheme's own part, as it goes to a facilitator."""
        return {
            "signature": self.signature,
            **(self._authorization() if self.scheme is Scheme.EXACT else self._permit()),
        }

    def _authorization(self) -> dict[str, Any]:
        return {
            "authorization": {
                "from": checksummed(self.payer),
                "to": checksummed(self.pay_to),
                "value": str(self.amount),
                "validAfter": str(self.valid_after_s),
                "validBefore": str(self.valid_before_s),
                "nonce": self.nonce,
            }
        }

    def _permit(self) -> dict[str, Any]:
        return {
            "permit2Authorization": {
                "from": checksummed(self.payer),
                "permitted": {"token": self.network.usdc, "amount": str(self.amount)},
                "spender": UPTO_PROXY,
                "nonce": str(int(self.nonce, 16)),
                "deadline": str(self.valid_before_s),
                "witness": {
                    "to": checksummed(self.pay_to),
                    "facilitator": checksummed(self.facilitator),
                    "validAfter": str(self.valid_after_s),
                },
            }
        }

    def _transfer_digest(self) -> bytes:
        return transfer_digest(
            name=self.network.name,
            version=self.network.version,
            chain_id=self.network.chain_id,
            token=self.asset,
            payer=self.payer,
            pay_to=self.pay_to,
            amount=self.amount,
            valid_after_s=self.valid_after_s,
            valid_before_s=self.valid_before_s,
            nonce=self.nonce,
        )

    def _permit_digest(self) -> bytes:
        return permit_digest(
            permit2=PERMIT2,
            chain_id=self.network.chain_id,
            token=self.asset,
            amount=self.amount,
            spender=UPTO_PROXY,
            nonce=self.nonce,
            deadline_s=self.valid_before_s,
            pay_to=self.pay_to,
            facilitator=self.facilitator,
            valid_after_s=self.valid_after_s,
        )


class _Authorization(msgspec.Struct, forbid_unknown_fields=True, rename="camel"):
    to: str
    value: str
    valid_after: str
    valid_before: str
    nonce: str
    payer: str = msgspec.field(name="from")


class _Exact(msgspec.Struct, forbid_unknown_fields=True):
    authorization: _Authorization
    signature: str


class _Permitted(msgspec.Struct, forbid_unknown_fields=True):
    token: str
    amount: str


class _Witness(msgspec.Struct, forbid_unknown_fields=True, rename="camel"):
    to: str
    facilitator: str
    valid_after: str


class _Permit(msgspec.Struct, forbid_unknown_fields=True):
    permitted: _Permitted
    spender: str
    nonce: str
    deadline: str
    witness: _Witness
    payer: str = msgspec.field(name="from")


class _Upto(msgspec.Struct, forbid_unknown_fields=True, rename="camel"):
    permit2_authorization: _Permit = msgspec.field(name="permit2Authorization")
    signature: str


class _Accepted(msgspec.Struct, rename="camel"):
    scheme: Scheme
    network: str
    asset: str
    amount: str
    pay_to: str


class _Version(msgspec.Struct, rename="camel"):
    x402_version: int = msgspec.field(name="x402Version")


class _Two(msgspec.Struct):
    accepted: _Accepted
    payload: msgspec.Raw


class _One(msgspec.Struct):
    scheme: Scheme
    network: str
    payload: msgspec.Raw


def read_payment(header: bytes, *, version: int) -> Payment:
    """Read the value of the header of that version; raises `PaymentError`, whose text shows nothing that was sent.

    A version 2 payment whose `accepted` disagrees with what was signed is no payment.
    """
    if len(header) > HEADER_BYTES_MAX:
        raise PaymentError(f"the payment is longer than {HEADER_BYTES_MAX} bytes")
    try:
        data = b64decode(header, validate=True)
    except ValueError:
        raise PaymentError("the payment is not base64") from None
    if _decoded(data, _Version).x402_version != version:
        raise PaymentError("the payment is not of the version that its header is for")
    if version == V1:
        one = _decoded(data, _One)
        if one.scheme is not Scheme.EXACT or one.network not in _BY_WORD:
            raise PaymentError("version 1 knows the scheme exact, on a network of the terms")
        return _exact(V1, _BY_WORD[one.network], _decoded(bytes(one.payload), _Exact))
    two = _decoded(data, _Two)
    network = NETWORKS.get(two.accepted.network)
    if network is None:
        raise PaymentError("the payment is for a network that is not known here")
    payment = (
        _exact(V2, network, _decoded(bytes(two.payload), _Exact))
        if two.accepted.scheme is Scheme.EXACT
        else _upto(network, _decoded(bytes(two.payload), _Upto))
    )
    accepted = (_address(two.accepted.asset), _number(two.accepted.amount), _address(two.accepted.pay_to))
    if accepted != (payment.asset, payment.amount, payment.pay_to):
        raise PaymentError("the accepted terms are not what was signed")
    return payment


def payment_of(version: int, network: str, scheme: Scheme, inner: bytes) -> Payment:
    """Read back the scheme's own part as it was stored."""
    found = NETWORKS[network]
    return (
        _exact(version, found, _decoded(inner, _Exact))
        if scheme is Scheme.EXACT
        else _upto(found, _decoded(inner, _Upto))
    )


def _exact(version: int, network: Network, inner: _Exact) -> Payment:
    signed = inner.authorization
    return Payment(
        version=version,
        scheme=Scheme.EXACT,
        network=network,
        payer=_address(signed.payer),
        pay_to=_address(signed.to),
        amount=_amount(signed.value),
        nonce=_matched(_NONCE, signed.nonce).lower(),
        valid_after_s=_time(signed.valid_after),
        valid_before_s=_time(signed.valid_before),
        signature=_matched(_SIGNATURE, inner.signature).lower(),
    )


def _upto(network: Network, inner: _Upto) -> Payment:
    signed = inner.permit2_authorization
    if _address(signed.permitted.token) != network.usdc.lower() or _address(signed.spender) != UPTO_PROXY.lower():
        raise PaymentError("the payment permits another token or spender than the terms")
    nonce = _number(signed.nonce)
    if nonce >= 1 << 256:
        raise PaymentError("a number of the payment is out of range")
    return Payment(
        version=V2,
        scheme=Scheme.UPTO,
        network=network,
        payer=_address(signed.payer),
        pay_to=_address(signed.witness.to),
        amount=_amount(signed.permitted.amount),
        nonce=f"0x{nonce:064x}",
        valid_after_s=_time(signed.witness.valid_after),
        valid_before_s=_time(signed.deadline),
        signature=_matched(_SIGNATURE, inner.signature).lower(),
        facilitator=_address(signed.witness.facilitator),
    )


def _decoded(data: bytes, type_: type[T]) -> T:
    try:
        return msgspec.json.decode(data, type=type_)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise PaymentError("the payment has not the shape that the terms ask for") from None


def _matched(pattern: re.Pattern[str], text: str) -> str:
    if pattern.fullmatch(text) is None:
        raise PaymentError("an address, nonce, number or signature of the payment is malformed")
    return text


def _address(text: str) -> str:
    return _matched(_ADDRESS, text).lower()


def _number(text: str) -> int:
    return int(_matched(_DECIMAL, text))


def _amount(text: str) -> int:
    amount = _number(text)
    if not 0 < amount <= TRANSFER_MICRO_USD_MAX:
        raise PaymentError("the amount is out of range")
    return amount


def _time(text: str) -> int:
    seconds = _number(text)
    if seconds > TIME_S_MAX:
        raise PaymentError("a time of the payment is out of range")
    return seconds
