"""Processor time and memory are read for whole trees."""

import subprocess
import sys
from pathlib import Path

import pytest
from bench.relay.processes import cpu_us, rss_mib, tree

pytestmark = pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="reads /proc")
PARENT = """
import subprocess, sys
child = subprocess.Popen([sys.executable, "-c", CHILD], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
child.stdout.readline()
print(child.pid, flush=True)
sys.stdin.readline()
child.stdin.close(); child.wait()
print("waited", flush=True)
sys.stdin.readline()
"""
CHILD = "import sys, time\nwhile time.process_time() < 0.1: pass\nprint(1, flush=True)\nsys.stdin.readline()\n"


def test_a_child_counts_with_its_parent_while_it_runs_and_after_it_was_waited_for() -> None:
    program = f"CHILD = {CHILD!r}\n{PARENT}"
    with subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as parent:
        assert parent.stdin
        assert parent.stdout
        child = int(parent.stdout.readline())
        assert set(tree([parent.pid])) == {parent.pid, child}
        before = cpu_us([parent.pid])
        assert before >= 90_000
        assert rss_mib([parent.pid]) > rss_mib([child]) > 1
        parent.stdin.write(b"\n")
        parent.stdin.flush()
        assert parent.stdout.readline() == b"waited\n"
        assert tree([parent.pid]) == [parent.pid]
        assert cpu_us([parent.pid]) >= before
        parent.stdin.close()


def test_a_process_that_is_gone_costs_nothing() -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    assert cpu_us([process.pid]) == 0
    assert rss_mib([process.pid]) == 0
