"""The live providers: what each has proved, what it can take now, and the link to it.

Nouns: provider, owner, slot (capacity taken by an attempt), health, gate (what links report to), stock
(who has which model loaded), warm pool (what is loaded where). A domain of the coordinator: it imports no other domain;
what it needs of accounts and trust it states in `store.py`.
"""
