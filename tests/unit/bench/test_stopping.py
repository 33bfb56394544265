"""A bench that is told to stop ends all that it started, once, and says so."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
HEAD = """
import sys, subprocess
from contextlib import ExitStack
from bench.relay import rounds
from bench.relay.stopping import held, stoppable
def say(*words): print(*words, flush=True)
"""
SYSTEMS = """
class Sleeper(rounds.System):
    streams = 1
    def __init__(self, name):
        super().__init__()
        self.name = name
    def folder(self):
        from pathlib import Path
        return Path(sys.argv[1])
    def start(self, upstream_url):
        say(self.name)
        self._launch(["sleep", "60"], 9)
    def _launch(self, arguments, port):
        log = self.folder() / "log.txt"
        with held():
            self._process = rounds_spawn(arguments, log=log)
        say(self._process.pid)
        if self.name == "slow":
            sys.stdin.readline()
    def stop(self):
        if self._process:
            say("stopping", self.name)
            sys.stdin.readline() if self.name == "slow" else None
        super().stop()
from bench.relay.processes import spawn as rounds_spawn
rounds.SYSTEMS.clear()
rounds.SYSTEMS.update(quick=lambda: Sleeper("quick"), slow=lambda: Sleeper("slow"))
with stoppable(lambda: "stopped; nothing was written"):
    rounds.measure(rounds.Plan(("quick", "slow")))
"""


def started(program: str, *arguments: str) -> subprocess.Popen[str]:
    """Run a program beside the test; both know each other by lines."""
    pipe = subprocess.PIPE
    command = [sys.executable, "-c", HEAD + program, *arguments]
    return subprocess.Popen(command, cwd=ROOT, stdin=pipe, stdout=pipe, stderr=pipe, text=True)


def line(process: subprocess.Popen[str]) -> str:
    assert process.stdout
    return process.stdout.readline().strip()


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_what_a_signal_meets_half_started_is_stopped_with_all_before_it(
    number: signal.Signals, status: int, tmp_path: Path
) -> None:
    with started(SYSTEMS, str(tmp_path)) as bench:
        assert [line(bench), line(bench)] == ["quick ...", "quick"]
        quick = int(line(bench))
        assert [line(bench), line(bench)] == ["slow ...", "slow"]
        slow = int(line(bench))
        bench.send_signal(number)
        assert line(bench) == "stopping slow"
        for again in (signal.SIGTERM, signal.SIGINT):  # neither cuts what is being ended
            bench.send_signal(again)
        assert bench.stdin
        bench.stdin.write("\n")
        bench.stdin.flush()
        assert line(bench) == "stopping quick"
        _, said = bench.communicate()
    assert said == "stopped; nothing was written\n"
    assert bench.returncode == status
    for pid in (quick, slow):
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def test_a_signal_waits_for_what_is_held() -> None:
    program = """
with stoppable(lambda: "stopped"):
    with held():
        with held():
            say("ready")
            sys.stdin.readline()
            say("inner")
        say("outer")
    say("never")
"""
    with started(program) as bench:
        assert line(bench) == "ready"
        bench.send_signal(signal.SIGTERM)
        said, complained = bench.communicate("\n")
    assert (said, complained, bench.returncode) == ("inner\nouter\n", "stopped\n", 143)


def test_signals_are_as_before_when_nothing_came() -> None:
    program = """
import signal
before = [signal.getsignal(each) for each in (signal.SIGTERM, signal.SIGINT)]
with stoppable(lambda: "stopped"):
    pass
say(before == [signal.getsignal(each) for each in (signal.SIGTERM, signal.SIGINT)])
"""
    with started(program) as bench:
        assert bench.communicate()[0] == "True\n"
