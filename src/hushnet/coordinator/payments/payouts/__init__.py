"""Payouts: earnings on their way to their owner, over a rail, with books that end whole or paid.

Nouns: *method* (where an owner wants money to go), *payout* (one amount on its way), *step* (what an event does to it),
*rail* (`stripe`: a transfer to the owner's account at Stripe Connect and a payout on it; `coin`: coins through a gateway).

model.py        the rows
transitions.py  the table of states, pure
fees.py         gross, fee and net, pure
books.py        the fact of each step, pure
moves.py        an event applied to a payout: row, fact and next call in one transaction
methods.py      where money may go: one default, a cool-down, nothing deleted
asking.py       asking for a payout and cancelling it
plans.py        payouts that nobody has to ask for
service.py      payouts as the API calls them
calling.py      a call is sent only while its payout waits for it
connect.py      what is needed of Stripe Connect, and onboarding
stripe_rail.py  the three calls to Stripe
coin_rail.py    what is needed of a coin's gateway, and the call to it
events.py       what Stripe's webhooks tell
matching.py     which of Stripe's balance transactions are payouts
sweep.py        sending what was requested; asking the rail about payouts that take too long; balances that must agree

Place on the map: inside payments, above the ledger.
"""
