"""`hush coins`: which coins are taken and paying in with them; what only the operator knows of coins."""

from hushnet.cli.money.coins.commands import app

__all__ = ["app"]
