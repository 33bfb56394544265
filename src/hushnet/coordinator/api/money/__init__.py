"""Money over HTTP: one module a topic, each with a class that has `routes()`.

findings.py     what only a person can decide: findings, stuck events, calls whose outcome nobody knows
pricing.py      what models cost, and the discounts of those who serve them
"""
