"""What sealing costs beside the bare library operations it is made of; minimum and median of interleaved rounds.

`HUSH_BENCH_ROUNDS` (25). Values are minima in microseconds: on a shared machine they move least.
"""

from __future__ import annotations

import binascii
import gc
import os
import time
from collections.abc import Callable, Iterator
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from nacl import bindings as sodium

from bench.record import Figure, write
from hushnet.sealing.envelope import parse_envelope, seal_request
from hushnet.sealing.header import decode_header
from hushnet.sealing.meters import Meter, sign_receipt, verify_receipt
from hushnet.sealing.opening import FrameOpener
from hushnet.sealing.opening.unwrapping import unwrap
from hushnet.sealing.records import Kind, parse_head, parse_record
from hushnet.sealing.statements import KeyPolicy, SerialMemory, verify_keys
from hushnet.sealing.streaming import encode_sse
from hushnet.sealing.suites import HPKE_SUITES, Suite, generate_key_pair, wrap
from support.sealing import FIELDS, NETWORK, NOW, BenchProvider, seal_to

ROUNDS = int(os.environ.get("HUSH_BENCH_ROUNDS", "25"))
Work = Callable[[], object]


class Case:
    """One thing to measure: `work` is called `repeat` times a round; `peer` names the case it is compared with."""

    def __init__(self, name: str, repeat: int, work: Work, peer: str | None = None) -> None:
        self.name, self.repeat, self.work, self.peer = name, repeat, work, peer


def main() -> None:
    """Measure and write the result."""
    cases = [*bare(), *requests(), *answers(), *relay(), *statements()]
    rounds: list[dict[str, Any]] = []
    gc.disable()
    for number in range(ROUNDS + 1):
        taken = {case.name: round_us(case) for case in cases}
        if number:
            rounds.append(taken)
    gc.enable()
    least = {case.name: min(taken[case.name] for taken in rounds) for case in cases}
    figures = {
        f"sealing_us_{case.name}": Figure(
            round(least[case.name], 2),
            "us",
            case.peer,
            round(least[case.name] / least[case.peer], 3) if case.peer else None,
        )
        for case in cases
    }
    for key, figure in figures.items():
        print(f"{key}: {figure.value} us")
    write("sealing", figures, rounds)


def round_us(case: Case) -> float:
    work = case.work
    started = time.perf_counter()
    for _ in range(case.repeat):
        work()
    return (time.perf_counter() - started) / case.repeat * 1e6


def bare() -> Iterator[Case]:
    """The library operations that others are compared with."""
    aead, nonce, aad = AESGCM(bytes(32)), bytes(12), bytes(12)
    small, large = bytes(256), bytes(4096)
    sealed_small, sealed_large = aead.encrypt(nonce, small, aad), aead.encrypt(nonce, large, aad)
    yield Case("aes_gcm_seal_256", 500, lambda: aead.encrypt(nonce, small, aad))
    yield Case("aes_gcm_open_256", 500, lambda: aead.decrypt(nonce, sealed_small, aad))
    yield Case("aes_gcm_seal_4096", 300, lambda: aead.encrypt(nonce, large, aad))
    yield Case("aes_gcm_open_4096", 300, lambda: aead.decrypt(nonce, sealed_large, aad))
    key = Ed25519PrivateKey.generate()
    public, signature = key.public_key(), key.sign(small)
    yield Case("ed25519_sign", 50, lambda: key.sign(small))
    yield Case("ed25519_verify", 30, lambda: public.verify(signature, small))
    yield Case("base64_288", 500, lambda: binascii.b2a_base64(sealed_small, newline=False))
    for suite in Suite:
        pair = generate_key_pair(suite)
        if isinstance(pair.private, bytes):
            yield Case("box_seal", 30, lambda pair=pair: bare_box(pair.public_key))
        else:
            hpke, public_key = HPKE_SUITES[suite], pair.private.public_key()
            yield Case(
                f"hpke_seal_{suite.label}",
                30,
                lambda hpke=hpke, public_key=public_key: hpke.encrypt(bytes(64), public_key, b""),
            )


def bare_box(public_key: bytes) -> bytes:
    _, ephemeral = sodium.crypto_box_keypair()
    return sodium.crypto_box(bytes(96), bytes(24), public_key, ephemeral)


