"""The header `Idempotency-Key`: a client's own name for a request, so that sending it again never makes a second one.

Owner, key and the SHA-256 of the body name a request id before anything is held, in the database, for a day. The same again
is answered with 409 and that id, while the request runs and after it; the same key with another body is a conflict. A
request that was refused before its hold leaves nothing behind: its key may be used again at once. What is and is not
promised: docs/adr/0046-budgets-and-keys-of-requests.md.
"""

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from starlette.types import Scope, Send

from hushnet.coordinator.api.bodies import header_of
from hushnet.coordinator.api.dispatch import send_problem
from hushnet.coordinator.api.problems import problem_of
from hushnet.coordinator.ledger.model import UsageRecord
from hushnet.coordinator.serving.service import RequestService
from hushnet.coordinator.serving.store import KeyedRequest, RequestKeys
from hushnet.foundation.clock import Clock
from hushnet.foundation.errors import ConfigurationError, HushnetError, RequestError
from hushnet.foundation.ids import AccountId, RequestId

_LOG = logging.getLogger(__name__)

HEADER: Final = b"idempotency-key"
_KEY = re.compile(rb"[\x20-\x7e]{1,255}")


class UsageBook(Protocol):
    """The finished requests (`ledger.service.Ledger`)."""

    async def usage_record(self, request_id: RequestId) -> UsageRecord | None: ...


@dataclass(frozen=True, slots=True)
class Repeated:
    """The key was used before: an error and the id of the request that it stands for."""

    error: HushnetError
    request_id: RequestId

    async def refuse(self, send: Send, *, is_sealed: bool, headers: Sequence[tuple[bytes, bytes]]) -> None:
        """Answer with the error, `headers`, and the id in a header of its own."""
        own = (b"hushnet-request-id", b"%d" % self.request_id)
        await send_problem(send, problem_of(self.error), is_sealed=is_sealed, headers=[own, *headers])


@dataclass(frozen=True, slots=True)
class Claim:
    """`serving.store.RequestClaim`: this request is the one that the client's key stands for."""

    keyed: KeyedRequest
    keys: RequestKeys

    @property
    def request_id(self) -> RequestId:
        return self.keyed.request_id

    async def release(self) -> None:
        """Let the key be used again; when the database fails, the key stands for this request until its day is over."""
        try:
            await self.keys.release(self.keyed)
        except HushnetError as error:
            _LOG.warning("a request's key was not released", extra={"code": error.error_code})


@dataclass(frozen=True, slots=True)
class KeyBooks:
    """Where keys and finished requests are looked up."""

    keys: RequestKeys
    usage: UsageBook
    clock: Clock


class RequestOnce:
    """Gives requests with a key their id, once."""

    def __init__(self, service: RequestService, books: KeyBooks | None = None) -> None:
        limits = service.limits
        self._service = service
        self._books = books
        self._runs_ms_max = round((limits.total_s_max + limits.hold_margin_s) * 1000)

    async def claim(self, scope: Scope, owner: AccountId, body: bytes) -> Claim | Repeated | None:
        """Claim the key that the request names; None when it names none. Call it last before `RequestService.submit`.

        Raises `RequestError` `bad_idempotency_key`, `CapacityError`, `StorageError`: then nothing was begun.
        """
        text = header_of(scope, HEADER)
        if text is None:
            return None
        if _KEY.fullmatch(text) is None:
            raise RequestError("a key is 1 to 255 printable ASCII characters", code="bad_idempotency_key")
        if self._books is None:
            raise ConfigurationError("keys of requests are not kept here")
        now_ms = self._books.clock.now_ms()
        key, digest = hashlib.sha256(text).digest(), hashlib.sha256(body).digest()
        wanted = KeyedRequest(owner, key, digest, self._service.next_request_id(), now_ms)
        found = await self._books.keys.claim(wanted)
        if found.request_id == wanted.request_id:
            return Claim(wanted, self._books.keys)
        return Repeated(await self._error(found, digest, now_ms, self._books.usage), found.request_id)

    async def _error(self, found: KeyedRequest, digest: bytes, now_ms: int, usage: UsageBook) -> HushnetError:
        id_, hint = found.request_id, f"GET /v1/generations/{found.request_id} says how it ended"
        if found.body != digest:
            return RequestError(
                f"this Idempotency-Key stands for request {id_}, which had another body", code="idempotency_conflict"
            )
        if await usage.usage_record(id_) is None and now_ms - found.at_ms < self._runs_ms_max:
            words = f"request {id_} has this Idempotency-Key and is not over"
            return RequestError(words, code="request_in_progress", hint=hint)
        words = f"request {id_} had this Idempotency-Key and is over; it is not done a second time"
        return RequestError(words, code="request_already_done", hint=hint)
