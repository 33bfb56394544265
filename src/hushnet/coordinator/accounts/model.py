"""Accounts, keys and callers as data. Of a secret only its digest is ever kept."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from hushnet.foundation.ids import AccountId, ApiKeyId
from hushnet.foundation.redaction import Secret


class Scope(StrEnum):
    """What a key opens; a key opens nothing else."""

    USER = "user"
    """Inference, and the account's own keys, balance and records."""
    PROVIDER = "provider"
    """Register a provider link that earns for the account."""
    OPERATOR = "operator"
    """The admin interface."""


@dataclass(frozen=True, slots=True)
class Account:
    """One account; `name` is the operator's unique handle for it, `closed_ms` is None while it is open."""

    id: AccountId
    name: str
    created_ms: int
    closed_ms: int | None = None


@dataclass(frozen=True, slots=True)
class ApiKey:
    """One key as it is stored; `digest` is SHA-256 over the text of the secret."""

    id: ApiKeyId
    account: AccountId
    scope: Scope
    name: str
    digest: bytes = field(repr=False)
    created_ms: int
    revoked_ms: int | None = None


@dataclass(frozen=True, slots=True)
class KeyStanding:
    """A key together with what one look-up answers of its account: whether it is closed, and who has brought it."""

    key: ApiKey
    is_account_closed: bool = False
    referrer: AccountId | None = None


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key that was just made: the only moment at which its text exists."""

    key: ApiKey
    text: Secret


@dataclass(frozen=True, slots=True)
class Caller:
    """Who is calling, proved by a key; `referrer` is the account that has brought the caller's, if one has."""

    account_id: AccountId
    key_id: ApiKeyId
    scope: Scope
    referrer: AccountId | None = None
