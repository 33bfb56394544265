"""Two lanes and the one writer: order, joining, and what a full socket holds back."""

from __future__ import annotations

from collections.abc import Callable

from hushnet.wire.codec import FROM_PROVIDER, DataType, split_data
from hushnet.wire.lanes import Lanes, Outflow
from hushnet.wire.limits import MESSAGE_BYTES_MAX


class Wire:
    """A socket and a loop that run when told."""

    def __init__(self, prepare: Callable[[], None] | None = None) -> None:
        self.lanes = Lanes()
        self.sent: list[bytes] = []
        self.passes: list[Callable[[], None]] = []
        self.outflow = Outflow(
            self.lanes,
            send_text=self.sent.append,
            send_binary=self.sent.append,
            schedule=self.passes.append,
            prepare=prepare,
        )

    def run_pass(self) -> None:
        self.passes.pop(0)()

    def push(self, payload: bytes, attempt: int = 1) -> None:
        self.lanes.push_data(DataType.RECORD, attempt, payload)
        self.outflow.wake()

    def payloads(self, message: bytes) -> list[bytes]:
        return [payload for _, _, payload in split_data(message, FROM_PROVIDER)]


def test_control_leaves_at_once_and_data_with_the_next_pass() -> None:
    wire = Wire()
    wire.push(b"data")
    wire.lanes.push_control(b"control")
    wire.outflow.send_control()
    assert wire.sent == [b"control"]
    wire.run_pass()
    assert wire.payloads(wire.sent[1]) == [b"data"]


def test_data_of_one_pass_leaves_in_one_message() -> None:
    wire = Wire()
    for number in range(100):
        wire.push(b"%d" % number, attempt=number)
    assert len(wire.passes) == 1
    wire.run_pass()
    assert wire.payloads(wire.sent[0]) == [b"%d" % number for number in range(100)]
    assert not wire.passes
    assert wire.lanes.data_bytes == 0


def test_a_message_never_exceeds_its_bound_and_each_pass_sends_one() -> None:
    wire = Wire()
    for _ in range(5):
        wire.push(bytes(60_000))
    sizes = []
    while wire.passes:
        wire.run_pass()
        sizes.append(len(wire.payloads(wire.sent[-1])))
    assert sizes == [2, 2, 1]
    assert all(len(each) <= MESSAGE_BYTES_MAX for each in wire.sent)


def test_control_overtakes_data_between_two_messages() -> None:
    wire = Wire()
    for _ in range(4):
        wire.push(bytes(60_000))
    wire.run_pass()
    wire.lanes.push_control(b"cancel")
    wire.run_pass()
    assert wire.sent[1] == b"cancel"
    assert len(wire.sent) == 3


def test_a_frame_about_data_waits_for_exactly_that_data() -> None:
    lanes = Lanes()
    lanes.push_after_data(b"nothing before")
    assert lanes.next_control() == b"nothing before"
    for number in range(3):
        lanes.push_data(DataType.RECORD, 1, bytes(60_000))
        lanes.push_after_data(b"after %d" % number)
    assert lanes.next_control() is None
    lanes.next_message()
    assert [lanes.next_control(), lanes.next_control(), lanes.next_control()] == [b"after 0", b"after 1", None]
    lanes.next_message()
    assert lanes.next_control() == b"after 2"
    assert lanes.control_bytes == 0


def test_a_full_socket_holds_everything_back_until_it_resumes() -> None:
    wire = Wire()
    wire.outflow.pause()
    wire.push(b"data")
    wire.run_pass()
    wire.lanes.push_control(b"control")
    wire.outflow.send_control()
    assert wire.sent == []
    assert wire.lanes.control_bytes == len(b"control")
    wire.outflow.resume()
    wire.run_pass()
    assert wire.sent[0] == b"control"
    assert wire.payloads(wire.sent[1]) == [b"data"]


def test_preparation_runs_before_each_pass() -> None:
    wire = Wire(prepare=lambda: wire.lanes.push_control(b"credit"))
    wire.push(b"data")
    wire.run_pass()
    assert wire.sent[0] == b"credit"


def test_forgetting_an_attempt_drops_its_data_only() -> None:
    lanes = Lanes()
    for attempt in (1, 2, 1, 3):
        lanes.push_data(DataType.RECORD, attempt, b"%d" % attempt)
    before = lanes.data_bytes
    lanes.forget(1)
    lanes.forget(9)
    message = lanes.next_message()
    assert message is not None
    assert [attempt for _, attempt, _ in split_data(message, FROM_PROVIDER)] == [2, 3]
    assert before == 40
    assert lanes.data_bytes == 0


def test_clearing_the_data_keeps_last_words() -> None:
    lanes = Lanes()
    lanes.push_data(DataType.RECORD, 1, b"data")
    lanes.push_after_data(b"finished")
    lanes.push_control(b"bye")
    lanes.clear_data()
    assert lanes.next_message() is None
    assert [lanes.next_control(), lanes.next_control()] == [b"bye", None]
    assert lanes.control_bytes == lanes.data_bytes == 0
