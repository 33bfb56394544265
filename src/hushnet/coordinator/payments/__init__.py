"""Money in and out through others: what they tell us (webhooks), what we ask of them (calls), and what we make of it.

inbox.py       events received, each applied once, in any order, however often it is delivered
calls.py       calls out, written down before they are sent, repeated with the same key until their outcome is known
model.py       the rows of both, and findings: what only a person can decide
one_by_one.py  a pass over rows of a rail of which none holds up the others
watch.py       how much waits, for the metrics
retention.py   what is forgotten after 90 days
debts.py       what is owed is repaid out of deposits as they become available, and out of earnings when their owner asks
closing.py     closing an account for good

Nouns: a *rail* is a way that money takes (stripe, coinpay, btcpay, x402); an *event* is what a rail tells us; a *call* is
what we ask of it; a *finding* is what does not add up. Place on the map: beside serving, above the ledger.
"""
