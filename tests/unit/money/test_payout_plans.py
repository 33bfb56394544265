"""The dates of a payout plan."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from hushnet.coordinator.payments.payouts.model import Period
from hushnet.coordinator.payments.payouts.plans import next_date_ms


def ms(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000)


@pytest.mark.parametrize(
    ("now", "monday", "first"),
    [
        ("2026-11-21T20:00:00.123", "2026-11-23", "2026-12-01"),
        ("2026-11-23T00:00:00", "2026-11-30", "2026-12-01"),
        ("2026-11-29T23:59:59.999", "2026-11-30", "2026-12-01"),
        ("2026-12-31T12:00:00", "2027-01-04", "2027-01-01"),
        ("2028-02-29T00:00:00", "2028-03-06", "2028-03-01"),
        ("2027-01-01T00:00:00", "2027-01-04", "2027-02-01"),
    ],
)
def test_a_date_is_the_next_monday_or_first_after_now(now: str, monday: str, first: str) -> None:
    assert next_date_ms(ms(now), Period.WEEKLY) == ms(monday)
    assert next_date_ms(ms(now), Period.MONTHLY) == ms(first)
