"""Profiles of the coordinator: stacks become comparable, find their stage, and share the measured time out whole."""

import re
import subprocess
import sys
from collections import Counter

import pytest
from bench.relay.profile import flames, stacks, stages
from bench.relay.profile.__main__ import show
from bench.relay.profile.sampling import LET_TRACE, hint, refusal
from bench.relay.profile.stacks import Frame

LOOP = (
    "thread (77): MainThread;serve (/home/me/net/src/hushnet/coordinator/app/coordinator.py);"
    "run_forever (/project/uvloop/loop.c);uv_run (/project/build/libuv-x86_64/src/unix/core.c);"
    "uv__io_poll (/project/build/libuv-x86_64/src/unix/linux.c)"
)
READ = f"{LOOP};uv__stream_io (/project/build/libuv-x86_64/src/unix/stream.c);uv__read (/project/build/libuv-x86_64/src/unix/stream.c)"
LINK = (
    f"{READ};buffer_updated (/venv/lib/python3.11/site-packages/picows/picows.cpython-311-x86_64-linux-gnu.so);"
    "ProviderConnection._take_data (/home/me/net/src/hushnet/coordinator/api/provider_connection.py)"
)
RECORDS = f"{LINK};Attempt.records_arrived (/home/me/net/src/hushnet/coordinator/serving/attempt.py)"
FLUSH = (
    f"{LOOP};Loop__on_idle (/project/uvloop/loop.c);DirectLine.flush (/net/src/hushnet/coordinator/api/http/direct.py)"
)
WRITE = "UVStream__try_write (/project/uvloop/loop.c);write (/usr/lib/x86_64-linux-gnu/libc.so.6)"
CONTROL = f"{LOOP};Outflow.send_control (/net/src/hushnet/wire/lanes.py)"
WORKER = (
    "thread (78): sqlite-writer_0;_worker (/usr/lib/python3.11/concurrent/futures/thread.py);"
    "SqliteDatabase.write (/net/src/hushnet/coordinator/storage/database_sqlite.py)"
)


def stack(text: str) -> stacks.Stack:
    [found] = stacks.read([f"{text} 1"])
    return found


@pytest.mark.parametrize(
    ("text", "stage"),
    [
        (LOOP, "event loop"),
        (f"{READ};read (/usr/lib/libc.so.6)", "link read"),
        (LINK, "link read"),
        (f"{LINK};CoordinatorSession.receive_binary (/net/src/hushnet/wire/coordinator_session.py)", "link decode"),
        (RECORDS, "relay"),
        (f"{RECORDS};Reading.take (/net/src/hushnet/coordinator/serving/rules/reading.py)", "relay"),
        (f"{RECORDS};StandardAttempt.read (/net/src/hushnet/coordinator/confidential.py)", "open"),
        (f"{RECORDS};FrameCipher.decrypt (/net/src/hushnet/sealing/records/sealer.py)", "open"),
        (f"{FLUSH};{WRITE}", "write"),
        (f"{LOOP};Loop__on_idle (/project/uvloop/loop.c);{WRITE}", "write"),
        (f"{CONTROL};{WRITE}", "link write"),
        (
            f"{CONTROL};WSTransport_send (/venv/lib/python3.11/site-packages/picows/picows.so);send (libc.so.6)",
            "link write",
        ),
        (f"{WORKER};sqlite3_step (/usr/lib/libsqlite3.so.0)", "ledger"),
        (f"{LOOP};Life.tick (/net/src/hushnet/coordinator/serving/life.py)", "requests"),
        (
            f"{LOOP};data_received (/v/lib/python3.11/site-packages/uvicorn/protocols/http/httptools_impl.py)",
            "requests",
        ),
        (f"{RECORDS};gc_collect_main (/usr/lib/libpython3.11.so.1.0)", "garbage collection"),
        ("thread (79): odd;0x7f00 (/usr/lib/libc.so.6)", "other"),
    ],
)
def test_a_stack_belongs_to_the_stage_of_its_innermost_known_frame(text: str, stage: str) -> None:
    assert stages.stage_of(stack(text)) == stage


