"""Money over HTTP: one module a topic, each with a class that has `routes()`.

books.py        a closed day's signed root, and the proof of what one is owed
findings.py     what only a person can decide: findings, stuck events, calls whose outcome nobody knows
pricing.py      what models cost, and the discounts of those who serve them
periods.py      reading from, to and the other parameters of reports
usage.py        what one used, spent and earned, and statements
"""
