"""Money over HTTP: one module a topic, each with a class that has `routes()`.

books.py            a closed day's signed root, and the proof of what one is owed
bounded_keys.py     what a key with a budget may not do
budgets.py          how much keys, accounts and single requests may cost
closing.py          closing an account for good
coins/              coins that are taken, invoices, the gateways' webhooks; settlement batches and what only the operator knows
corrections.py      credits for requests that went wrong, adjustments of balances
debts.py            repaying what one owes from one's earnings
deposits.py         deposits by card, automatic top-ups, the operator's refunds
findings.py         what only a person can decide: findings, stuck events, calls whose outcome nobody knows
incentives.py       invites and referrals
payouts.py          where earnings may go, payouts, and those that a person has to look at
periods.py          reading from, to and the other parameters of reports
pricing.py          what models cost, and the discounts of those who serve them
stripe_webhooks.py  where Stripe tells
usage.py            what one used, spent and earned, and statements
x402.py             requests without a key that pay for themselves
"""
