"""Errors as Stripe answers them: `{"error": {"type", "code", "message", "param", ...}}` with an HTTP status."""

from __future__ import annotations

from typing import Any


class StripeProblem(Exception):  # noqa: N818 - it is an answer
    """An error answer; `is_executed` says whether the endpoint had begun (then its answer is kept under the key)."""

    def __init__(
        self,
        status: int,
        kind: str,
        message: str,
        *,
        code: str = "",
        param: str = "",
        is_executed: bool = True,
        **more: Any,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.is_executed = is_executed
        error: dict[str, Any] = {"type": kind, "message": message, **more}
        if code:
            error |= {"code": code, "doc_url": f"https://stripe.com/docs/error-codes/{code.replace('_', '-')}"}
        if param:
            error["param"] = param
        self.body = {"error": error}


def invalid(message: str, *, code: str = "", param: str = "", is_executed: bool = False) -> StripeProblem:
    """A request that fails validation: not kept under its idempotency key."""
    return StripeProblem(400, "invalid_request_error", message, code=code, param=param, is_executed=is_executed)


def missing(what: str, id_: str, *, param: str = "id") -> StripeProblem:
    """The object named in a path (404) or a parameter (400) does not exist."""
    status = 404 if param == "id" else 400
    return StripeProblem(
        status,
        "invalid_request_error",
        f"No such {what}: '{id_}'",
        code="resource_missing",
        param=param,
        is_executed=False,
    )


def declined(code: str, decline_code: str, intent: dict[str, Any]) -> StripeProblem:
    """A card error; the intent rides along, as Stripe sends it."""
    return StripeProblem(
        402,
        "card_error",
        "Your card was declined.",
        code=code,
        param="",
        decline_code=decline_code,
        payment_intent=intent,
    )
