"""What coins do to an invoice and to the books, without a database."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from itertools import permutations

import pytest

from hushnet.coordinator.ledger.chart import COINS, Kind, account_info, coin_account, operator_account, user_account
from hushnet.coordinator.ledger.model import Code, Fact, Leg, Repay, Take
from hushnet.coordinator.payments.coins import accounting
from hushnet.coordinator.payments.coins.accounting import LATE_MS, absorb, quoted, reversed_, stray
from hushnet.coordinator.payments.coins.addresses import Destination
from hushnet.coordinator.payments.coins.assets import PAIRS, pair_named
from hushnet.coordinator.payments.coins.model import CoinInvoice, InvoiceState, Quote, Sighting
from hushnet.coordinator.payments.coins.rates import RateError
from hushnet.coordinator.payments.coins.states import TRANSITIONS, Event, next_state

OWNER, END_MS, USD, DUE = 70_000, 1_000_000, 20_000_000, 32_700
RATE_NOW = 30_000_000_000
"""Half of what the invoice was made at."""
PAID, FX, SUSPENSE = (
    user_account(OWNER, Kind.PAID),
    operator_account(Kind.FX),
    operator_account(Kind.SUSPENSE),
)
FROZEN = user_account(OWNER, Kind.FROZEN)
COIN, FX_COIN = (coin_account("BTC", "bitcoin", "coin"), coin_account("BTC", "bitcoin", "fx_coin"))


def invoice(**columns: object) -> CoinInvoice:
    plain = CoinInvoice(
        id=2,
        owner=OWNER,
        usd=USD,
        asset="BTC",
        network="bitcoin",
        gateway="coinpay",
        expires_ms=END_MS,
        created_ms=0,
    )
    quote = Quote(gateway_id="g1", destination=Destination("bc1q"), units_due=DUE, expires_ms=END_MS)
    return replace(quoted(plain, quote), **columns)  # type: ignore[arg-type] - a test names its columns


def confirmed(units: int, at_ms: int = 10) -> Sighting:
    return Sighting(at_ms=at_ms, confirmed=units)


def balances_of(facts: list[Fact]) -> dict[int, int]:
    """Balances after these facts, zeros left out, of an owner who keeps everything that is credited."""
    balances: Counter[int] = Counter()
    for fact in facts:
        for leg in fact.legs:
            if isinstance(leg, Leg | Take):
                debit, credit = (leg.debit, leg.credit) if isinstance(leg, Leg) else (PAID, FROZEN)
                balances[debit] -= leg.amount
                balances[credit] += leg.amount
    return {account: amount for account, amount in balances.items() if amount}


def run(start: CoinInvoice, sightings: list[Sighting]) -> tuple[CoinInvoice, list[Fact], list[str]]:
    facts, kinds = [], []
    for sighting in sightings:
        change = absorb(start, sighting, rate=RATE_NOW)
        start = change.invoice
        if change.fact is not None:
            facts.append(change.fact)
        kinds += [kind for kind, _ in change.findings]
    assert len({fact.key for fact in facts}) == len(facts)
    return start, facts, kinds


def test_the_pairs_stand_in_the_order_of_the_chart_of_accounts() -> None:
    assert tuple(pair.name for pair in PAIRS) == COINS


def test_an_exact_payment_credits_exactly_the_invoice() -> None:
    after, facts, _ = run(invoice(), [confirmed(DUE)])
    assert (after.state, after.credited, after.units_in) == (InvoiceState.PAID, USD, DUE)
    assert facts == [
        Fact(
            key=f"coin:2:{DUE}",
            code=Code.COIN_DEPOSIT,
            legs=(Leg(COIN, FX_COIN, DUE), Leg(FX, PAID, USD), Repay(OWNER)),
            actor="coinpay",
            owner=OWNER,
        )
    ]


def test_over_under_exact_and_late_coins() -> None:
    under, facts, _ = run(invoice(), [confirmed(DUE // 2)])
    assert (under.state, under.credited) == (InvoiceState.DETECTED, USD * (DUE // 2) // DUE)
    under, _, _ = run(under, [Sighting(at_ms=END_MS + 1, is_expired=True)])
    assert under.state is InvoiceState.UNDERPAID

    over, _, _ = run(invoice(), [confirmed(DUE * 3)])
    assert (over.state, over.credited) == (InvoiceState.PAID, USD * 3)

    rest, facts, _ = run(invoice(), [confirmed(DUE // 2), confirmed(DUE)])
    assert (rest.state, rest.credited) == (InvoiceState.PAID, USD)
    assert balances_of(facts) == {COIN: -DUE, FX_COIN: DUE, FX: -USD, PAID: USD}

    late, facts, _ = run(invoice(), [confirmed(DUE, END_MS + LATE_MS)])
    assert (late.state, late.credited) == (InvoiceState.DETECTED, DUE * RATE_NOW // 10**8)

    dear, _, _ = run(replace(invoice(), late_rate=RATE_NOW * 9), [confirmed(DUE, END_MS + 1)])
    assert (dear.state, dear.credited) == (InvoiceState.PAID, USD)

    stale, facts, kinds = run(invoice(), [confirmed(DUE, END_MS + LATE_MS + 1)])
    assert (stale.state, stale.credited, kinds) == (InvoiceState.REVIEW, 0, ["coins_too_late"])
    value = DUE * RATE_NOW // 10**8
    assert balances_of(facts) == {COIN: -DUE, FX_COIN: DUE, FX: -value, SUSPENSE: value}


def test_a_rate_is_fixed_for_a_day_at_most() -> None:
    asked = invoice(state=InvoiceState.CREATING, created_ms=5)
    quote = Quote(gateway_id="g", destination=Destination("bc1q"), units_due=DUE, expires_ms=10**15)
    assert quoted(asked, quote).expires_ms == 5 + 24 * 3_600_000


def test_late_coins_wait_for_a_rate() -> None:
    with pytest.raises(RateError):
        absorb(invoice(), confirmed(DUE, END_MS + 1))
    assert accounting.needs_rate(invoice(), confirmed(DUE, END_MS + 1))
    assert not accounting.needs_rate(invoice(), confirmed(DUE, END_MS))


def test_coins_that_were_seen_in_time_may_be_confirmed_after_the_end() -> None:
    seen = Sighting(at_ms=END_MS, is_seen=True)
    after, _, _ = run(invoice(), [seen, confirmed(DUE, END_MS + 1)])
    assert after.credited == USD
    put_right, facts, _ = run(invoice(), [confirmed(DUE, END_MS + 1), seen])
    assert (put_right.state, put_right.credited) == (InvoiceState.PAID, USD)
    assert [fact.key for fact in facts] == [f"coin:2:{DUE}", f"coin:2:{DUE}:{USD}:0"]


def test_a_late_expired_event_does_not_unpay() -> None:
    paid, facts, kinds = run(
        invoice(),
        [
            confirmed(DUE),
            Sighting(at_ms=END_MS + 9, is_expired=True),
            Sighting(at_ms=END_MS + 9, is_failed=True),
            confirmed(DUE // 3),
        ],
    )
    assert (paid.state, paid.credited, len(facts)) == (InvoiceState.PAID, USD, 1)
    assert kinds == ["coin_failed_after_credit"]


def test_a_reversal_takes_back_what_was_credited_once() -> None:
    paid, facts, _ = run(invoice(), [confirmed(DUE)])
    gone, more, kinds = run(paid, [Sighting(at_ms=99, is_invalid=True), Sighting(at_ms=99, is_invalid=True)])
    assert (gone.state, len(more), kinds) == (InvoiceState.REVERSED, 1, ["coin_reversed"])
    assert more[0].key == "coin:2:reversed"
    assert balances_of([*facts, *more]) == {}
    again, none, kinds = run(gone, [confirmed(DUE), confirmed(DUE + 1)])
    assert (again, none, kinds) == (gone, [], ["coins_after_reversal"])


def test_an_invalid_invoice_without_coins_has_only_ended() -> None:
    ended, facts, _ = run(invoice(), [Sighting(at_ms=99, is_seen=True), Sighting(at_ms=99, is_invalid=True)])
    assert (ended.state, facts) == (InvoiceState.EXPIRED, [])


def test_any_order_of_sightings_ends_in_the_same_books() -> None:
    chosen = [
        Sighting(at_ms=END_MS - 5, is_seen=True),
        confirmed(DUE // 3, END_MS - 1),
        confirmed(DUE, END_MS + 7),
        confirmed(DUE + 500, END_MS + LATE_MS - 7),
        confirmed(DUE + 900, END_MS + LATE_MS + 7),
        Sighting(at_ms=END_MS, is_expired=True),
    ]
    _, expected, _ = run(invoice(), chosen)
    states = set()
    for order in permutations([*chosen, chosen[2]], 7):
        after, facts, _ = run(invoice(), list(order))
        assert balances_of(facts) == balances_of(expected)
        states.add((after.state, after.credited, after.suspended, after.units_in))
    assert len(states) == 1


def test_coins_of_no_invoice_go_to_suspense() -> None:
    fact = stray(pair_named("BTC.bitcoin"), gateway="coinpay", payment="p9", units=100, rate=RATE_NOW)
    assert fact.key == "coin:coinpay:p9"
    assert balances_of([fact]) == {COIN: -100, FX_COIN: 100, FX: -30_000, SUSPENSE: 30_000}
    dust = stray(pair_named("BTC.bitcoin"), gateway="coinpay", payment="p9", units=1, rate=10_000)
    assert dust.legs == (Leg(COIN, FX_COIN, 1),)


def test_every_leg_stays_inside_one_asset() -> None:
    _, facts, _ = run(invoice(), [confirmed(DUE), confirmed(DUE * 2, END_MS + 1), confirmed(DUE * 9, END_MS * 999)])
    gone = reversed_(replace(invoice(), units_in=DUE, credited=USD, suspended=5)).fact
    assert gone is not None
    pair = pair_named("BTC.bitcoin")
    facts += [gone, accounting.gateway_fee(invoice(), 5, actor="a")]
    facts.append(accounting.sale(pair, sale_id="s", units=5, usd=6, actor="a"))
    for fact in facts:
        for leg in fact.legs:
            if isinstance(leg, Leg):
                debit, credit = account_info(leg.debit), account_info(leg.credit)
                assert debit is not None
                assert credit is not None
                assert debit.asset == credit.asset


@pytest.mark.parametrize("state", list(InvoiceState))
def test_the_table_of_states_has_a_row_for_each_and_keeps_money(state: InvoiceState) -> None:
    for event in Event:
        after = next_state(state, event)
        if state is InvoiceState.PAID:
            assert after is (InvoiceState.REVERSED if event is Event.REVERSED else InvoiceState.PAID)
        if state in (InvoiceState.REVERSED, InvoiceState.REFUSED):
            assert after is state
    assert set(TRANSITIONS) == set(InvoiceState)


def test_an_invoice_without_a_quote_takes_no_coins() -> None:
    with pytest.raises(ValueError, match="quote"):
        absorb(invoice(state=InvoiceState.CREATING), confirmed(1))
