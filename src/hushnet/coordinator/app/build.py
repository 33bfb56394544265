"""The composition root: every part is made here, once, and given what it needs."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from typing import Final

from sqlalchemy import Connection, text
from starlette.routing import Route

from hushnet.coordinator.api import discovery, openapi
from hushnet.coordinator.api.account import AccountApi
from hushnet.coordinator.api.admin import AdminApi, AdminRoutingApi
from hushnet.coordinator.api.chat import ChatEndpoint
from hushnet.coordinator.api.dispatch import Dispatcher
from hushnet.coordinator.api.health import Check, HealthApi
from hushnet.coordinator.api.http import HttpListener
from hushnet.coordinator.api.idempotency import RequestOnce
from hushnet.coordinator.api.models import ModelsApi
from hushnet.coordinator.api.money.bounded_keys import bounded
from hushnet.coordinator.api.provider_socket import ListenerSettings, ProviderListener
from hushnet.coordinator.api.records import RecordsApi
from hushnet.coordinator.app import addresses
from hushnet.coordinator.app.coordinator import Coordinator
from hushnet.coordinator.app.initialise import prepare_files
from hushnet.coordinator.app.joints import KeyTokens, Markups, WatchedGate, end_links
from hushnet.coordinator.app.money import Opened
from hushnet.coordinator.app.rails import Rails, join_rails
from hushnet.coordinator.app.services import Services, build_services
from hushnet.coordinator.app.workers import Place, bury, join_bus
from hushnet.coordinator.fleet.beliefs import BeliefPolicy
from hushnet.coordinator.fleet.reputation.keeper import RecordKeeper
from hushnet.coordinator.ledger.prices import TermsTable
from hushnet.coordinator.ledger.service import Ledger
from hushnet.coordinator.ledger.writing.settings import LedgerSettings
from hushnet.coordinator.routing.warmth import WarmLimits
from hushnet.coordinator.serving.assembly import Serving, build_serving
from hushnet.coordinator.serving.settings import ServingLimits
from hushnet.coordinator.settings import CoordinatorSettings, PricingSettings, ServingSettings, by_tier
from hushnet.coordinator.settings.payouts import HOUR_MS
from hushnet.coordinator.storage import Database, open_ledger_store
from hushnet.coordinator.storage.ledger_store import SqlLedgerStore
from hushnet.coordinator.storage.records import SqlRecordStore
from hushnet.coordinator.telemetry import Metrics, ServingMetrics
from hushnet.foundation.clock import Clock
from hushnet.foundation.money import BASIS_POINTS_ONE
from hushnet.foundation.tasks import TaskSet

CHAT_PATH: Final = "/v1/chat/completions"
SETTLING_S: Final = 5.0
"""Requests that the drain time has cut off settle first; only then their connections are cut."""


async def build(settings: CoordinatorSettings, clock: Clock, *, place: Place | None = None) -> Coordinator:
    """Open the database and the ledger and join all parts; nothing listens yet. `place` makes it one of several workers.

    Raises `ConfigurationError` and `StorageError`; then nothing is left open.
    """
    prepare_files(settings)
    database = await Database.open(settings.database.reveal())
    try:
        store = open_ledger_store(database)
        if place is not None:
            await bury(store, place.fallen)
        maturity_ms = settings.payouts.maturity_h * HOUR_MS
        ledger = await Ledger.open(store, clock, settings=LedgerSettings(maturity_ms=maturity_ms))
    except BaseException:
        await database.aclose()
        raise
    try:
        assert isinstance(store, SqlLedgerStore)
        return _joined(settings, clock, Opened(database, store, ledger), place)
    except BaseException:
        await ledger.aclose()
        await database.aclose()
        raise


def _joined(settings: CoordinatorSettings, clock: Clock, opened: Opened, place: Place | None) -> Coordinator:
    services, tasks = build_services(settings, clock, opened), TaskSet()
    serving = _serving(services)
    rails = join_rails(services, serving, is_first=place is None or place.number == 1)
    services.accounts.subscribe(partial(end_links, serving.fleet))
    services.discounts.subscribe(serving.fleet.reprice)
    gate = WatchedGate(serving.gate, services.providers, serving.fleet, tasks)
    bus = join_bus(place, serving, services)
    listener = ListenerSettings(network=settings.network, is_port_shared=place is not None)
    faults = services.metrics.counter("hush_link_faults_total", "Rules of the link that providers broke", ("code",))
    dispatcher = _dispatcher(services, serving, rails)
    coordinator = Coordinator(
        settings=settings,
        database=opened.database,
        ledger=opened.ledger,
        accounts=services.accounts,
        catalog=services.catalog,
        money=rails.money,
        discounts=services.discounts,
        providers=services.providers,
        records=_records(opened.database, serving, place),
        keeper=rails.books.keeper if place is None or place.number == 1 else None,
        serving=serving,
        dispatcher=dispatcher,
        http=_http(settings, dispatcher, services.metrics, is_port_shared=listener.is_port_shared),
        links=ProviderListener(gate, listener, clock, on_fault=faults.add),
        bus=bus,
        metrics=services.metrics,
        tasks=tasks,
    )
    dispatcher.add_routes(_health(coordinator, clock).routes())
    _show(services.metrics, coordinator, serving)
    return coordinator


def _dispatcher(services: Services, serving: Serving, rails: Rails) -> Dispatcher:
    settings = services.settings
    chat = ChatEndpoint(
        serving.service,
        services.accounts,
        settings.http,
        once=RequestOnce(serving.service, services.bounds.books),
        walk_ins=rails.walk_ins,
    )
    return Dispatcher(
        hot={CHAT_PATH: {"POST": chat}},
        routes=bounded(
            [*_routes(services, serving, rails), *rails.money.routes], services.accounts, services.bounds.budgets
        ),
        metrics=services.metrics,
        clock=services.clock,
        is_access_logged=settings.log.access,
    )


def _http(
    settings: CoordinatorSettings, dispatcher: Dispatcher, metrics: Metrics, *, is_port_shared: bool
) -> HttpListener:
    http = replace(settings.http, drain_s_max=settings.http.drain_s_max + SETTLING_S)
    return HttpListener(dispatcher, settings=http, metrics=metrics, is_port_shared=is_port_shared)


def _serving(services: Services) -> Serving:
    settings = services.settings
    limits = serving_limits(settings.serving, settings.pricing)
    return build_serving(
        network=settings.network,
        clock=services.clock,
        ledger=services.opened.ledger,
        tariffs=services.catalog,
        markups=Markups(limits.terms, services.discounts),
        tokens=KeyTokens(services.accounts),
        limits=limits,
        telemetry=ServingMetrics(services.metrics),
        beliefs=BeliefPolicy(tools_agent_version_min=settings.fleet.tools_agent_version_min),
        budgets=services.bounds.budgets,
    )


def _routes(services: Services, serving: Serving, rails: Rails) -> list[Route]:
    """Everything but chats, money and health."""
    accounts, catalog, providers = services.accounts, services.catalog, services.providers
    ledger, fleet, clock = services.opened.ledger, serving.fleet, services.clock
    admin = AdminApi(accounts, ledger, catalog, grants=rails.grants, providers=providers, fleet=fleet, clock=clock)
    return [
        *ModelsApi(fleet, catalog, clock).routes(),
        *discovery.routes(serving),
        *openapi.routes(),
        *AccountApi(accounts, ledger, rails.books.reports, services.bounds.budgets).routes(),
        *RecordsApi(accounts, providers, fleet, clock).routes(),
        *AdminRoutingApi(accounts, catalog, serving).routes(),
        *admin.routes(),
    ]


def _records(database: Database, serving: Serving, place: Place | None) -> RecordKeeper:
    worker = place.number if place is not None else 0
    return RecordKeeper(SqlRecordStore(database), serving.fleet.records, serving.clock, worker=worker)


def _health(coordinator: Coordinator, clock: Clock) -> HealthApi:
    settings, metrics, bus = coordinator.settings, coordinator.metrics, coordinator.bus
    return HealthApi(
        checks=_checks(coordinator),
        metrics=lambda: bus.metrics(metrics.render()),
        clock=clock,
        network=settings.network,
        version=own_version(),
        link_url=lambda host: addresses.link_url(settings, coordinator.link_port, asked_host=host),
        worker=bus.worker,
    )


def serving_limits(settings: ServingSettings, pricing: PricingSettings | None = None) -> ServingLimits:
    """Return serving's limits with what the operator chose; the rest stays as serving sets it."""
    return ServingLimits(
        queue_s_max=settings.queue_s_max,
        request_s_max=settings.request_s_max,
        first_content_s_max=settings.first_content_s_max,
        hedge_share=settings.hedge_share,
        idle_s_max=settings.idle_s_max,
        attempts_max=settings.attempts_max,
        output_tokens_default=settings.output_tokens_default,
        warm=WarmLimits(dwell_s=settings.model_dwell_s),
        pins=settings.pins(),
        terms=_terms(settings, pricing or PricingSettings()),
    )


