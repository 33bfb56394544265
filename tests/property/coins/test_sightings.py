"""Any multiset of sightings, in any order: the same invoice, the same books, and money that only a reversal takes."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from hushnet.coordinator.ledger.chart import Kind, account_info, user_account
from hushnet.coordinator.ledger.model import Leg
from hushnet.coordinator.payments.coins.accounting import LATE_MS, absorb
from hushnet.coordinator.payments.coins.model import CoinInvoice, InvoiceState, Sighting

OWNER, END_MS, DAY_MS = 70_000, 10_000_000_000, 24 * 3_600_000
RATE_NOW = 41_234_567_891

moments = st.sampled_from([-DAY_MS, -1, 0, 1, LATE_MS - 1, LATE_MS, LATE_MS + 1, 9 * DAY_MS]).map(END_MS.__add__)


@st.composite
def invoices(draw: st.DrawFn) -> CoinInvoice:
    usd = draw(st.integers(100, 10**6)) * 10_000
    due = draw(st.integers(1, 10**9))
    rate = max(1, usd * 10**8 // due)
    return CoinInvoice(
        id=2,
        owner=OWNER,
        usd=usd,
        asset="BTC",
        network="bitcoin",
        units_due=due,
        rate=rate,
        gateway="coinpay",
        state=InvoiceState.PENDING,
        expires_ms=END_MS,
        created_ms=0,
    )


@st.composite
def sightings(draw: st.DrawFn) -> Sighting:
    at_ms = draw(moments)
    kind = draw(st.sampled_from(["seen", "seen with amount", "confirmed", "confirmed", "expired", "failed"]))
    units = draw(st.integers(1, 3 * 10**9))
    match kind:
        case "seen":
            return Sighting(at_ms=at_ms, is_seen=True)
        case "seen with amount":
            return Sighting(at_ms=at_ms, is_seen=True, seen=units)
        case "confirmed":
            return Sighting(at_ms=at_ms, is_seen=True, confirmed=units)
        case _:
            return Sighting(at_ms=at_ms, is_expired=kind == "expired", is_failed=kind == "failed")


def after(invoice: CoinInvoice, told: list[Sighting]) -> tuple[CoinInvoice, dict[int, int]]:
    """The invoice and the balances after sightings; each step is checked on its own."""
    balances: Counter[int] = Counter()
    keys: set[str] = set()
    for sighting in told:
        change = absorb(invoice, sighting, rate=RATE_NOW)
        assert change.invoice.credited >= invoice.credited
        assert change.invoice.units_in >= invoice.units_in
        if change.fact is None:
            assert change.invoice.credited == invoice.credited
        else:
            assert change.fact.key not in keys
            keys.add(change.fact.key)
            for leg in change.fact.legs:
                if isinstance(leg, Leg):
                    assert leg.amount > 0
                    balances[leg.debit] -= leg.amount
                    balances[leg.credit] += leg.amount
        invoice = change.invoice
        assert absorb(invoice, sighting, rate=RATE_NOW).fact is None, "the same again does nothing"
    return invoice, {account: amount for account, amount in balances.items() if amount}


@settings(max_examples=2000, deadline=None)
@given(invoices(), st.lists(sightings(), min_size=1, max_size=7), st.randoms(use_true_random=False))
def test_any_order_of_any_multiset_of_sightings_ends_in_the_same_books(
    invoice: CoinInvoice, told: list[Sighting], chance: object
) -> None:
    shuffled = [*told, told[0]]
    chance.shuffle(shuffled)  # type: ignore[attr-defined]
    one, books = after(invoice, told)
    other, others = after(invoice, shuffled)
    assert books == others
    assert replace(one, late_rate=0, as_of_ms=0) == replace(other, late_rate=0, as_of_ms=0)


@settings(max_examples=2000, deadline=None)
@given(invoices(), st.lists(sightings(), min_size=1, max_size=7))
def test_books_say_what_the_invoice_says(invoice: CoinInvoice, told: list[Sighting]) -> None:
    ended, books = after(invoice, told)
    by_asset: Counter[str] = Counter()
    for account, amount in books.items():
        info = account_info(account)
        assert info is not None
        by_asset[info.asset] += amount
    assert not any(by_asset.values()), "each asset is a ledger of its own"
    assert books.get(user_account(OWNER, Kind.PAID), 0) == ended.credited
    assert (ended.state is InvoiceState.PAID) == (ended.credited >= ended.usd)
    if ended.units_in <= ended.units_due:
        assert ended.credited <= ended.usd, "no more than was asked for what was asked"
    assert ended.seen_late >= ended.seen_prompt


@settings(max_examples=200, deadline=None)
@given(invoices(), st.lists(sightings(), min_size=1, max_size=7))
def test_a_reversal_leaves_nothing_behind(invoice: CoinInvoice, told: list[Sighting]) -> None:
    ended, books = after(invoice, told)
    change = absorb(ended, Sighting(at_ms=END_MS, is_invalid=True), rate=RATE_NOW)
    if change.invoice.state is not InvoiceState.REVERSED:
        assert not ended.credited
        return
    left = Counter(books)
    for leg in change.fact.legs if change.fact is not None else ():
        if isinstance(leg, Leg):
            left[leg.debit] -= leg.amount
            left[leg.credit] += leg.amount
    taken = user_account(OWNER, Kind.FROZEN)
    left[user_account(OWNER, Kind.PAID)] += left.pop(taken, 0)
    assert not any(left.values())
