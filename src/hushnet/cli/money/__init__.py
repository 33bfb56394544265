"""The commands that show and move money: one module a topic.

findings.py     `hush findings`: what the operator has to look at
pricing.py      `hush pricing`: what models cost, and one's own discounts
"""