def _terms(settings: ServingSettings, pricing: PricingSettings) -> TermsTable:
    return TermsTable(
        fee_bps=settings.platform_fee_bps,
        referral_bps=pricing.referral_bps,
        tier_bps=by_tier(pricing.tier_price_bps, BASIS_POINTS_ONE),
        share_bps=by_tier(pricing.tier_share_bps, settings.provider_share_bps),
    )


def own_version() -> str:
    """Return this distribution's version."""
    try:
        return version("hushnet")
    except PackageNotFoundError:
        return "0"


def _checks(coordinator: Coordinator) -> Mapping[str, Check]:
    """What readiness means: the database takes a write, the ledger holds its lane, providers can dial, no shutdown."""

    async def database() -> bool:
        return await coordinator.database.write(_touch)

    async def ledger() -> bool:
        return coordinator.ledger.next_request_id() > 0

    async def link() -> bool:
        host = addresses.reachable(coordinator.settings.link.host)
        _, writer = await asyncio.open_connection(host, coordinator.link_port)
        writer.close()
        return True

    async def serving() -> bool:
        return not coordinator.is_stopping

    return {"database": database, "ledger": ledger, "link": link, "serving": serving}


def _touch(connection: Connection) -> bool:
    return bool(connection.execute(text("SELECT 1")).scalar_one())


def _show(metrics: Metrics, coordinator: Coordinator, serving: Serving) -> None:
    metrics.gauge("hush_requests_running", "Requests that are not settled yet", lambda: serving.service.running)
    metrics.gauge("hush_queue_waiting", "Requests that wait for a provider", lambda: serving.service.waiting)
    metrics.gauge("hush_models_loading", "Loads that providers were asked for", lambda: serving.service.pool.loading)
    metrics.gauge("hush_providers_connected", "Provider links that are registered", lambda: coordinator.links.links)
    metrics.gauge("hush_http_connections", "Open HTTP connections", lambda: coordinator.http.connections)
    watch = coordinator.money.watch
    metrics.gauge("hush_money_findings_open", "What a person has to look at", lambda: watch.waiting.findings)
    metrics.gauge("hush_payment_events_waiting", "Events not applied yet", lambda: watch.waiting.events_waiting)
    metrics.gauge("hush_payment_events_stuck", "Events given up", lambda: watch.waiting.events_stuck)
    metrics.gauge("hush_payment_calls_due", "Calls out not done yet", lambda: watch.waiting.calls_due)
    metrics.gauge("hush_payment_calls_in_doubt", "Calls that are looked up", lambda: watch.waiting.calls_in_doubt)
