"""Measurements that anyone can run: `make bench`, or `python -m bench NAME`. Results are JSON under bench/results."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parent.parent / "tests"))  # paced servers and whole networks live there
