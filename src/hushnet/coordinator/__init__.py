"""The control plane and the relay.

Layers, imports only point down: `app > api | storage > serving > confidential > accounts, admission, catalog, fleet,
ledger, telemetry, trust > routing > settings`. Domains never import one another, nor storage: each states the store it
needs in its own `store.py`; `serving` carries data between domains; `app` joins everything.
"""
