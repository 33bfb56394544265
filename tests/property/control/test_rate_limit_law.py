"""Laws of the rate limit: whatever the pace, no more than the burst and what has come back since."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from hushnet.coordinator.accounts.rules import RateLimit, parse_key, parse_key_id, write_key_id
from hushnet.foundation.ids import ApiKeyId

KEY = ApiKeyId(1)
PAUSES = st.lists(st.floats(0, 3), min_size=1, max_size=200)


@given(rate=st.floats(0.1, 50), burst=st.integers(1, 20), pauses=PAUSES)
def test_what_passes_never_exceeds_burst_and_rate(rate: float, burst: int, pauses: list[float]) -> None:
    limit = RateLimit(rate=rate, burst=burst, keys_max=16)
    now_s = 0.0
    passed = 0
    for pause in pauses:
        now_s += pause
        passed += limit.take(KEY, now_s) == 0.0
    assert passed <= burst + rate * now_s + 1e-6


@given(rate=st.floats(0.1, 50), burst=st.integers(1, 5), tries=st.integers(1, 30))
def test_who_waits_as_told_passes(rate: float, burst: int, tries: int) -> None:
    limit = RateLimit(rate=rate, burst=burst, keys_max=16)
    now_s = 0.0
    for _ in range(tries):
        if wait_s := limit.take(KEY, now_s):
            now_s += wait_s + 1e-6
            assert limit.take(KEY, now_s) == 0.0


@given(st.text(max_size=120))
def test_any_text_parses_or_is_no_key(text: str) -> None:
    parsed = parse_key(text)
    assert parsed is None or text.startswith(f"hk_{parsed.scope}_")


@given(st.integers(0, 2**62))
def test_every_key_id_reads_back(number: int) -> None:
    text = write_key_id(number)
    assert parse_key_id(text) == (number if len(text) <= 12 else None)
