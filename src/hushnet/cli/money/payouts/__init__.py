"""`hush payout`: taking earnings out; where they may go; what only the operator can decide of one."""

from hushnet.cli.money.payouts.commands import app

__all__ = ["app"]
