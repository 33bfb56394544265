"""What is let in, and in which order: a bounded, fair queue a model, and the envelopes that were seen before.

Nouns: ticket, lane (the tickets of one account), limits, pace (how fast a queue moves), keeping (who is kept for whom), envelope memory. A domain of the coordinator: it imports no other domain and
does no I/O; `serving/route.py` decides when it is drained.
"""
