"""The ledger: double entry in micro-USD, holds with one finaliser, facts with one key, and the proof that books balance.

Nouns: an *operation* (hold, close, fact) asks; `plan` decides, purely; the *writer* commits operations that arrive
together in one transaction; a *store* keeps rows; the *sweeper* finalises what a dead process left open; `check` proves.
Place on the map: a domain of the coordinator. It states the store that it needs (`store.py`) and imports no other domain.
Normative source: docs/ledger.md.
"""
