"""Laws of the queue, whatever is done to it."""

from __future__ import annotations

from collections import Counter

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from hushnet.coordinator.admission.queue import FairQueue, QueueLimits, Ticket
from hushnet.foundation.ids import AccountId, ModelId

MODELS = [ModelId("m"), ModelId("n")]
ACCOUNTS = [AccountId((1 << 16) + number) for number in range(4)]
LIMITS = QueueLimits(waiting_max=12, account_waiting_max=5)


class QueueMachine(RuleBasedStateMachine):
    """Joins, leaves and expires at random; a plain list is the model."""

    def __init__(self) -> None:
        super().__init__()
        self.queue: FairQueue[int] = FairQueue(LIMITS)
        self.tickets: list[Ticket[int]] = []
        self.now_s = 0.0
        self.joined = 0

    @rule(
        model=st.sampled_from(MODELS),
        account=st.sampled_from(ACCOUNTS),
        patience=st.integers(1, 20),
        is_retry=st.booleans(),
    )
    def join(self, model: ModelId, account: AccountId, patience: int, is_retry: bool) -> None:
        self.joined += 1
        ticket = self.queue.join(model, account, self.joined, deadline_s=self.now_s + patience, is_retry=is_retry)
        of_model = [each for each in self.tickets if each.model == model]
        of_lane = [each for each in of_model if each.account == account]
        is_full = len(of_model) >= LIMITS.waiting_max
        is_lane_full = len(of_lane) >= LIMITS.account_waiting_max
        assert (ticket is None) is (is_full or is_lane_full)
        if ticket is not None:
            self.tickets.insert(0, ticket) if is_retry else self.tickets.append(ticket)

    @precondition(lambda self: self.tickets)
    @rule(data=st.data(), is_served=st.booleans())
    def leave(self, data: st.DataObject, is_served: bool) -> None:
        ticket = data.draw(st.sampled_from(self.tickets))
        assert self.queue.leave(ticket, is_served=is_served)
        assert not self.queue.leave(ticket)
        self.tickets.remove(ticket)

    @rule(seconds=st.integers(0, 10))
    def expire(self, seconds: int) -> None:
        self.now_s += seconds
        late = {ticket.item for ticket in self.queue.expired(self.now_s)}
        assert late == {ticket.item for ticket in self.tickets if ticket.deadline_s <= self.now_s}
        self.tickets = [ticket for ticket in self.tickets if ticket.item not in late]

    @invariant()
    def everybody_waits_exactly_once(self) -> None:
        for model in MODELS:
            ordered = list(self.queue.in_order(model))
            assert Counter(ticket.item for ticket in ordered) == Counter(
                ticket.item for ticket in self.tickets if ticket.model == model
            )
            assert self.queue.waiting(model) == len(ordered)
        assert set(self.queue.models()) == {ticket.model for ticket in self.tickets}

    @invariant()
    def no_account_is_served_twice_before_another_is_served_once(self) -> None:
        for model in MODELS:
            ordered = list(self.queue.in_order(model))
            accounts = {ticket.account for ticket in ordered}
            first_round = [ticket.account for ticket in ordered[: len(accounts)]]
            assert len(set(first_round)) == len(first_round)

    @invariant()
    def an_accounts_requests_keep_their_order_and_its_retries_go_first(self) -> None:
        for model in MODELS:
            for account in ACCOUNTS:
                items = [ticket.item for ticket in self.queue.in_order(model) if ticket.account == account]
                expected = [each.item for each in self.tickets if (each.model, each.account) == (model, account)]
                assert items == expected


QueueMachine.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestQueue = QueueMachine.TestCase
