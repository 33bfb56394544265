"""Who serves this: a pure function from a view of the fleet and a request to `Assignment | Wait | Refusal`.

    index.py, rates.py      the candidates of a model, in the order in which a decision looks at them
    filters.py, cost.py     who may, and what it would cost
    router.py               the decision; explain.py and summary.py show it to operators
    warmth.py               which models stay loaded where, with demand.py, holdings.py, need.py and asked.py

Nouns: candidate, traits (what many candidates share), view, request, assignment, wait, refusal. Pure: no clock, no randomness (the seed is passed in), no
I/O. Place on the map: below every domain of the coordinator, above settings.
"""
