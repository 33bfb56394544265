"""The provider's side of an answer: the sealer that writes the records of one attempt (section 8)."""

from __future__ import annotations

import struct
from typing import Final, NoReturn

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from hushnet.sealing.derivations import response_keys
from hushnet.sealing.errors import SealingError
from hushnet.sealing.forks import PROCESS
from hushnet.sealing.header import RoutingHeader
from hushnet.sealing.limits import DATA_MAX, SEQ_MAX, TAG_SIZE
from hushnet.sealing.meters import Meter, sign_receipt
from hushnet.sealing.records.layout import (
    FINAL,
    SIGNED,
    Head,
    Kind,
    record_header,
)

_LENGTH: Final = struct.Struct(">I")
_NONCE: Final = struct.Struct(">8sI")
_HEAD_KIND: Final = Kind.HEAD


class FrameCipher:
    """The AEAD of one attempt: its key, and an iv into which each record's number is mixed."""

    __slots__ = ("_aead", "_fixed", "_low")

    def __init__(self, secret: bytes, head: Head, digest: bytes) -> None:
        """Derive key and iv from `secret` (C then R), what the head names, and D."""
        frame_key, frame_iv = response_keys(
            secret,
            nonce=head.nonce,
            suite=head.suite,
            provider_id=head.provider_id,
            key_id=head.key_id,
            digest=digest,
        )
        self._aead = AESGCM(frame_key)
        self._fixed, self._low = _NONCE.unpack(frame_iv)

    def encrypt(self, seq: int, plaintext: bytes, authenticated: bytes) -> bytes:
        """Return ciphertext and tag of record `seq`, which is sealed once."""
        return self._aead.encrypt(_NONCE.pack(self._fixed, self._low ^ seq), plaintext, authenticated)

    def decrypt(self, seq: int, ciphertext: bytes, authenticated: bytes) -> bytes:
        """Return the plaintext of record `seq`; raises `InvalidTag`."""
        return self._aead.decrypt(_NONCE.pack(self._fixed, self._low ^ seq), ciphertext, authenticated)


class FrameSealer:
    """Writes the records of one attempt, head first, nothing after an error or end.

    It owns its counter: it cannot be copied, serialised or used in a forked process. Misuse raises `frame_out_of_state`
    or `frame_after_final`; a meter that no opener would accept raises `meter_invalid`.
    """

    __slots__ = (
        "_cipher",
        "_digest",
        "_frame_pad",
        "_generation",
        "_head",
        "_header",
        "_meter",
        "_receipt_key",
        "_seq",
    )

    def __init__(
        self,
        *,
        secret: bytes,
        head: Head,
        digest: bytes,
        header: RoutingHeader,
        frame_pad: int,
        receipt_key: Ed25519PrivateKey | None,
    ) -> None:
        """Derive the attempt's keys from `secret` (C then R) and `head`, whose nonce nobody has used before."""
        self._cipher: FrameCipher | None = FrameCipher(secret, head, digest)
        self._head = head
        self._digest = digest
        self._header = header
        self._frame_pad = frame_pad
        self._receipt_key = receipt_key
        self._seq = 0
        self._meter: Meter | None = None
        self._generation = PROCESS.generation

    @property
    def is_open(self) -> bool:
        """Whether records may still be written."""
        return self._cipher is not None

    def head(self, data: bytes) -> bytes:
        """Write the head; `data` is JSON with `status`, `content_type` and `build`."""
        return self._seal(Kind.HEAD, 0, self._head.pack(), data)

    def boilerplate(self, data: bytes) -> bytes:
        """Write response bytes that hold no content yet, at most 65532."""
        return self._seal(Kind.BOILERPLATE, 0, b"", data)

    def content(self, data: bytes) -> bytes:
        """Write response bytes, at most 65532."""
        return self._seal(Kind.CONTENT, 0, b"", data)

    def contents(self, data: bytes) -> list[bytes]:
        """Write response bytes of any length, cut into as few content records as hold them."""
        return [self.content(data[start : start + DATA_MAX]) for start in range(0, len(data), DATA_MAX)]

    def usage(self, meter: Meter) -> bytes:
        """Write the counts so far, unsigned."""
        self._check(meter, is_error=False)
        return self._seal(Kind.USAGE, 0, meter.pack(), b"")

    def error(self, meter: Meter, data: bytes = b"") -> bytes:
        """End the attempt with a failure: `meter.code` is its wire code, `data` the dialect's error body."""
        self._check(meter, is_error=True)
        return self._seal_final(Kind.ERROR, meter, data)

    def end(self, meter: Meter) -> bytes:
        """End the attempt: all of the answer has been written."""
        self._check(meter, is_error=False)
        return self._seal_final(Kind.END, meter, b"")

    def drop(self) -> None:
        """Forget the keys; nothing can be written any more."""
        self._cipher = None
        self._receipt_key = None

    def _check(self, meter: Meter, *, is_error: bool) -> None:
        meter.check(self._header, self._meter, is_error=is_error)
        self._meter = meter

    def _seal_final(self, kind: Kind, meter: Meter, data: bytes) -> bytes:
        clear, flags = meter.pack(), FINAL
        if self._receipt_key is not None:
            clear += sign_receipt(
                self._receipt_key,
                digest=self._digest,
                provider_id=self._head.provider_id,
                key_id=self._head.key_id,
                nonce=self._head.nonce,
                kind=kind,
                seq=self._seq,
                meter=meter,
            )
            flags |= SIGNED
        record = self._seal(kind, flags, clear, data)
        self.drop()
        return record

    def _seal(self, kind: Kind, flags: int, clear: bytes, data: bytes) -> bytes:
        cipher, seq = self._cipher, self._seq
        if cipher is None:
            raise SealingError("frame_after_final")
        if (kind is _HEAD_KIND) is not (seq == 0) or seq > SEQ_MAX or self._generation != PROCESS.generation:
            raise SealingError("frame_out_of_state")
        data_size = len(data)
        if data_size > DATA_MAX:
            raise SealingError("frame_bad_length")
        self._seq = seq + 1
        plaintext = _LENGTH.pack(data_size) + data
        if padding := -(4 + data_size) % self._frame_pad:
            plaintext += bytes(padding)
        cipher_size = 4 + data_size + padding + TAG_SIZE
        authenticated = record_header(kind, flags, len(clear), seq, cipher_size) + clear
        return authenticated + cipher.encrypt(seq, plaintext, authenticated)

    def __reduce__(self) -> NoReturn:
        raise TypeError("a frame sealer is not copied: two would use one key with the same numbers")

    def __repr__(self) -> str:
        return f"FrameSealer(seq={self._seq}, {'open' if self.is_open else 'closed'})"
