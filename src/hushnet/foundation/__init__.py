"""What every package stands on: errors, clock, ids, money, tasks, redaction, logs, home.

Lowest place on the map: it imports nothing of ours.
"""