def test_what_no_rule_knows_counts_for_the_frame_that_called_it() -> None:
    copied = f"{RECORDS};FrameCipher.decrypt (/net/src/hushnet/sealing/records/sealer.py);0x7f12 (/usr/lib/libc.so.6)"
    assert stages.stage_of(stack(copied)) == "open"


def test_every_rule_names_a_stage_that_the_table_shows() -> None:
    assert {rule.stage for rule in (*stages.RULES, *stages.LOOP_RULES)} | {stages.OTHER} == set(stages.STAGES)


def test_stacks_that_differ_in_paths_addresses_and_thread_ids_only_are_one() -> None:
    samples = stacks.read(
        [
            "thread (1): MainThread;f (/a/src/hushnet/x.py);0x7f01 (/lib/libc.so.6) 3\n",
            "thread (2): MainThread;f (/b/c/src/hushnet/x.py);0x7f02 (/usr/lib/libc.so.6) 4\n",
        ]
    )
    assert stacks.collapsed(samples) == "MainThread;f (hushnet/x.py);? (libc.so.6) 7\n"


def test_a_python_frame_keeps_its_name_however_it_is_written() -> None:
    assert stacks.frame("f.<locals>.g (/a/src/hushnet/x.py)") == Frame("f.<locals>.g", "hushnet/x.py")
    assert stacks.frame("plain") == Frame("plain")
    assert stacks.frame("run (/opt/lib/python3.11/asyncio/runners.py)") == Frame("run", "asyncio/runners.py")


def test_another_format_is_refused() -> None:
    with pytest.raises(ValueError, match="invalid literal"):
        stacks.read(["<svg>not a profile</svg>"])


@pytest.mark.parametrize("function", ["epoll_pwait", "PyThread_acquire_lock_timed"])
def test_threads_that_wait_are_left_out(function: str) -> None:
    waiting = f"{LOOP};{function} (libc.so.6);0x7f00 (/usr/lib/libc.so.6)"
    samples = stacks.read([f"{waiting} 90", f"{RECORDS} 10"])
    assert stacks.busy(samples) == {stack(RECORDS): 10}


def test_a_thread_that_works_for_one_that_waits_is_kept() -> None:
    called_back = f"{LOOP};epoll_pwait (libc.so.6);Handle__run (/project/uvloop/loop.c)"
    assert stacks.busy(stacks.read([f"{called_back} 2"])).total() == 2


def test_the_stages_add_up_to_the_measured_time() -> None:
    samples = stacks.read([f"{LOOP} 7", f"{RECORDS} 31", f"{FLUSH};{WRITE} 59", f"{WORKER} 3", "mystery 1"])
    rows = stages.table(samples, user_us=12.1, kernel_us=5.2)
    assert sum(row.us for row in rows) == pytest.approx(17.3)
    assert sum(row.kernel_us for row in rows) == pytest.approx(5.2)
    assert sum(row.samples for row in rows) == samples.total()
    assert [row.stage for row in rows] == list(stages.STAGES)
    assert stages.lines(rows)[-1].split() == ["sum", "17.30", "12.10", "5.20"]


def test_kernel_time_is_shared_by_system_calls_and_user_time_by_the_rest() -> None:
    samples = stacks.read([f"{READ};read (/lib/libc.so.6) 10", f"{FLUSH};{WRITE} 30", f"{FLUSH} 5", f"{RECORDS} 15"])
    found = {row.stage: row for row in stages.table(samples, user_us=8.0, kernel_us=4.0)}
    assert (found["link read"].user_us, found["link read"].kernel_us) == (0.0, 1.0)
    assert (found["write"].user_us, found["write"].kernel_us) == (2.0, 3.0)
    assert (found["relay"].user_us, found["relay"].kernel_us) == (6.0, 0.0)


