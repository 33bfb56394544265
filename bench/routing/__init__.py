"""How fast a routing decision is, and how good: README.md beside this says how to read it.

Nouns: machine (what a simulated provider is), engine (what it does), trace (machines and the requests that arrive),
policy (who chooses), run (one policy on one trace). Everything is seeded; nothing needs a network, root or another package.
"""
