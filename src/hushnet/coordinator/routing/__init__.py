"""Who serves this: a pure function from a view of the fleet and a request to `Assignment | Wait | Refusal`.

Nouns: candidate, view, request, assignment, wait, refusal. Pure: no clock, no randomness (the seed is passed in), no
I/O. Place on the map: below every domain of the coordinator, above settings.
"""
