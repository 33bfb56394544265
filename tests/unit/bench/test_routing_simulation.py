"""The simulated fleet serves every request once, within its slots, the same way each time; machines keep to their speeds."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from bench.routing.affinity import Nothing, Remembered
from bench.routing.conversations import conversations, hits
from bench.routing.machines import CONTENTION, Asked, Cache, Engine, Machine
from bench.routing.ours import Hushnet
from bench.routing.policies import Free, LeastLoaded, PowerOfTwo, RoundRobin
from bench.routing.quality import POLICIES, summary
from bench.routing.reference import Reference
from bench.routing.simulation import QUEUE_S_MAX, WAITING_MAX, Clock, Policy, Run, play
from bench.routing.traces import TRACES, Trace, fleet, trace

from support.live_fleet import id_of

FAST, SLOW = Machine(0, 100.0, 1000.0, 2), Machine(1, 10.0, 100.0, 2)


def ask(number: int, arrival_s: float = 0.0, *, prompt: int = 100, output: int = 100, output_max: int = 200) -> Asked:
    return Asked(number, arrival_s, prompt, output, output_max)


class First(Free):
    """Whatever machine comes first, full or not."""

    def choose(self, asked: Asked) -> int | None:
        return 0


class FirstFree(Free):
    """The free machine with the lowest number."""

    def choose(self, asked: Asked) -> int | None:
        return min(self.numbers, default=None)


def played(policy: Callable[[], Policy], machines: list[Machine], *asked: Asked) -> Run:
    return play(Trace(machines, asked, warm_s=0.0), lambda _clock: policy())


@pytest.mark.parametrize("name", POLICIES)
@pytest.mark.parametrize("of", TRACES)
def test_every_request_is_served_or_refused_once_even_when_there_are_too_many(name: str, of: str) -> None:
    drawn = trace(of, 6, load=1.6, count=900, seed=3)

    run = play(drawn, POLICIES[name])

    ended = sorted([served.asked.number for served in run.served] + [asked.number for asked in run.refused])
    assert ended == [asked.number for asked in drawn.asked]
    assert any(served.waited_s > 0 for served in run.served)
    for served in run.served:
        machine = drawn.machines[served.machine]
        alone_s = served.asked.prompt / machine.prefill_tokens_s + served.asked.output / machine.decode_tokens_s
        assert served.completed_s - served.waited_s >= alone_s * (1 - 1e-9)
        assert served.waited_s < served.first_s < served.completed_s


@pytest.mark.parametrize("name", POLICIES)
def test_the_same_seed_gives_the_same_run(name: str) -> None:
    one, other = (play(trace("heterogeneous", 12, load=0.8, count=300, seed=5), POLICIES[name]) for _ in range(2))

    assert one == other
    assert one != play(trace("heterogeneous", 12, load=0.8, count=300, seed=6), POLICIES[name])


@pytest.mark.parametrize("name", POLICIES)
def test_no_policy_fills_a_machine_beyond_its_slots_nor_waits_while_one_is_free(name: str) -> None:
    run = played(lambda: POLICIES[name](Clock()), [FAST, SLOW], *(ask(number) for number in range(8)))

    begun_at_once = [served for served in run.served if served.waited_s == 0]
    assert sorted(served.machine for served in begun_at_once) == [0, 0, 1, 1]
    assert len(run.served) == 8


def test_a_policy_that_overfills_a_machine_is_stopped() -> None:
    with pytest.raises(RuntimeError, match="more than it has slots for"):
        played(lambda: First(1), [FAST], ask(0), ask(1), ask(2))


def test_one_request_takes_as_long_as_the_machine_says() -> None:
    (served,) = played(lambda: FirstFree(1), [FAST], ask(0, 7.0)).served

    assert served.first_s == pytest.approx(0.1)
    assert served.completed_s == pytest.approx(1.1)


def test_answers_beside_each_other_slow_each_other_down() -> None:
    machine = Machine(0, 100.0, 1e9, 2)

    first, second = played(lambda: FirstFree(1), [machine], ask(0), ask(1)).served

    both_s = 100 * (1 + CONTENTION) / 100.0
    assert first.completed_s == pytest.approx(both_s)
    assert second.completed_s == pytest.approx(both_s)


def test_who_waits_is_served_in_order_and_refused_after_the_coordinators_limit() -> None:
    slow = Machine(0, 1.0, 1e9, 1)

    run = played(lambda: FirstFree(1), [slow], *(ask(number, number * 0.1, output=50) for number in range(5)))

    assert [served.asked.number for served in run.served] == [0, 1, 2]
    assert [asked.number for asked in run.refused] == [3, 4]
    assert run.served[2].waited_s < QUEUE_S_MAX


def test_a_full_queue_refuses_at_once() -> None:
    slow = Machine(0, 1.0, 1e9, 1)

    run = played(lambda: FirstFree(1), [slow], *(ask(number) for number in range(WAITING_MAX + 3)))

    assert [asked.number for asked in run.refused[:2]] == [WAITING_MAX + 1, WAITING_MAX + 2]


def test_a_machine_reports_the_speed_that_its_answers_had() -> None:
    engine = Engine(Machine(0, 100.0, 1e9, 2))
    for number in range(2):
        engine.begin(ask(number), 0.0)
        engine.has_read(0.0)
    engine.sync(1.27)
    engine.ended(1.27)

    assert 90.0 < engine.decode_seen < 100.0


def test_round_robin_goes_round_and_passes_over_the_full() -> None:
    policy = RoundRobin(1)
    for number in range(3):
        policy.join(Machine(number, 10.0, 10.0, 1))
    policy.opened(1, ask(0))

    assert [policy.choose(ask(number)) for number in range(3)] == [0, 2, 0]


def test_least_loaded_takes_the_emptiest() -> None:
    policy = LeastLoaded(1)
    for machine in (FAST, SLOW):
        policy.join(machine)
    policy.opened(0, ask(0))

    assert policy.choose(ask(1)) == 1
    policy.opened(1, ask(1))
    policy.closed(0, ask(0))
    assert policy.choose(ask(2)) == 0


def test_two_choices_prefer_the_one_with_fewer_requests() -> None:
    policy = PowerOfTwo(1)
    for machine in (FAST, SLOW):
        policy.join(machine)
    policy.opened(0, ask(0))

    chosen = [policy.choose(ask(number)) for number in range(200)]

    assert chosen.count(1) > 120
    assert chosen.count(0) > 20


def test_the_reference_weighs_speed_queue_and_bounds_as_published() -> None:
    policy = Reference(1)
    for machine in (FAST, SLOW):
        policy.join(machine)
    # Alone: 1000 x (100/1000 + 400/100) = 4,100 ms at the fast one, 1000 x (100/100 + 400/10) = 41,000 at the slow one.
    assert policy.choose(ask(0, output_max=400)) == 0
    # One of 3,600 tokens there: 3,000 + 750 + 36,000 + 4,100 = 43,850 against 41,000: a tie, and the slow one has no queue.
    policy.opened(0, ask(0, output_max=3600))
    assert policy.choose(ask(1, output_max=400)) == 1
    # One of 1,600: 3,000 + 750 + 16,000 + 4,100 = 23,850, and no tie.
    policy.closed(0, ask(0, output_max=3600))
    policy.opened(0, ask(0, output_max=1600))
    assert policy.choose(ask(1, output_max=400)) == 0


def test_a_cache_keeps_the_newest_up_to_its_tokens() -> None:
    cache = Cache(1000)
    for conversation in (1, 2, 3):
        cache.keep(Asked(conversation, 0.0, 300, 100, 200, conversation=conversation))

    found = [cache.hit(Asked(9, 0.0, 900, 1, 1, conversation=each, prefix=350)) for each in (1, 2, 3)]

    assert found == [0, 350, 350]
    assert cache.tokens == 800


def test_a_turn_follows_its_answer_and_begins_with_all_that_was_said() -> None:
    drawn = conversations(10, load=0.5, count=200, seed=2)
    ended = {served.asked.number: served for served in play(drawn, Hushnet).served}

    assert drawn.following
    for before, (after, thought_s) in drawn.following.items():
        served, said = ended[after.number].asked, ended[before].asked
        assert served.prefix == said.prompt + said.output < served.prompt
        assert served.arrival_s == pytest.approx(said.arrival_s + ended[before].completed_s + thought_s)


def test_a_router_that_knows_where_a_conversation_was_reads_less() -> None:
    drawn = conversations(60, load=0.6, count=1200, seed=2)

    known, unknown = (
        hits(drawn, play(drawn, lambda clock, memory=memory: Hushnet(clock, memory())))  # type: ignore[misc]
        for memory in (Remembered, Nothing)
    )

    assert known["hit_of_prefix"] > 1.5 * unknown["hit_of_prefix"]


def test_the_coordinators_memory_tells_where_a_turn_was_served_and_roughly_how_much() -> None:
    memory = Remembered()
    first = Asked(1, 0.0, 300, 10, 10, conversation=7, prompts=(300,))
    second = Asked(2, 0.0, 400, 10, 10, conversation=7, prefix=310, prompts=(300, 400))
    memory.served(first, id_of(1), 0.0)

    assert memory.likely(second, 1.0) == {id_of(1): 256}
    assert memory.likely(Asked(3, 0.0, 300, 10, 10, conversation=8, prompts=(300,)), 1.0) == {}


def test_a_trace_brings_the_load_it_says() -> None:
    drawn = trace("steady", 50, load=0.7, count=4000, seed=4)
    prompt = sum(asked.prompt for asked in drawn.asked) / len(drawn.asked)
    output = sum(asked.output for asked in drawn.asked) / len(drawn.asked)

    able = sum(machine.requests_s(prompt, output) for machine in drawn.machines)

    assert len(drawn.asked) / drawn.asked[-1].arrival_s / able == pytest.approx(0.7, rel=0.1)


def test_a_mixed_fleet_is_mixed_and_the_other_is_not() -> None:
    for is_mixed, widest in ((True, 12.0), (False, 4.0)):
        rates = sorted(machine.decode_tokens_s for machine in fleet(200, is_mixed=is_mixed, seed=1))
        assert (rates[-5] / rates[5] > 6.0) is is_mixed
        assert rates[-1] / rates[0] < widest * 1.6


def test_the_summary_leaves_the_beginning_out() -> None:
    drawn = Trace([FAST], [ask(0), ask(1, 50.0)], warm_s=10.0)

    found = summary(drawn, play(drawn, POLICIES["random"]))

    assert found["p95_s"] == found["p50_s"] == pytest.approx(1.1)
    assert found["refused"] == 0.0
