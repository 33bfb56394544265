"""Coins in and out: invoices that gateways quote and watch, payouts in coins, and what they mean for the books.

assets.py      the sixteen pairs of a coin and a network
units.py       amounts as integers, from and to text
rates.py       micro-USD per whole coin
addresses.py   checks per coin and network
uris.py        payment URIs for wallets
model.py       the row of an invoice; quotes and sightings
states.py      the table of an invoice's states
accounting.py  what a sighting means for an invoice and the books, pure
invoices.py    asking for invoices, and the call to the gateway
intake.py      what gateways tell, applied; looks at invoices nothing was heard of; strays
rail.py        sending a payout's coins
settlement.py  batches of payouts, under limits
by_hand.py     the signed file of payouts that the operator sends
operator.py    what only the operator knows

Nouns: a *pair* is an asset on a network, a *quote* what a gateway asks for an invoice, a *sighting* what it says about the
coins of one, a *stray* coins that belong to no invoice. Place on the map: inside payments, above the ledger; `gateways/`
does the I/O.
"""
