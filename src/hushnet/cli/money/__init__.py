"""The commands that show and move money: one module a topic.

earnings.py     `hush earnings`: what one's machines earned
findings.py     `hush findings`: what the operator has to look at
pricing.py      `hush pricing`: what models cost, and one's own discounts
sums.py         sums by day, model, key or machine as people and scripts read them
statement.py    `hush statement`: one's account as CSV
usage.py        `hush usage`: what one used and what it cost
"""
