"""Engines: what runs a model. `base` is the protocol, one file an engine, `registry` finds them by entry point.

Part of the provider; knows dialects and foundation, nothing of sealing, links or money.
"""
