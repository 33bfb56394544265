"""The one client of Stripe: the official SDK behind `write` and `read`, its exceptions turned into values.

| Stripe says | here |
|---|---|
| 2xx | `Answered` |
| 400, 402, 403, 404 | `Refused` |
| 401 (our key), 409 in progress, 429, no connection | `Again`: surely not done by this request |
| time-out, reset, 5xx, an answer that cannot be read, another request under the same key | `Unknown` |

The SDK never repeats a request by itself: the outbox does (`payments/calls.py`), and knows why. Nothing that Stripe writes
in words is kept: codes outside our list become `refused_<status>`. The SDK and httpx are imported with the first gateway:
a coordinator without Stripe needs neither.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Generic, TypeAlias, TypeVar

import msgspec

from hushnet.coordinator.payments.calls import Again, Refused, Unknown
from hushnet.foundation.errors import CapacityError, RequestError
from hushnet.foundation.redaction import Secret

if TYPE_CHECKING:
    import stripe

T = TypeVar("T")

Ask: TypeAlias = Callable[[Any], Awaitable[Any]]
"""One request of the SDK's services: `lambda v1: v1.refunds.create_async(params, options)`."""

_CODES: Final = frozenset(
    {
        "account_closed", "account_invalid", "amount_too_large", "amount_too_small", "authentication_required",
        "balance_insufficient", "card_declined", "charge_already_refunded", "charge_disputed", "expired_card",
        "incorrect_cvc", "insufficient_capabilities_for_transfer", "insufficient_funds", "instant_payouts_unsupported",
        "parameter_invalid_integer", "parameter_missing", "parameter_unknown", "payment_intent_unexpected_state",
        "payouts_not_allowed", "processing_error", "resource_missing", "url_invalid",
    }
)  # fmt: skip
TIMEOUT_S: Final = 20.0
"""Silence of Stripe after which a call's outcome is unknown; Stripe's own answers take below 5 s."""
_NOT_NOW: Final = {401: "unauthorised", 409: "in_progress", 429: "rate_limited"}


@dataclass(frozen=True, slots=True)
class Answered(Generic[T]):
    """Stripe did it, or had done it before under this key."""

    value: T


class StripeGateway:
    """One Stripe account. Close it with `aclose`."""

    def __init__(self, api_key: Secret, *, api_base: str = "", timeout_s: float = TIMEOUT_S) -> None:
        """`api_base` replaces Stripe's address (tests)."""
        import stripe

        from hushnet.coordinator.payments.stripe.transport import StripeTransport

        stripe.enable_telemetry = False
        logging.getLogger("stripe").setLevel(logging.WARNING)  # below that it writes bodies and messages
        self.is_live = api_key.reveal().startswith(("sk_live_", "rk_live_"))
        self._transport = StripeTransport(timeout_s=timeout_s)
        self._v1 = stripe.StripeClient(
            api_key.reveal(),
            base_addresses={"api": api_base.rstrip("/")} if api_base else None,
            http_client=self._transport,
            max_network_retries=0,
        ).v1

    async def aclose(self) -> None:
        await self._transport.close_async()  # type: ignore[no-untyped-call]

    async def write(self, ask: Ask, shape: type[T]) -> Answered[T] | Refused | Again | Unknown:
        """Send a request that changes something and read the answer as `shape`."""
        import stripe

        try:
            return Answered(_decoded(await ask(self._v1), shape))
        except stripe.StripeError as error:
            return _told(error)
        except (msgspec.DecodeError, ValueError):
            return Unknown("bad_answer")

    async def read(self, ask: Ask, shape: type[T]) -> T:
        """Fetch something; raises `RequestError` `resource_missing` or the like, `CapacityError` when it cannot be had."""
        match await self.write(ask, shape):
            case Answered(value):
                return value
            case Refused(code):
                raise RequestError("Stripe refuses a look-up", code=code)
            case Again(reason) | Unknown(reason):
                raise CapacityError(f"Stripe does not answer ({reason})", code="payments_unavailable")


def _decoded(answer: Any, shape: type[T]) -> T:
    return msgspec.json.decode(answer.last_response.body, type=shape)


def _told(error: stripe.StripeError) -> Refused | Again | Unknown:
    """Say what an exception of the SDK means for the request that it ended."""
    import stripe

    status = error.http_status or 0
    if isinstance(error, stripe.APIConnectionError):
        return _unconnected(error.__cause__)
    if status in _NOT_NOW:
        return Again(_NOT_NOW[status])
    if isinstance(error, stripe.IdempotencyError):
        return Unknown("other_request_under_this_key")
    if status in {400, 402, 403, 404}:
        return Refused(_word(error, status))
    return Unknown(f"http_{status}" if status >= 500 else "bad_answer")


def _unconnected(cause: BaseException | None) -> Again | Unknown:
    import httpx

    if isinstance(cause, httpx.ConnectError | httpx.ConnectTimeout | httpx.PoolTimeout | httpx.UnsupportedProtocol):
        return Again("no_connection")
    return Unknown("time_out" if isinstance(cause, httpx.TimeoutException) else "reset")


def _word(error: stripe.StripeError, status: int) -> str:
    """Return why, as a word of ours: why a card was declined, where its bank says so."""
    declined = getattr(error.error, "decline_code", None) if error.error is not None else None
    return next((word for word in (declined, error.code) if word in _CODES), f"refused_{status}")
