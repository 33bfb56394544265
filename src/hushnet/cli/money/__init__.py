"""The commands that show and move money: one module a topic.

budget.py       `hush budget`: what may be spent per key, account and request
coins/          `hush coins`: which coins are taken, paying in with them, what the operator says of them
corrections.py  `hush correct`: credits for requests, adjustments of balances
deposit.py      `hush deposit`: money in by card, and top-ups
earnings.py     `hush earnings`: what one's machines earned
findings.py     `hush findings`: what the operator has to look at
invites.py      `hush invite`: codes that give credit
payouts/        `hush payout`: take earnings out
pricing.py      `hush pricing`: what models cost, and one's own discounts
referrals.py    `hush referral`: who brought whom
refunds.py      `hush correct deposit|refund`: money back to a card
repay.py        `hush repay`: repay a debt from earnings
settlement.py   `hush ledger settle`: sending the coin payouts that are due
statement.py    `hush statement`: one's account as CSV
sums.py         sums by day, model, key or machine as people and scripts read them
usage.py        `hush usage`: what one used and what it cost
wallets.py      `hush wallet`: who pays by x402, barring and unbarring them
"""
