"""The live providers: what each has proved, what it can take now, and the link to it.

Nouns: provider, owner, slot (capacity taken by an attempt), health (recent failures), steadiness (recent joins), record and
reputation (what was seen of it over days), belief and doubt (what is made of its claims), gate (what links report to), roll (who is
here by name), affinity (who has read which prefix), stock (who has which model loaded), warm pool (what is loaded where). A domain of the coordinator: it imports no other domain;
what it needs of accounts and trust it states in `store.py`.
"""
