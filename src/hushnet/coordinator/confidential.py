"""Standard mode's sealing client: the only place in the coordinator that touches a prompt or an answer.

It decodes a consumer's body, seals one envelope an attempt (k = 1, an id of its own), and opens the records of the
answer with the openers and checks of any other consumer. Plaintext lives in the objects below, is shown in no `repr`,
and is dropped with the request. Rules for whoever edits this file: nothing here logs, and no exception carries content.
"""

from __future__ import annotations

import asyncio
import hmac
import secrets
from collections.abc import Callable
from typing import ClassVar, Final

import msgspec

from hushnet.dialects import openai_chat
from hushnet.dialects.affinity import KEY_BYTES, NO_AFFINITY, PrefixTag, affinity_of
from hushnet.dialects.openai_chat.render import DONE
from hushnet.foundation.errors import RequestError
from hushnet.foundation.ids import AccountId, ModelId
from hushnet.sealing.encapsulation import Encapsulation
from hushnet.sealing.envelope import RequestFields, SealedRequest, client_meta, seal_request
from hushnet.sealing.errors import SealingError
from hushnet.sealing.header import PROMPT_TOKENS_MAX, RoutingHeader
from hushnet.sealing.opening import FrameOpener
from hushnet.sealing.padding import output_class, prompt_class
from hushnet.sealing.records import Kind, Record
from hushnet.sealing.statements import Recipient

ENDPOINT: Final = "/v1/chat/completions"
SEAL_ON_LOOP_BYTES_MAX: Final = 256 * 1024
"""Above this a body is sealed in a thread: a mebibyte costs the loop about a millisecond."""
AFFINITY_BYTES_MAX: Final = 1024 * 1024
"""A longer body carries no tags: hashing it takes the loop a millisecond or more, and no model's context holds it."""
_CONTENT: Final = Kind.CONTENT
_CONTENT_TYPES: Final = frozenset({"application/json", "text/event-stream"})


Prepared = Callable[[Recipient], Encapsulation | None]


def _nothing(_: Recipient) -> None:
    return None


class AffinityKeys:
    """The keys of affinity tags, one an account: from a secret of this process, so that they end with it.

    Tags of two accounts never match, whatever they send: nobody learns from a routing decision what another has asked.
    """

    def __init__(self) -> None:
        self._secret = secrets.token_bytes(KEY_BYTES)

    def key_of(self, account: AccountId) -> bytes:
        """Return the key of one account."""
        return hmac.digest(self._secret, b"hushnet/1 affinity account\0%d" % account, "sha256")


class StandardRequest:
    """A consumer's plaintext request: its clear facts, and the sealing of its attempts.

    `tags` are all that is said of its text: keyed, under `affinity_key` (none without one), and size classes.
    """

    __slots__ = ("_data", "_salt", "features", "is_stream", "model", "output_tokens_max", "prompt_tokens_max", "tags")

    def __init__(self, data: bytes, *, output_tokens_default: int, affinity_key: bytes | None = None) -> None:
        """Decode `data`; raises `RequestError` when it is not a chat request within bounds."""
        request = openai_chat.decode_request(data)
        self.model = ModelId(request.model)
        self.is_stream = request.stream
        self.features = openai_chat.features_of(request)
        # A bound that the body does not name is the header's, which is a size class: it is held, and may be used, whole.
        self.output_tokens_max = request.max_output_tokens or output_class(output_tokens_default)
        self.prompt_tokens_max = openai_chat.prompt_bytes_bound(request)
        if self.prompt_tokens_max > PROMPT_TOKENS_MAX:
            raise RequestError("the prompt is longer than any model's context", code="context_too_long")
        is_tagged = affinity_key is not None and len(data) <= AFFINITY_BYTES_MAX
        affinity = affinity_of(request, affinity_key) if affinity_key is not None and is_tagged else NO_AFFINITY
        self.tags: tuple[PrefixTag, ...] = affinity.tags
        self._salt = affinity.salt
        self._data: bytes | None = data

    @property
    def size(self) -> int:
        """Bytes of plaintext that this request keeps."""
        return 0 if self._data is None else len(self._data)

    async def seal(
        self, recipient: Recipient, *, trust: str, now: int, prepared: Prepared = _nothing
    ) -> StandardAttempt:
        """Seal one attempt to `recipient`; raises `SealingError`. `now` is in Unix seconds.

        `prepared` gives the key exchange when one was made ahead; it is asked on the event loop.
        """
        if self._data is None:
            raise SealingError("bad_envelope")
        if len(self._data) > SEAL_ON_LOOP_BYTES_MAX:
            sealed = await asyncio.to_thread(self._seal, self._data, recipient, trust, now)
        else:
            sealed = self._seal(self._data, recipient, trust, now, prepared)
        return StandardAttempt(sealed)

    def drop(self) -> None:
        """Forget the plaintext: no further attempt can be made."""
        self._data = None

    def _seal(
        self, data: bytes, recipient: Recipient, trust: str, now: int, prepared: Prepared = _nothing
    ) -> SealedRequest:
        """Seal as the SDK does, in every choice: a provider can't tell the modes apart (docs/sealing.md section 1)."""
        fields = RequestFields(
            endpoint=ENDPOINT,
            model=self.model,
            stream=self.is_stream,
            max_output_tokens=output_class(self.output_tokens_max),
            max_prompt_tokens=prompt_class(self.prompt_tokens_max),
            features=self.features,
            trust=trust,
        )
        meta = client_meta(self._salt)
        return seal_request(fields, meta=meta, data=data, recipients=(recipient,), now=now, prepared=prepared)

    def __repr__(self) -> str:
        return f"StandardRequest({self.model})"


