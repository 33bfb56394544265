"""Waiting for capacity: a bounded, fair queue a model.

Nouns: ticket, lane (the tickets of one account), limits. A domain of the coordinator: it imports no other domain and
does no I/O; `serving/route.py` decides when it is drained.
"""
