"""The server: a thread with a real socket, the pipeline of one request, and what a test may make happen."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import httpx
import uvicorn
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from support.stripe_fake import connect, payments, webhooks
from support.stripe_fake.faults import Fault, Faults
from support.stripe_fake.forms import parse_form
from support.stripe_fake.idempotency import IdempotencyKeys, in_progress
from support.stripe_fake.problems import StripeProblem
from support.stripe_fake.requests import Asked, check_parameters, find_endpoint
from support.stripe_fake.webhooks import Delivered, Endpoint
from support.stripe_fake.world import PLATFORM, Thing, World, shown

TRANSPORTS: dict[tuple[str, int], asyncio.Transport] = {}


class _Protocol(H11Protocol):
    """Remembers each client's connection, so that a fault can reset it."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        TRANSPORTS[transport.get_extra_info("peername")[:2]] = transport

    def connection_lost(self, exc: Exception | None) -> None:
        TRANSPORTS.pop(self.transport.get_extra_info("peername")[:2], None)
        super().connection_lost(exc)


class FakeStripe:
    """One Stripe. Requests run one at a time under `lock`; the control methods take it too."""

    def __init__(self, *, api_key: str = "sk_test_fake", now_s: Callable[[], int] = lambda: int(time.time())) -> None:
        self.api_key = api_key
        self.base_url = ""
        self.lock = threading.RLock()
        self.keys = IdempotencyKeys()
        self.faults = Faults()
        self.world = World(now_s)
        self.endpoints: list[Endpoint] = []
        self.requests: list[tuple[str, dict[str, Any], str]] = []
        """(`METHOD /path`, parameters, idempotency key) of every request that came, replays included."""
        self._sent: set[str] = set()

    def reset(self) -> None:
        """Forget everything but the address, the key and the endpoints."""
        with self.lock:
            self.keys, self.faults, self.world = IdempotencyKeys(), Faults(), World(self.world.now_s)
            self.requests, self._sent = [], set()

    # What tests ask of the wire.

    def fail(self, pattern: str, fault: Fault, *, times: int = 1, skip: int = 0) -> None:
        """Let the next `times` requests that match `METHOD /path` (a regular expression) suffer, after `skip` of them."""
        with self.lock:
            self.faults.add(pattern, fault, times=times, skip=skip)

    def asked(self, pattern: str) -> int:
        """How many requests `METHOD /path` have come."""
        with self.lock:
            return sum(request == pattern for request, _, _ in self.requests)

    def listen(self, url: str, secret: str, *, is_connect: bool = False) -> Endpoint:
        """Send the account's events (or those of connected accounts) to `url`."""
        self.endpoints.append(Endpoint(url, secret, is_connect))
        return self.endpoints[-1]

    def pending(self) -> list[Thing]:
        """The events that `deliver` would send now."""
        with self.lock:
            return [shown(event) for event in self.world.events if event["id"] not in self._sent]

    def deliver(
        self,
        events: Sequence[Thing] | None = None,
        *,
        times: int = 1,
        at_s: int | None = None,
        client: httpx.Client | None = None,
    ) -> list[Delivered]:
        """POST `events` (those not yet accepted when None), in that order, each `times`, and say what was answered.

        An event is due until one delivery was answered with 2xx. Pass a shuffled or doubled list for other orders.
        It blocks: a test whose own loop serves the endpoint calls it through `asyncio.to_thread`.
        """
        done = []
        at = self.world.now_s() if at_s is None else at_s
        with client or httpx.Client(timeout=60) as door:
            for event in self.pending() if events is None else events:
                wanted = [place for place in self.endpoints if place.is_connect == ("account" in event)]
                for _ in range(times):
                    done += [webhooks.send(place, event, at, client=door) for place in wanted]
                if not wanted or any(one.event == event["id"] and 200 <= one.status < 300 for one in done):
                    self._sent.add(event["id"])
        return done

    # What people and banks do.

    def thing(self, kind: str, id_: str) -> Thing:
        """Return an object of a collection: `sessions`, `payment_intents`, `charges`, `refunds`, `disputes`, ..."""
        return self.world.objects[kind][id_]

    def pay(self, session: str, *, is_async: bool = False, currency: str = "", cents: int = 0) -> str:
        """A person pays a Checkout (or saves a card) and the payment intent (or setup intent) is returned.

        `is_async`: a bank debit, complete and unpaid until `settle`. `currency` and `cents` make Stripe report others.
        """
        with self.lock:
            place = self.thing("sessions", session)
            if place["status"] != "open":
                raise AssertionError(f"the Checkout is {place['status']}")
            if place["customer_creation"] == "always" and place["customer"] is None:
                place["customer"] = payments.new_customer(self.world)["id"]
            method = payments.new_method(self.world, place["customer"])
            place["status"] = "complete"
            if place["mode"] == "setup":
                return self._set_up(place, method)
            if not place["_intent"].get("setup_future_usage"):
                method["customer"] = None
            place |= {"amount_total": cents or place["amount_total"], "currency": currency or place["currency"]}
            intent = payments.new_intent(
                self.world,
                place["amount_total"],
                place["currency"],
                customer=place["customer"],
                method=method,
                metadata=place["_intent_metadata"],
            )
            place["payment_intent"] = intent["id"]
            intent["setup_future_usage"] = place["_intent"].get("setup_future_usage")
            if is_async:
                intent["status"] = "processing"
                self.world.emit("payment_intent.processing", intent)
            else:
                payments.succeed_intent(self.world, intent)
                place["payment_status"] = "paid"
            self.world.emit("checkout.session.completed", place)
            return str(intent["id"])

    def _set_up(self, session: Thing, method: Thing) -> str:
        made = self.world.add(
            "setup_intents",
            "seti",
            object="setup_intent",
            customer=session["customer"],
            metadata=session["_setup_metadata"],
            payment_method=method["id"],
            status="succeeded",
            usage="off_session",
        )
        session["setup_intent"] = made["id"]
        self.world.emit("setup_intent.succeeded", made)
        self.world.emit("checkout.session.completed", session)
        return str(made["id"])

    def settle(self, session: str, *, is_paid: bool = True) -> None:
        """The bank debit of a Checkout succeeds or fails, days later."""
        with self.lock:
            place = self.thing("sessions", session)
            intent = self.thing("payment_intents", place["payment_intent"])
            if is_paid:
                payments.succeed_intent(self.world, intent)
                place["payment_status"] = "paid"
            else:
                payments.fail_intent(self.world, intent, "insufficient_funds")
            word = "succeeded" if is_paid else "failed"
            self.world.emit(f"checkout.session.async_payment_{word}", place)

    def expire(self, session: str) -> None:
        """A Checkout runs out of time."""
        with self.lock:
            payments.expire_session(Asked(self.world, {}, (session,), PLATFORM))

    def card(self, customer: str, *, declines: str = "") -> str:
        """Give a customer a saved card and return it; `declines` is a decline code, `authentication_required` included."""
        with self.lock:
            method = payments.new_method(self.world, customer)
            method["_declines"] = declines
            return str(method["id"])

    def decline(self, method: str, reason: str = "insufficient_funds") -> None:
        """From now on charges of this card are declined (an empty reason: no longer)."""
        with self.lock:
            self.thing("payment_methods", method)["_declines"] = reason

    def refund(self, intent: str, cents: int, *, status: str = "succeeded") -> str:
        """A refund made at Stripe's dashboard."""
        with self.lock:
            charge = self.thing("charges", self.thing("payment_intents", intent)["latest_charge"])
            return str(payments.new_refund(self.world, charge, cents, {}, status=status)["id"])

    def end_refund(self, refund: str, *, is_paid: bool) -> None:
        """A pending refund succeeds; any refund may fail later, and the money is back with us."""
        with self.lock:
            thing = self.thing("refunds", refund)
            thing["status"] = "succeeded" if is_paid else "failed"
            if not is_paid:
                thing["failure_reason"] = "expired_or_canceled_card"
                back = self.world.book("refund_failure", thing["amount"], refund)
                thing["failure_balance_transaction"] = back["id"]
                charge = self.thing("charges", thing["charge"])
                charge["amount_refunded"] -= thing["amount"]
                charge["refunded"] = False
            self.world.emit("refund.updated" if is_paid else "refund.failed", thing)

    def dispute(self, intent: str, cents: int = 0, *, is_warning: bool = False) -> str:
        """A cardholder disputes; a warning (an inquiry) moves no funds."""
        with self.lock:
            charge = self.thing("charges", self.thing("payment_intents", intent)["latest_charge"])
            made = self.world.add(
                "disputes",
                "du",
                object="dispute",
                amount=cents or charge["amount"],
                balance_transactions=[],
                charge=charge["id"],
                currency=charge["currency"],
                is_charge_refundable=is_warning,
                metadata={},
                payment_intent=intent,
                reason="fraudulent",
                status="warning_needs_response" if is_warning else "needs_response",
            )
            charge["disputed"] = not is_warning
            self.world.emit("charge.dispute.created", made)
            if not is_warning:
                self.withdraw(made["id"])
            return str(made["id"])

    def withdraw(self, dispute: str) -> None:
        """The funds of a dispute leave our balance (for an inquiry: it has become a dispute)."""
        with self.lock:
            thing = self.thing("disputes", dispute)
            thing["status"] = "needs_response"
            booked = self.world.book("adjustment", -thing["amount"], dispute, fee=payments.DISPUTE_FEE_CENTS)
            thing["balance_transactions"].append(shown(booked))
            self.world.emit("charge.dispute.funds_withdrawn", thing)

    def end_dispute(self, dispute: str, status: str, *, fee_back: bool = False) -> None:
        """`won` brings the funds back, and the fee where Stripe gives it back; `lost` and `warning_closed` bring nothing."""
        with self.lock:
            thing = self.thing("disputes", dispute)
            thing["status"] = status
            if status == "won" and thing["balance_transactions"]:
                fee = -payments.DISPUTE_FEE_CENTS if fee_back else 0
                booked = self.world.book("adjustment", thing["amount"], dispute, fee=fee)
                thing["balance_transactions"].append(shown(booked))
                self.world.emit("charge.dispute.funds_reinstated", thing)
            self.world.emit("charge.dispute.closed", thing)

    def fund(self, cents: int, *, account: str = PLATFORM) -> None:
        """Money of ours arrives at Stripe from outside (a top-up)."""
        with self.lock:
            self.world.book("topup", cents, self.world.new_id("tu"), account=account)

    def onboard(self, account: str, *, is_enabled: bool = True, instant: bool = True) -> None:
        """The owner of a connected account finishes Stripe's forms; or Stripe disables it."""
        with self.lock:
            thing = self.thing("accounts", account)
            thing["_instant"] = instant
            connect.onboard(self.world, thing, is_enabled=is_enabled)

    def reverse(self, transfer: str) -> None:
        """Somebody reverses a transfer at Stripe's dashboard."""
        with self.lock:
            thing = self.thing("transfers", transfer)
            connect.reverse(self.world, thing, thing["amount"] - thing["amount_reversed"], {})

    def end_payout(self, payout: str, status: str) -> None:
        """The bank's word on a payout: `in_transit`, `paid`, `failed`, `canceled`."""
        with self.lock:
            connect.end_payout(self.world, self.thing("payouts", payout), status)

    # The pipeline of one request.

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        request = Request(scope, receive)
        body = await request.body()
        name = f"{request.method} {request.url.path}"
        if request.url.path.startswith("/_test/"):
            await self._test_door(request.url.path)(scope, receive, send)
            return
        with self.lock:
            fault = self.faults.strike(name)
            status, answer, headers = self._answer(request, body, name, fault)
        if fault in {Fault.DROP_BEFORE, Fault.DROP_AFTER}:
            TRANSPORTS[scope["client"]].abort()
            return
        if fault in {Fault.HANG_BEFORE, Fault.HANG_AFTER}:
            while (await receive())["type"] != "http.disconnect":
                pass
            return
        await Response(answer, status, headers, media_type="application/json")(scope, receive, send)

    def _test_door(self, path: str) -> Response:
        """What another process may make happen: `/_test/pay/<session>` (again: nothing), and `/_test/events`, all of them."""
        with self.lock:
            _, _, what, *rest = path.split("/")
            if what == "pay" and self.thing("sessions", rest[0])["status"] == "open":
                self.pay(rest[0])
            return Response(json.dumps([shown(event) for event in self.world.events]), media_type="application/json")

    def _answer(
        self, request: Request, body: bytes, name: str, fault: Fault | None
    ) -> tuple[int, bytes, dict[str, str]]:
        headers = {"request-id": self.world.new_id("req")}
        key, account = request.headers.get("idempotency-key", ""), request.headers.get("stripe-account", PLATFORM)
        try:
            if request.headers.get("authorization") != f"Bearer {self.api_key}":
                raise StripeProblem(401, "invalid_request_error", "Invalid API Key provided", is_executed=False)
            if account and account not in self.world.objects["accounts"]:
                raise StripeProblem(
                    403,
                    "invalid_request_error",
                    "The provided key does not have access to account",
                    code="account_invalid",
                    is_executed=False,
                )
            text = body.decode() if request.method == "POST" else request.url.query
            parameters = parse_form(text)
            self.requests.append((name, parameters, key))
            _refuse(fault)
            if request.method != "POST" or not key:
                return 200, self._run(request, parameters, account, fault), headers
            stored = self.keys.begin(account, key, f"{name}?{text}".encode(), self.world.now_s())
            if not stored.is_running:
                return (
                    stored.status,
                    stored.body,
                    headers | {"idempotent-replayed": "true", "original-request": "req_1"},
                )
            return self._first(request, parameters, account=account, key=key, fault=fault, headers=headers)
        except StripeProblem as problem:
            if problem.status in {409, 500}:
                headers["stripe-should-retry"] = "true" if problem.status == 409 else "false"
            return problem.status, json.dumps(problem.body, indent=2).encode(), headers

    def _first(
        self,
        request: Request,
        parameters: dict[str, Any],
        *,
        account: str,
        key: str,
        fault: Fault | None,
        headers: dict[str, str],
    ) -> tuple[int, bytes, dict[str, str]]:
        is_kept, status, answer = False, 500, b""
        try:
            status, answer, is_kept = (
                200,
                self._run(request, parameters, account, fault),
                fault is not Fault.DROP_BEFORE,
            )
        except StripeProblem as problem:
            status, answer, is_kept = problem.status, json.dumps(problem.body, indent=2).encode(), problem.is_executed
        finally:
            is_kept = is_kept and fault is not Fault.HANG_BEFORE
            self.keys.finish(account, key, status=status, body=answer, is_kept=is_kept)
        return status, answer, headers

    def _run(self, request: Request, parameters: dict[str, Any], account: str, fault: Fault | None) -> bytes:
        endpoint, ids = find_endpoint(request.method, request.url.path)
        check_parameters(endpoint, parameters)
        if fault in {Fault.DROP_BEFORE, Fault.HANG_BEFORE}:
            return b""
        if fault is Fault.ERROR_500_BEFORE:
            raise _broken()
        made = endpoint.handler(Asked(self.world, parameters, ids, account))
        if fault is Fault.ERROR_500_AFTER:
            raise _broken()
        answer = (
            {**made, "data": [shown(thing) for thing in made["data"]]} if made.get("object") == "list" else shown(made)
        )
        return json.dumps(answer, indent=2).encode()


