"""Webhook signatures: both dialects verify, and nothing else does."""

from __future__ import annotations

import hashlib
import hmac

import pytest

from hushnet.coordinator.payments.coins.gateways.coinpay import CoinPay, CoinPayDialect
from hushnet.coordinator.payments.coins.gateways.signatures import (
    TOLERANCE_MS,
    is_body_signature,
    is_timed_signature,
)
from hushnet.foundation.redaction import Secret

BODY, NOW_MS = b'{"id":"evt_1"}', 1_763_690_000_000
T = NOW_MS // 1000
SECRETS = (Secret("new"), Secret("old"))


def timed(t: object = T, *, secret: str = "new", body: bytes = BODY) -> str:
    return hmac.new(secret.encode(), f"{t}.".encode() + body, hashlib.sha256).hexdigest()


def plain(secret: str = "new", body: bytes = BODY) -> str:
    return hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


def is_taken(header: str, *, now_ms: int = NOW_MS, body: bytes = BODY) -> bool:
    return is_timed_signature(header, body, SECRETS, now_ms=now_ms)


def test_both_webhook_dialects_verify() -> None:
    assert is_taken(f"t={T},v1={timed()}")
    assert is_taken(f"t={T}, v1={timed(secret='old').upper()}")
    assert is_taken(f"v1={'0' * 64},t={T},v1={timed()},v0=x")
    assert is_body_signature(f"sha256={plain()}", BODY, SECRETS, is_prefixed=True)
    assert is_body_signature(f"sha256={plain('old')}", BODY, SECRETS, is_prefixed=False)
    assert is_body_signature(plain(), BODY, SECRETS, is_prefixed=False)
    assert not is_body_signature(plain(), BODY, SECRETS, is_prefixed=True)


def test_an_old_or_replayed_signature_is_refused() -> None:
    header = f"t={T},v1={timed()}"
    assert is_taken(header, now_ms=T * 1000 + TOLERANCE_MS)
    assert is_taken(header, now_ms=T * 1000 - TOLERANCE_MS)
    assert not is_taken(header, now_ms=T * 1000 + TOLERANCE_MS + 1)
    assert not is_taken(header, now_ms=T * 1000 - TOLERANCE_MS - 1)
    assert not is_taken(f"t={T + 1},v1={timed()}"), "the time is signed too"


@pytest.mark.parametrize(
    "header",
    [
        "",
        "t=,v1=",
        f"v1={timed()}",
        f"t={T}",
        f"t={T},t={T},v1={timed()}",
        f"t={T},v1={timed()[:-1]}",
        f"t={T},v1={timed()}0",
        f"t={T},v1={timed(secret='forged')}",
        f"t={T},v1={timed(body=BODY + b' ')}",
        f"t=-{T},v1={timed(f'-{T}')}",
        f"t={T}.0,v1={timed(f'{T}.0')}",
        f"t={T},v1=" + "é" * 64,
        f"t={T}," + ",".join(f"v1={n:064x}" for n in range(9)) + f",v1={timed()}",
        f"t={T},v1={timed()}" + "," * 4096,
        f"sha256={plain()}",
    ],
)
def test_a_forged_signature_is_refused(header: str) -> None:
    assert not is_taken(header)


@pytest.mark.parametrize(
    "header", ["", "sha256=", f"sha1={plain()}", f"sha256={plain('x')}", f"sha256={plain()}0", "é"]
)
def test_a_forged_signature_of_the_body_is_refused(header: str) -> None:
    assert not is_body_signature(header, BODY, SECRETS, is_prefixed=False)


def test_no_secret_means_no_signature() -> None:
    assert not is_timed_signature(f"t={T},v1={timed(secret='')}", BODY, (Secret(""),), now_ms=NOW_MS)
    assert not is_body_signature(f"sha256={plain('')}", BODY, (Secret(""),), is_prefixed=True)
    assert not is_body_signature(f"sha256={plain('')}", BODY, (), is_prefixed=True)


def test_the_older_dialect_is_taken_only_where_it_is_asked_for() -> None:
    def gateway(*, is_taken: bool) -> CoinPay:
        dialect = CoinPayDialect(is_body_signature_taken=is_taken)
        return CoinPay("https://x.example", Secret("k"), webhook_secrets=SECRETS, codes={}, dialect=dialect)

    older, timed_header = {"x-cpp-signature": plain()}, {"x-coinpay-signature": f"t={T},v1={timed()}"}
    assert gateway(is_taken=True).is_genuine(older, BODY, now_ms=NOW_MS)
    assert not gateway(is_taken=False).is_genuine(older, BODY, now_ms=NOW_MS)
    assert gateway(is_taken=False).is_genuine(timed_header, BODY, now_ms=NOW_MS)
    stale = timed_header | older
    assert not gateway(is_taken=True).is_genuine(stale, BODY, now_ms=NOW_MS + 10 * TOLERANCE_MS), (
        "no way around the time"
    )


def test_a_delivery_without_an_id_is_named_by_its_bytes() -> None:
    gateway = CoinPay("https://x.example", Secret("k"), webhook_secrets=(), codes={})
    nested = gateway.read(b'{"id":"evt_1","type":"payment.confirmed","data":{"payment_id":"p"}}')
    assert (nested.event, nested.kind, nested.subject) == ("evt_1", "payment.confirmed", "p")
    body = b'{"event":"payment.confirmed","payment_id":"p"}'
    flat = gateway.read(body)
    assert (flat.event, flat.kind, flat.subject) == (
        "sha256:" + hashlib.sha256(body).hexdigest(),
        "payment.confirmed",
        "p",
    )
    for broken in (b"", b"[]", b"1", b'"x"', b"{"):
        with pytest.raises(ValueError):  # noqa: PT011 - any reason will do
            gateway.read(broken)
