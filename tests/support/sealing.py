"""A sealing test bench: providers with keys, and forgers that build what the honest code refuses to build."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from hushnet.sealing import derivations
from hushnet.sealing.envelope import RequestFields, SealedRequest, seal_request
from hushnet.sealing.header import RoutingHeader, encode_header
from hushnet.sealing.identities import IdentitySigner, provider_id_of
from hushnet.sealing.keyring import Keyring
from hushnet.sealing.meters import Meter, sign_receipt
from hushnet.sealing.opening import FrameOpener, OpenedFrame, OpenedRequest, open_request
from hushnet.sealing.records import FINAL, SIGNED, Head, Kind, Record
from hushnet.sealing.replay import ReplayCache
from hushnet.sealing.statements import KeyPolicy, ListedProvider, Recipient, SerialMemory, verify_keys
from hushnet.sealing.suites import PREFERENCE, Suite, wrap

NOW = 1_800_000_000
NETWORK = "hushnet-test"
FIELDS = RequestFields(
    endpoint="/v1/chat/completions", model="m", stream=True, max_output_tokens=16, max_prompt_tokens=256
)
DATA = b'{"model":"m","messages":[]}'


class Ed25519Signer:
    """An Ed25519 identity."""

    alg = "ed25519"

    def __init__(self) -> None:
        self._key = Ed25519PrivateKey.generate()
        self.public_key = self._key.public_key().public_bytes_raw()

    def sign(self, message: bytes) -> bytes:
        return self._key.sign(message)


class P256Signer:
    """A P-256 identity, as a Secure Enclave or a TPM holds one."""

    alg = "p256"

    def __init__(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self.public_key = self._key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)

    def sign(self, message: bytes) -> bytes:
        r, s = decode_dss_signature(self._key.sign(message, ec.ECDSA(hashes.SHA256())))
        return r.to_bytes(32, "big") + s.to_bytes(32, "big")


class BenchProvider:
    """A provider's sealing side: identity, keys of all suites made at `NOW`, replay cache."""

    def __init__(self, signer: IdentitySigner | None = None, *, capacity: int = 1000) -> None:
        self.signer = signer or Ed25519Signer()
        self.provider_id = provider_id_of(self.signer.alg, self.signer.public_key)
        self.keyring = Keyring(self.signer, network=NETWORK)
        self.statement = self.keyring.rotate(NOW)
        self.cache = ReplayCache(capacity)

    def listing(self) -> dict[str, Any]:
        return ListedProvider(self.provider_id, "self_signed", ("m",), 0, self.statement).to_json_object()

    def recipient(self, suite: Suite = PREFERENCE[0], *, now: int = NOW) -> Recipient:
        return verify_keys(self.listing(), KeyPolicy(NETWORK, suites=(suite,)), now, SerialMemory())

    def open(self, raw: bytes, *, now: int = NOW) -> OpenedRequest:
        return open_request(raw, provider_id=self.provider_id, keyring=self.keyring, cache=self.cache, now=now)


def seal_to(
    *recipients: Recipient,
    fields: RequestFields = FIELDS,
    data: bytes = DATA,
    frame_pad: int = 1,
    now: int = NOW,
    life: int = 180,
) -> SealedRequest:
    """Seal an unpadded request, so that its bytes are few."""
    meta = {"frame_pad": frame_pad}
    return seal_request(fields, meta=meta, data=data, recipients=recipients, now=now, life=life, pad=int)


def copy_of(sealed: SealedRequest) -> SealedRequest:
    """Return another holder of the same secrets: an opener drops those of the one it was given."""
    return SealedRequest(
        raw=sealed.raw,
        header=sealed.header,
        digest=sealed.digest,
        recipients=sealed.recipients,
        frame_pad=sealed.frame_pad,
    )


def open_all(sealed: SealedRequest, records: Sequence[bytes | Record]) -> list[OpenedFrame]:
    """Open a whole answer on a copy of `sealed`; raises what the opener raises."""
    opener = FrameOpener(copy_of(sealed))
    frames = [frame for record in records if (frame := opener.open(record)) is not None]
    opener.finish()
    return frames


def pack_entry(
    suite: int, provider_id: bytes, key_id: bytes, wrapped: bytes, *, reserved: int = 0, size: int | None = None
) -> bytes:
    claimed = len(wrapped) if size is None else size
    return struct.pack(">BBH32s16s", suite, reserved, claimed, provider_id, key_id) + wrapped


