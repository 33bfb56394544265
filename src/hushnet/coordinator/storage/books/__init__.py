"""What the books read and keep beside the ledger's hot path: closed days, reports, and the coordinator's two files."""
