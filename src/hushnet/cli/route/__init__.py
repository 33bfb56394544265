"""`hush route`: what the router knows and why it decides as it does, for the operator of a network.

`commands.py` asks the coordinator, `operator.py` finds the operator's key, `tables.py` writes what people read.
"""

from hushnet.cli.route.commands import app

__all__ = ["app"]