class _Head(msgspec.Struct):
    status: int
    content_type: str


class StandardAttempt:
    """One sealed attempt and the reading of its answer: records in, bytes of the dialect's response body out.

    What follows the last content, and a `[DONE]` at its end, is withheld until the end record proves that the answer is
    whole: a broken answer never looks like a complete one.
    """

    is_forwarding_errors: ClassVar[bool] = False

    __slots__ = ("_opener", "_out", "_sealed", "_withheld", "content_bytes", "content_type", "error_body", "status")

    def __init__(self, sealed: SealedRequest) -> None:
        self._sealed = sealed
        self._opener = FrameOpener(sealed)
        self._out: list[bytes] = []
        self._withheld: list[bytes] = []
        self.content_bytes = 0
        self.status = 200
        self.content_type = "application/json"
        self.error_body: bytes | None = None

    def take_envelope(self) -> bytes:
        """Return the envelope, once: an answer that takes minutes need not keep the request in memory."""
        envelope, self._sealed.raw = self._sealed.raw, b""
        return envelope

    @property
    def header(self) -> RoutingHeader:
        return self._sealed.header

    @property
    def digest(self) -> bytes:
        return self._sealed.digest

    @property
    def proven(self) -> Record | None:
        """The terminal record whose receipt this reader has verified; None before, and where no receipt is promised."""
        return self._opener.receipt

    def read(self, record: Record) -> None:
        """Open the next record; raises `SealingError`, after which the attempt is dead."""
        if record.kind is not _CONTENT:
            self._read_other(record)
            return
        self._keep(self._opener.open_content(record))

    def relay(self, record: Record) -> bytes:
        """Open the next record, which is of content, and take; raises as `read` does."""
        data = self._opener.open_content(record)
        if self._withheld or self._out or data.endswith(DONE):
            self._keep(data)
            return self.take()
        self.content_bytes += len(data)
        return data

    def _keep(self, data: bytes) -> None:
        self.content_bytes += len(data)
        if self._withheld:
            self._release()
        if data.endswith(DONE):
            self._withheld.append(DONE)
            data = data[: -len(DONE)]
        self._out.append(data)

    def take(self) -> bytes:
        """Return the body bytes read since the last call."""
        out, self._out = self._out, []
        return out[0] if len(out) == 1 else b"".join(out)

    def _read_other(self, record: Record) -> None:
        frame = self._opener.open(record)
        if frame is None:
            return
        if frame.kind is Kind.BOILERPLATE:
            (self._withheld if self.content_bytes else self._out).append(frame.data)
        elif frame.kind is Kind.HEAD:
            self._read_head(frame.data)
        elif frame.kind is Kind.END:
            self._release()
            self._sealed.drop()
        elif frame.kind is Kind.ERROR:
            self.error_body = frame.data
            self._sealed.drop()

    def _release(self) -> None:
        self._out += self._withheld
        self._withheld = []

    def _read_head(self, data: bytes) -> None:
        try:
            head = msgspec.json.decode(data, type=_Head)
        except (ValueError, RecursionError):
            raise SealingError("frame_malformed") from None
        # Both go into our own response. A status without a body, 204 for one, would make the answer's bytes the next
        # response; another type, text/html for one, would make them a page of ours.
        is_status_plain = head.status == 200 or 400 <= head.status <= 599
        if not is_status_plain or head.content_type not in _CONTENT_TYPES:
            raise SealingError("frame_malformed")
        self.status, self.content_type = head.status, head.content_type

    def __repr__(self) -> str:
        return f"StandardAttempt({self._sealed!r})"
