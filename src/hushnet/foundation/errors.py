"""The exception tree: one stable code, one hint and one retry verdict an error.

    HushnetError
    ├── RequestError          the caller sent something wrong
    ├── AccessError           who the caller is, what it may do, what it can pay for
    ├── CapacityError         nobody can serve this now
    ├── ProtocolError         a peer on the wire
    │   ├── LocalProtocolError    we broke the rules (a bug here)
    │   └── RemoteProtocolError   the peer broke the rules
    ├── TrustError            a claim that did not verify
    ├── StorageError          the database
    └── ConfigurationError    settings, files, the machine

Messages never carry prompts, completions, keys or secrets. Expected outcomes are values, not exceptions.
"""

from __future__ import annotations

from typing import ClassVar


class HushnetError(Exception):
    """An error with a stable `code`, a sentence for a person and a hint that says what to do."""

    code: ClassVar[str] = "internal"
    default_hint: ClassVar[str] = ""
    is_retryable: ClassVar[bool] = False

    def __init__(self, message: str, *, code: str | None = None, hint: str | None = None) -> None:
        super().__init__(message)
        self._code = code
        self._hint = hint

    @property
    def error_code(self) -> str:
        """The stable code of this occurrence: the class's own unless a closed registry gave another."""
        return self._code or self.code

    def hint(self) -> str:
        """Say what a person can do about it; empty when nothing is to be done."""
        return self._hint if self._hint is not None else self.default_hint


class RequestError(HushnetError):
    """The request itself is wrong; sending it again unchanged fails again."""

    code = "invalid_request"


class AccessError(HushnetError):
    """The caller is unknown, not allowed, or out of money."""

    code = "access_denied"


class CapacityError(HushnetError):
    """Nobody can take the request now; `retry_after_s` says when to try again."""

    code = "capacity"
    is_retryable = True

    def __init__(
        self, message: str, *, code: str | None = None, hint: str | None = None, retry_after_s: float | None = None
    ) -> None:
        super().__init__(message, code=code, hint=hint)
        self.retry_after_s = retry_after_s


class ProtocolError(HushnetError):
    """A rule of a wire protocol was broken."""

    code = "protocol"


class LocalProtocolError(ProtocolError):
    """This process asked for something its own session state forbids: a bug here."""

    code = "local_protocol"


class RemoteProtocolError(ProtocolError):
    """The peer sent something that the protocol forbids; the connection ends."""

    code = "remote_protocol"


class TrustError(HushnetError):
    """A statement, signature or piece of evidence did not verify, or is not enough for the policy."""

    code = "untrusted"


class StorageError(HushnetError):
    """The database refused, is gone, or holds what it must not."""

    code = "storage"
    is_retryable = True


class ConfigurationError(HushnetError):
    """Settings, files or this machine do not allow what was asked."""

    code = "configuration"
