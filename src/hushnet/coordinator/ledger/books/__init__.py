"""The books: what stands beside the hot path and proves it, from rows that were committed.

Nouns: a *link* of the audit chain (`audit`); a *finding* of the daily proof (`check`); a closed *day* with its balances
(`days`, `closing`); the *root* over what is owed to owners, and a *proof* against it (`tree`, `liabilities`).
"""
