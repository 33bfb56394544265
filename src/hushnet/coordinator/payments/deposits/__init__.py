"""Money in by card: Checkouts, saved cards and top-ups, refunds and disputes, all through Stripe.

model.py            the rows: deposit, reversal, customer
transitions.py      what each thing that Stripe tells does: two tables
facts.py            the facts that go with it: pure
crediting.py        a payment, credited once or kept in suspense
reversing.py        refunds and disputes, step by step
payment_events.py   webhooks of Checkouts and payments
reversal_events.py  webhooks of refunds and disputes
callers.py          what Stripe is asked
service.py          what owners and operators ask
topups.py           saved cards and automatic top-ups
reconciling.py      what Stripe's books say beside ours
assembly.py         all of it, joined

A deposit is written down first, then Stripe is asked, then Stripe tells; each of the three may be repeated, lost or late,
and money moves once (design/ledger.md sections 4, 7 and 9).
"""
