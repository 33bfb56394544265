"""The `hush` command line: a table of commands, of which only the one that runs is imported.

A leaf module exposes `command` (a function with Typer annotations), a group exposes `app` (a `typer.Typer`).
Adding a command is one row in `COMMANDS` and one module.
"""

from __future__ import annotations

import errno
import importlib
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Annotated

import typer

from hushnet.cli import console
from hushnet.cli.local import processes
from hushnet.foundation.errors import ConfigurationError, HushnetError

_FILE_HINTS = {
    errno.EEXIST: "it is never overwritten: name a file that is not there yet",
    errno.ENOENT: "check how it is spelled, and that its folder is there",
}
CONSUMER, PROVIDER, OPERATOR = "Use models", "Serve models", "Run a network"


@dataclass(frozen=True, slots=True)
class Row:
    """One command: its name, its module, one line of help, and its place in the list."""

    name: str
    module: str
    help: str
    panel: str
    is_group: bool = False


COMMANDS = (
    Row("up", "up", "Start a private inference network on this machine, with a demo account.", OPERATOR),
    Row("chat", "chat", "Chat with a model; sealed end to end by default.", CONSUMER),
    Row("models", "models", "List the models on offer, their prices and who serves them.", CONSUMER),
    Row("proxy", "proxy", "Serve a local OpenAI endpoint that verifies and seals for any tool.", CONSUMER),
    Row("balance", "balance", "Show what is left to spend.", CONSUMER),
    Row("deposit", "money.deposit", "Put money in by card or with coins; top up by itself.", CONSUMER, is_group=True),
    Row("usage", "money.usage", "Show what you used and what it cost.", CONSUMER),
    Row("statement", "money.statement", "Write a statement of your account as CSV.", CONSUMER),
    Row("keys", "keys", "Create, list and revoke API keys.", CONSUMER, is_group=True),
    Row(
        "pricing", "money.pricing", "Show what models cost and what machines take off; set it.", CONSUMER, is_group=True
    ),
    Row("invite", "money.invites", "Redeem an invite; as the operator, make some.", CONSUMER, is_group=True),
    Row("referral", "money.referrals", "Your code for others, and who brought you.", CONSUMER, is_group=True),
    Row("coins", "money.coins", "See which coins are taken; pay in with coins.", CONSUMER, is_group=True),
    Row("budget", "money.budget", "Bound what keys and the account may spend.", CONSUMER, is_group=True),
    Row("account", "account", "Close an account; as the operator, make, credit and bar them.", CONSUMER, is_group=True),
    Row("doctor", "doctor", "Say what each part believes and why.", CONSUMER),
    Row("provider", "provider", "Serve models from this machine and earn.", PROVIDER, is_group=True),
    Row("earnings", "money.earnings", "Show what your machines earned and what you can withdraw.", PROVIDER),
    Row("repay", "money.repay", "Repay what the account owes from what it has earned.", PROVIDER),
    Row("payout", "money.payouts", "Take earnings out, and say where they may go.", PROVIDER, is_group=True),
    Row("coordinator", "coordinator", "Run the control plane and the relay.", OPERATOR, is_group=True),
    Row("ledger", "ledger", "Check, close, export and prove the books.", OPERATOR, is_group=True),
    Row("findings", "money.findings", "See what does not add up and waits for a person.", OPERATOR, is_group=True),
    Row("wallet", "money.wallets", "Look at wallets that pay per use; bar and unbar them.", OPERATOR, is_group=True),
    Row("correct", "money.corrections", "Give back what went wrong; adjust balances.", OPERATOR, is_group=True),
    Row("route", "route", "Say where requests go and why.", OPERATOR, is_group=True),
)


def build(arguments: Sequence[str]) -> typer.Typer:
    """Make the application for `arguments`; other commands appear as names with their help only."""
    root = typer.Typer(
        name="hush",
        help="Hushnet: private inference on machines that people own.",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    root.callback()(_root)
    wanted = next((word for word in arguments if not word.startswith("-")), "")
    for row in COMMANDS:
        _add(root, row, is_wanted=row.name == wanted)
    return root


def main() -> None:
    """Run the command line; an expected error is one line, a hint, and exit status 1 (2 when this machine needs a change).

    A reader that has gone (`hush models | head -1`) ends a command quietly with status 1: Typer and Rich see to it.
    """
    processes.die_with_parent_when_asked()
    try:
        build(sys.argv[1:])()
    except HushnetError as error:
        console.print_error(error)
        sys.exit(2 if isinstance(error, ConfigurationError) else 1)
    except ModuleNotFoundError as error:
        console.print_error(missing_extra(error))
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)
    except OSError as error:
        if (refusal := refused_file(error)) is None:
            raise
        console.silence_stdout()
        console.print_error(refusal)
        sys.exit(2)


def _print_version(is_asked: bool) -> None:
    if is_asked:
        from importlib.metadata import version

        typer.echo(f"hush {version('hushnet')}")
        raise typer.Exit


def _root(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", is_eager=True, callback=_print_version)
    ] = False,
) -> None:
    """Hushnet: private inference on machines that people own."""


def _add(root: typer.Typer, row: Row, *, is_wanted: bool) -> None:
    if not is_wanted:
        root.command(row.name, help=row.help, rich_help_panel=row.panel)(_unloaded)
        return
    module = _load(row)
    if row.is_group:
        is_help = not module.app.info.invoke_without_command
        root.add_typer(module.app, name=row.name, help=row.help, rich_help_panel=row.panel, no_args_is_help=is_help)
    else:
        command: Callable[..., None] = module.command
        root.command(row.name, help=command.__doc__, rich_help_panel=row.panel)(command)


def _load(row: Row) -> ModuleType:
    return importlib.import_module(f"hushnet.cli.{row.module}")


def missing_extra(error: ModuleNotFoundError) -> ConfigurationError:
    """Say which part of the distribution is not installed; raises `error` itself when it is one of our own modules."""
    if not error.name or error.name.partition(".")[0] == "hushnet":
        raise error
    return ConfigurationError(
        f"this command needs the package {error.name}, which is not installed",
        code="missing_extra",
        hint="install the part that it belongs to, or all: pip install 'hushnet[all]'",
    )


def refused_file(error: OSError) -> ConfigurationError | None:
    """Say which file the machine refused, or that it is full; None when the error is about neither."""
    reason = error.strerror or type(error).__name__
    if error.filename is not None:
        hint = _FILE_HINTS.get(
            error.errno or 0, "check who may read and write there, or choose another home with --home or HUSH_HOME"
        )
        return ConfigurationError(f"{error.filename} can't be used ({reason})", code="file_refused", hint=hint)
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return ConfigurationError(f"nothing more can be written ({reason})", code="no_space", hint="make room for it")
    return None


def _unloaded() -> None:
    """Stand for a command that this run does not use."""