def requests() -> Iterator[Case]:
    """Wrap, seal and open, per suite."""
    homes = [BenchProvider(capacity=10**7) for _ in range(8)]
    home = homes[0]
    for suite in Suite:
        recipients = [each.recipient(suite) for each in homes]
        first = recipients[0]
        name = suite.label
        live = home.keyring.find(suite, first.key_id, now=NOW)
        assert live is not None
        wrapped = wrap(suite, first.public_key, bytes(64), context=b"context")
        peer = "box_seal" if suite is Suite.NACL_BOX else f"hpke_seal_{name}"

        def seal(size: int, count: int, recipients: Any = recipients) -> Work:
            data = bytes(size)
            return lambda: seal_request(FIELDS, meta={}, data=data, recipients=recipients[:count], now=NOW)

        def reopen(size: int, recipient: Any = first) -> Work:
            sealed = seal_request(FIELDS, meta={}, data=bytes(size), recipients=[recipient], now=NOW)

            def work() -> None:
                home.cache.release(sealed.header.id)
                home.open(sealed.raw)

            return work

        yield Case(
            f"wrap_{name}",
            30,
            lambda suite=suite, key=first.public_key: wrap(suite, key, bytes(64), context=b"context"),
            peer,
        )
        yield Case(
            f"unwrap_{name}",
            30,
            lambda pair=live.pair, wrapped=wrapped: unwrap(pair, wrapped, context=b"context"),
            peer,
        )
        yield Case(f"seal_4kib_to_1_{name}", 20, seal(4096, 1), peer)
        yield Case(f"seal_4kib_to_8_{name}", 5, seal(4096, 8), peer)
        yield Case(f"open_4kib_{name}", 20, reopen(4096), peer)
        yield Case(f"seal_100kib_to_1_{name}", 8, seal(102_400, 1), peer)
        yield Case(f"open_100kib_{name}", 8, reopen(102_400), peer)
        yield Case(f"key_pair_{name}", 20, lambda suite=suite: generate_key_pair(suite), peer)


def answers() -> Iterator[Case]:
    """Records of 288 and 4128 bytes: sealed, parsed, opened with every check."""
    home = BenchProvider()
    sealed = seal_to(home.recipient())
    sealer = home.open(sealed.raw).frame_sealer()
    opener = FrameOpener(sealed)
    opener.open(sealer.head(b"{}"))
    written: list[bytes] = []
    unread = iter(written)
    for label, repeat, data in (("256", 400, bytes(252)), ("4096", 200, bytes(4092))):
        yield Case(
            f"record_seal_{label}",
            repeat,
            lambda data=data: written.append(sealer.content(data)),
            f"aes_gcm_seal_{label}",
        )
        yield Case(f"record_open_{label}", repeat, lambda: opener.open(next(unread)), f"aes_gcm_open_{label}")


def relay() -> Iterator[Case]:
    """What the relay does with clear parts."""
    home = BenchProvider()
    sealed = seal_to(home.recipient(), data=bytes(4096))
    envelope = parse_envelope(sealed.raw)
    sealer = home.open(sealed.raw).frame_sealer()
    head = parse_head(parse_record(sealer.head(b"{}")))
    record, meter = sealer.content(bytes(252)), Meter(1, 0, 1, 0)
    end = parse_record(sealer.end(meter))
    live = home.keyring.find(head.suite, head.key_id, now=NOW)
    assert live is not None
    terms = {
        "digest": sealed.digest,
        "provider_id": head.provider_id,
        "key_id": head.key_id,
        "nonce": head.nonce,
    }
    public = live.receipt_key.public_key().public_bytes_raw()
    yield Case("envelope_parse", 200, lambda: parse_envelope(sealed.raw))
    yield Case("envelope_select", 500, lambda: envelope.select(0))
    yield Case("header_decode", 300, lambda: decode_header(envelope.header_bytes))
    yield Case("record_parse", 500, lambda: parse_record(record))
    yield Case("sse_288", 500, lambda: encode_sse((record,)), "base64_288")
    yield Case(
        "receipt_sign",
        30,
        lambda: sign_receipt(live.receipt_key, kind=Kind.END, seq=2, meter=meter, **terms),
        "ed25519_sign",
    )
    yield Case("receipt_verify", 20, lambda: verify_receipt(public, end, **terms), "ed25519_verify")


def statements() -> Iterator[Case]:
    """Verify a listing entry with three suites."""
    listing, policy, serials = BenchProvider().listing(), KeyPolicy(NETWORK), SerialMemory()
    yield Case("verify_keys", 15, lambda: verify_keys(listing, policy, NOW, serials))
