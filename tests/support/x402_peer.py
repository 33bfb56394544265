"""The official package x402, as far as it runs without web3: its client, its wire types, and its facilitator's own code.

Its EVM mechanisms import web3 for signers that talk to a node. Nothing here talks to one, so empty modules stand in its place
while they are imported; wallets sign with eth-account. That raises the interpreter's recursion limit a hundredfold, with which deep
JSON overflows the C stack instead of raising; so both are imported here and nowhere else, and the limit is put back.
"""

from __future__ import annotations

import sys
import types
from typing import Any

_LIMIT = sys.getrecursionlimit()
_STANDS_IN = {"web3": "Web3", "web3.middleware": "ExtraDataToPOAMiddleware"}
for _name, _member in _STANDS_IN.items():
    _module = types.ModuleType(_name)
    setattr(_module, _member, object)
    sys.modules.setdefault(_name, _module)

from eth_account import Account  # noqa: E402
from eth_account.messages import encode_typed_data  # noqa: E402
from eth_utils import keccak, to_checksum_address  # noqa: E402
from x402 import x402Client  # noqa: E402
from x402.http.clients.httpx import x402AsyncTransport, x402HttpxClient  # noqa: E402
from x402.http.utils import (  # noqa: E402
    decode_payment_required_header,
    decode_payment_response_header,
    encode_payment_signature_header,
)
from x402.mechanisms.evm.constants import (  # noqa: E402
    PERMIT2_ADDRESS,
    UPTO_PERMIT2_WITNESS_TYPES,
    X402_UPTO_PERMIT2_PROXY_ADDRESS,
)
from x402.mechanisms.evm.exact.client import ExactEvmScheme  # noqa: E402
from x402.mechanisms.evm.exact.facilitator import ExactEvmScheme as ExactFacilitator  # noqa: E402
from x402.mechanisms.evm.exact.v1.client import ExactEvmSchemeV1  # noqa: E402
from x402.mechanisms.evm.exact.v1.facilitator import ExactEvmSchemeV1 as ExactFacilitatorV1  # noqa: E402
from x402.mechanisms.evm.types import AUTHORIZATION_TYPES, TransactionReceipt  # noqa: E402
from x402.mechanisms.evm.upto.client import UptoEvmScheme  # noqa: E402
from x402.mechanisms.evm.upto.facilitator import UptoEvmScheme as UptoFacilitator  # noqa: E402
from x402.schemas import PaymentPayload, PaymentRequired, PaymentRequirements  # noqa: E402
from x402.schemas.v1 import PaymentPayloadV1, PaymentRequiredV1, PaymentRequirementsV1  # noqa: E402

for _name in _STANDS_IN:
    del sys.modules[_name]
sys.setrecursionlimit(_LIMIT)

__all__ = [
    "AUTHORIZATION_TYPES",
    "PERMIT2_ADDRESS",
    "UPTO_PERMIT2_WITNESS_TYPES",
    "X402_UPTO_PERMIT2_PROXY_ADDRESS",
    "Account",
    "ExactFacilitator",
    "ExactFacilitatorV1",
    "PaymentPayload",
    "PaymentPayloadV1",
    "PaymentRequired",
    "PaymentRequiredV1",
    "PaymentRequirements",
    "PaymentRequirementsV1",
    "TransactionReceipt",
    "UptoFacilitator",
    "client_of",
    "decode_payment_required_header",
    "decode_payment_response_header",
    "encode_payment_signature_header",
    "encode_typed_data",
    "keccak",
    "to_checksum_address",
    "x402AsyncTransport",
    "x402HttpxClient",
]


def client_of(account: Any, *, scheme: str = "exact", network: str = "eip155:84532") -> x402Client:
    """Return the official client of a wallet, for one scheme of version 2 and `exact` of version 1."""
    client = x402Client()
    client.register(network, ExactEvmScheme(account) if scheme == "exact" else UptoEvmScheme(account))
    client.register_v1("base-sepolia", ExactEvmSchemeV1(account))
    return client
