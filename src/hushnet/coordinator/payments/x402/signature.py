"""EIP-712 digests of the two authorisations, and who signed them: secp256k1 recovery, as the contracts do it.

Only signatures of 65 bytes by a plain key are accepted: the signature of a contract wallet can be checked by nobody but the
chain, and a wallet's credit must not hang on a facilitator's word. Sources: EIP-712, EIP-3009, Permit2's
`PermitWitnessTransferFrom` with x402's witness; `s` in the lower half and `v` 27 or 28 as USDC's contract asks.
"""

from __future__ import annotations

from typing import Final

from bip_utils import Secp256k1, Secp256k1Point
from bip_utils.utils.crypto import Kekkak256

SIGNATURE_BYTES: Final = 65
_ORDER: Final = int(Secp256k1.Order())
_DOMAIN: Final = "EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"
_DOMAIN_UNVERSIONED: Final = "EIP712Domain(string name,uint256 chainId,address verifyingContract)"
_TRANSFER: Final = "TransferWithAuthorization(address from,address to,uint256 value,uint256 validAfter,uint256 validBefore,bytes32 nonce)"
_TOKENS: Final = "TokenPermissions(address token,uint256 amount)"
_WITNESS: Final = "Witness(address to,address facilitator,uint256 validAfter)"
_PERMIT: Final = (
    "PermitWitnessTransferFrom(TokenPermissions permitted,address spender,uint256 nonce,uint256 deadline,Witness witness)"
    + _TOKENS
    + _WITNESS
)


def keccak(data: bytes) -> bytes:
    """Keccak-256, as Ethereum has it (not SHA3-256)."""
    return bytes(Kekkak256.QuickDigest(data))


def checksummed(address: str) -> str:
    """Spell an address of 0x and 40 hex digits with the checksum of EIP-55."""
    digits = address[2:].lower()
    marks = keccak(digits.encode("ascii")).hex()
    return "0x" + "".join(c.upper() if int(mark, 16) >= 8 else c for c, mark in zip(digits, marks, strict=False))


def is_checksum_right(address: str) -> bool:
    """Say whether an address's letters are of one case, or carry the checksum of EIP-55."""
    return address[2:] in (address[2:].lower(), address[2:].upper()) or address == checksummed(address)


def transfer_digest(
    *,
    name: str,
    version: str,
    chain_id: int,
    token: str,
    payer: str,
    pay_to: str,
    amount: int,
    valid_after_s: int,
    valid_before_s: int,
    nonce: str,
) -> bytes:
    """Return what a payer signs for EIP-3009's `transferWithAuthorization`; addresses and nonce are hex with 0x."""
    domain = _hashed(_DOMAIN, keccak(name.encode()), keccak(version.encode()), _word(chain_id), _address(token))
    message = _hashed(
        _TRANSFER,
        _address(payer),
        _address(pay_to),
        _word(amount),
        _word(valid_after_s),
        _word(valid_before_s),
        bytes.fromhex(nonce[2:]),
    )
    return keccak(b"\x19\x01" + domain + message)


def permit_digest(
    *,
    permit2: str,
    chain_id: int,
    token: str,
    amount: int,
    spender: str,
    nonce: str,
    deadline_s: int,
    pay_to: str,
    facilitator: str,
    valid_after_s: int,
) -> bytes:
    """Return what a payer signs for Permit2's `permitWitnessTransferFrom` with x402's `upto` witness."""
    domain = _hashed(_DOMAIN_UNVERSIONED, keccak(b"Permit2"), _word(chain_id), _address(permit2))
    permitted = _hashed(_TOKENS, _address(token), _word(amount))
    witness = _hashed(_WITNESS, _address(pay_to), _address(facilitator), _word(valid_after_s))
    message = _hashed(_PERMIT, permitted, _address(spender), bytes.fromhex(nonce[2:]), _word(deadline_s), witness)
    return keccak(b"\x19\x01" + domain + message)


def signer_of(digest: bytes, signature: bytes) -> str | None:
    """Return the lower-case address whose key made `signature` (r, s, v) over `digest`; None when there is none."""
    if len(signature) != SIGNATURE_BYTES or signature[64] not in (27, 28):
        return None
    r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:64], "big")
    if not (0 < r < _ORDER and 0 < s <= _ORDER // 2):
        return None
    inverse, z = pow(r, -1, _ORDER), int.from_bytes(digest, "big") % _ORDER
    try:
        nonce_point = Secp256k1Point.FromBytes(bytes([2 + signature[64] - 27]) + signature[:32])
        key = nonce_point * (s * inverse % _ORDER)
        if shift := -z * inverse % _ORDER:
            key = key + Secp256k1.Generator() * shift
    except ValueError:
        return None  # r is no x coordinate of the curve, or the sum is the point at infinity
    return "0x" + keccak(bytes(key.RawDecoded().ToBytes()))[-20:].hex()


def _hashed(type_: str, *members: bytes) -> bytes:
    return keccak(keccak(type_.encode("ascii")) + b"".join(members))


def _word(value: int) -> bytes:
    return value.to_bytes(32, "big")


def _address(text: str) -> bytes:
    return bytes(12) + bytes.fromhex(text[2:])