def pack_envelope(
    header: bytes,
    entries: Sequence[bytes],
    body: bytes,
    *,
    magic: bytes = b"HSE1",
    reserved: int = 0,
    count: int | None = None,
) -> bytes:
    prefix = struct.pack(">4sHBB", magic, len(header), len(entries) if count is None else count, reserved)
    return b"".join((prefix, header, *entries, struct.pack(">I", len(body)), body))


def pack_plaintext(meta: bytes, data: bytes, tail: bytes = b"", *, meta_size: int | None = None) -> bytes:
    return struct.pack(">II", len(meta) if meta_size is None else meta_size, len(data)) + meta + data + tail


@dataclass
class RequestForger:
    """Builds an envelope step by step; every part can be made wrong while the rest stays consistent."""

    recipients: list[Recipient]
    content_key: bytes = bytes(range(32))
    reply_key: bytes = bytes(range(32, 64))
    plaintext: bytes = field(default_factory=lambda: pack_plaintext(b"{}", DATA))
    header: RoutingHeader = field(init=False)

    def __post_init__(self) -> None:
        self.header = RoutingHeader(
            id=bytes(range(112, 128)),
            iat=NOW,
            exp=NOW + 180,
            commit=derivations.commitment(self.content_key),
            endpoint=FIELDS.endpoint,
            model=FIELDS.model,
            stream=True,
            max_output_tokens=16,
            max_prompt_tokens=256,
            features=(),
            trust="none",
            cache=None,
        )

    def change_header(self, **changes: Any) -> None:
        self.header = replace(self.header, **changes)

    @property
    def header_bytes(self) -> bytes:
        return encode_header(self.header)

    def body(self, content_key: bytes | None = None) -> bytes:
        key = derivations.body_key(content_key or self.content_key, self.header_bytes)
        return AESGCM(key).encrypt(derivations.BODY_NONCE, self.plaintext, self.header_bytes)

    def entry(self, recipient: Recipient, body: bytes, *, secret: bytes | None = None) -> bytes:
        digest = derivations.request_digest(self.header_bytes, body)
        context = derivations.wrap_context(recipient.suite, recipient.provider_id, recipient.key_id, digest)
        secret = self.content_key + self.reply_key if secret is None else secret
        wrapped = wrap(recipient.suite, recipient.public_key, secret, context=context)
        return pack_entry(recipient.suite, recipient.provider_id, recipient.key_id, wrapped)

    def raw(self) -> bytes:
        body = self.body()
        return pack_envelope(self.header_bytes, [self.entry(recipient, body) for recipient in self.recipients], body)


class RecordForger:
    """Writes records of one attempt under its true keys, whatever the kind, flags, number or plaintext."""

    def __init__(
        self, secret: bytes, head: Head, digest: bytes, *, receipt_key: Ed25519PrivateKey | None = None
    ) -> None:
        self.head = head
        self.digest = digest
        self.receipt_key = receipt_key or Ed25519PrivateKey.generate()
        key, iv = derivations.response_keys(
            secret,
            nonce=head.nonce,
            suite=head.suite,
            provider_id=head.provider_id,
            key_id=head.key_id,
            digest=digest,
        )
        self._cipher, self._iv = AESGCM(key), iv

    def record(self, kind: int, flags: int, seq: int, *, clear: bytes = b"", plaintext: bytes) -> bytes:
        aad = struct.pack(">BBHII", kind, flags, len(clear), seq, len(plaintext) + 16) + clear
        low = int.from_bytes(self._iv[8:], "big") ^ seq
        return aad + self._cipher.encrypt(self._iv[:8] + low.to_bytes(4, "big"), plaintext, aad)

    def begin(self) -> bytes:
        return self.record(Kind.HEAD, 0, 0, clear=self.head.pack(), plaintext=frame_plaintext(b"{}"))

    def final(self, kind: Kind, seq: int, meter: Meter, /, **receipt: Any) -> bytes:
        """Write a signed end or error; `receipt` replaces what the signature covers, or the key it is made with."""
        signed: dict[str, Any] = {
            "digest": self.digest,
            "provider_id": self.head.provider_id,
            "key_id": self.head.key_id,
            "nonce": self.head.nonce,
            "kind": kind,
            "seq": seq,
            "meter": meter,
        } | receipt
        key = signed.pop("receipt_key", self.receipt_key)
        clear = meter.pack() + sign_receipt(key, **signed)
        return self.record(kind, FINAL | SIGNED, seq, clear=clear, plaintext=frame_plaintext(b""))


def frame_plaintext(data: bytes, tail: bytes = b"") -> bytes:
    return struct.pack(">I", len(data)) + data + tail