def _refuse(fault: Fault | None) -> None:
    match fault:
        case Fault.UNAVAILABLE:
            raise StripeProblem(503, "api_error", "Stripe is unavailable.", is_executed=False)
        case Fault.RATE_LIMIT:
            raise StripeProblem(
                429,
                "invalid_request_error",
                "Too many requests hit the API too quickly.",
                code="rate_limit",
                is_executed=False,
            )
        case Fault.IN_PROGRESS:
            raise in_progress()
        case _:
            return


def _broken() -> StripeProblem:
    return StripeProblem(500, "api_error", "An unknown error occurred.")


@contextmanager
def running_stripe(stripe: FakeStripe | None = None) -> Iterator[FakeStripe]:
    """Serve a Stripe on a loopback port, in a thread of its own, until the block ends."""
    fake = stripe or FakeStripe()
    listener = socket.create_server(("127.0.0.1", 0))
    fake.base_url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    settings = uvicorn.Config(
        fake, http=_Protocol, ws="none", lifespan="off", log_config=None, access_log=False, loop="asyncio"
    )
    settings.timeout_graceful_shutdown = 1
    server = uvicorn.Server(settings)
    serving = {"target": server.run, "kwargs": {"sockets": [listener]}, "name": "fake-stripe", "daemon": True}
    thread = threading.Thread(**serving)
    thread.start()
    try:
        yield fake
    finally:
        server.should_exit = True
        thread.join(60)
        listener.close()
