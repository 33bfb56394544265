"""The provider agent: a machine that dials out, proves what it is, and serves models.

Nouns: identity (one file), settings, engine (a plug-in), model (files and what resolves them), link, attempt (one try of
one request), supervision (the engine's life), daemon (the process's life). `attempt` has the life of an attempt step by
step; `serving` is the only place that opens a request.

Place on the map: below `cli`, beside `coordinator` and `sdk`, which it never imports.
"""
