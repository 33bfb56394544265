"""`hush coordinator`: run one, and the keys of its operators, which are made on its machine alone."""

from hushnet.cli.coordinator.commands import app

__all__ = ["app"]
