"""How fast the ledger is, what a request waits for it, and how many random histories it lived through: README.md."""
