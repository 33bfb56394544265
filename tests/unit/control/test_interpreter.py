"""A coordinator's process is set up once it has started, and the rest of the tests keep theirs."""

import gc
import sys

from hushnet.coordinator.app import interpreter


def test_threads_take_turns_quickly_and_the_collector_seldom_looks() -> None:
    before, threshold = sys.getswitchinterval(), gc.get_threshold()
    try:
        interpreter.tune()
        assert sys.getswitchinterval() < before
        assert gc.get_threshold()[0] > threshold[0]
        assert gc.get_freeze_count() > 0
    finally:
        gc.unfreeze()
        gc.set_threshold(*threshold)
        sys.setswitchinterval(before)
