"""Measurements that anyone can run: `make bench`, or `python -m bench NAME`. Results are JSON under bench/results."""