def test_time_whose_kind_was_never_sampled_is_shared_by_all_samples() -> None:
    rows = stages.table(stacks.read([f"{RECORDS} 1", f"{LINK} 3"]), user_us=8.0, kernel_us=4.0)
    assert {row.stage: row.us for row in rows if row.us} == {"relay": 3.0, "link read": 9.0}


def test_a_method_named_like_a_system_call_is_none() -> None:
    assert not stacks.is_in_kernel(stack(f"{FLUSH};write (/project/uvloop/loop.c)"))


def test_the_error_of_a_stage_falls_with_the_samples() -> None:
    few, many = (
        stages.table(Counter({stack(LOOP): n, stack(RECORDS): n}), user_us=10.0, kernel_us=0.0)[3] for n in (50, 5000)
    )
    assert few.us == many.us == 5.0
    assert few.error_us == pytest.approx(10 * many.error_us)


def test_no_samples_give_no_table() -> None:
    with pytest.raises(ValueError, match="at work"):
        stages.table(Counter(), user_us=1.0, kernel_us=1.0)


def test_a_flame_is_as_wide_as_its_samples_and_lies_on_its_caller() -> None:
    found = flames.boxes(
        Counter({(Frame("a"),): 1, (Frame("a"), Frame("b")): 2, (Frame("a"), Frame("c")): 3, (Frame("d"),): 4})
    )
    assert [(box.frame.function, box.depth, box.start, box.samples) for box in found] == [
        ("a", 0, 0, 6),
        ("b", 1, 1, 2),
        ("c", 1, 3, 3),
        ("d", 0, 6, 4),
    ]


def test_a_flame_has_the_stage_of_nearly_all_its_samples_or_none() -> None:
    samples = stacks.read([f"{RECORDS} 79", f"{FLUSH} 21"])
    found = {box.frame.function: box.stage for box in flames.boxes(samples)}
    assert (found["MainThread"], found["Attempt.records_arrived"]) == (flames.MIXED, "relay")
    assert {box.stage for box in flames.boxes(stacks.read([f"{RECORDS} 80", f"{FLUSH} 20"])) if not box.depth} == {
        "relay"
    }


def test_the_picture_tells_each_frame_and_escapes_it() -> None:
    drawn = flames.draw(stacks.read([f"{RECORDS};<lambda> (x.py) 3", f"{LOOP} 1"]), "a < b")
    assert "a &lt; b" in drawn
    assert "&lt;lambda&gt; (x.py): 3 of 4 samples, 75.0%; relay" in drawn
    assert len(re.findall("<g>", drawn)) == drawn.count("</g>") == len(stack(RECORDS)) + 1


@pytest.mark.parametrize(
    "said", ["Permission Denied: Try running again", "Error: Operation not permitted (os error 1)"]
)
def test_a_refusal_to_attach_says_what_to_do(said: str) -> None:
    assert refusal(said) == f"py-spy: {said}\n{hint()}"
    assert "as root" in hint() or "SYS_PTRACE" in hint()


def test_another_failure_of_the_profiler_is_told_without_its_backtrace() -> None:
    assert refusal("Error: no such process\n\nStack backtrace:\n 0: main") == "py-spy: Error: no such process"


def test_a_traceable_command_is_still_the_command() -> None:
    asked = subprocess.run([*LET_TRACE, sys.executable, "-c", "print(6 * 7)"], capture_output=True, check=True)
    assert asked.stdout == b"42\n"


@pytest.mark.parametrize(("samples", "is_warned"), [(399, True), (400, False)])
def test_few_samples_are_warned_of(samples: int, is_warned: bool, capsys: pytest.CaptureFixture[str]) -> None:
    cost = {"chunk_us": 3.0, "user_us": 2.0, "kernel_us": 1.0, "sampled_chunk_us": 3.0}
    load = {"mode": "standard", "streams": 4, "rate": 40.0, "links": 1, "seconds": 2}
    show([], {**cost, **load, "samples": samples, "samples_waiting": 0})
    assert ("WARNING: 399 samples are few" in capsys.readouterr().out) is is_warned
