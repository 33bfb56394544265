"""Credit that is given rather than bought: promo grants, invites, referrals, base rewards, credits for bad service.

model.py        the rows
codes.py        what invite and referral codes look like
grants.py       promo credit, and its expiry first in first out
invites.py      codes that give promo credit, once an account
referrals.py    who brought whom, and the daily share of the fee
rewards/        what available machines get out of a monthly pool
programmes.py   what an operator gives in a period, and what one operator's key gives alone, as budgets of the ledger
corrections.py  credits for a request that was served badly, and what an operator puts right by hand
posting.py      what refusals of the ledger are told as
service.py      all of it together, and its rounds

Beside `payments` and `serving`, above the ledger: rows and facts change in one transaction (`ledger.transaction`).
"""
