"""`hush account`: closing one's own; as the operator, making accounts, giving them credit, barring and closing them."""

from hushnet.cli.account.commands import app

__all__ = ["app"]
