"""The books of a coordinator, joined: who closes days, and what accounts may read."""

from __future__ import annotations

from dataclasses import dataclass

from starlette.routing import Route

from hushnet.coordinator.accounts import Accounts
from hushnet.coordinator.api.money.books import BooksApi
from hushnet.coordinator.api.money.usage import UsageApi
from hushnet.coordinator.ledger.books.keeper import BookKeeper
from hushnet.coordinator.ledger.service import Ledger
from hushnet.coordinator.settings import CoordinatorSettings
from hushnet.coordinator.storage import Database
from hushnet.coordinator.storage.books.days import SqlDayStore
from hushnet.coordinator.storage.books.keys import load_book_keys
from hushnet.coordinator.storage.books.reports import SqlReportStore
from hushnet.foundation.clock import Clock


@dataclass(frozen=True, slots=True)
class BookParts:
    """What a coordinator runs and answers for its books."""

    keeper: BookKeeper
    reports: SqlReportStore
    routes: tuple[Route, ...]


def join_books(
    settings: CoordinatorSettings, clock: Clock, database: Database, *, accounts: Accounts, ledger: Ledger
) -> BookParts:
    """Make the books' parts; raises `ConfigurationError` when their files in the home are not sound."""
    reports = SqlReportStore(database)
    keeper = BookKeeper(SqlDayStore(database), load_book_keys(settings.home), clock, network=settings.network)
    apis = (UsageApi(accounts, ledger, reports, clock), BooksApi(accounts, keeper))
    return BookParts(keeper, reports, tuple(route for api in apis for route in api.routes()))
