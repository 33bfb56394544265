"""What a provider's past says of its next request. Nouns: outcome, evidence, record, standing, book, keeper.

outcomes.py   how an attempt ended, as far as its provider is concerned
evidence.py   decaying sums for and against, weighed against a prior
uptime.py     OpenRouter's uptime of a provider with a model
speed.py      the decode rate that was seen
record.py     one provider's evidence, its score, and what that costs it in routing
book.py       every provider's record: outlives links
keeper.py     the store of records: outlives restarts
explain.py    a record in figures and plain words

Everything but the book's clock and the keeper is pure: time is passed in. docs/reputation.md has the formulas.
"""
