"""Identifiers: one `NewType` a noun, so that mypy keeps them apart."""

from __future__ import annotations

from typing import NewType

AccountId = NewType("AccountId", int)
"""A user account: >= 2**16, so that ledger ids of users and operators never meet (design/ledger.md section 2)."""

ApiKeyId = NewType("ApiKeyId", int)
"""The public part of an API key or provider token."""

RequestId = NewType("RequestId", int)
"""A request and its hold: an even 63-bit fact id (design/ledger.md section 3)."""

ProviderId = NewType("ProviderId", str)
"""64 lower-case hex digits: SHA-256 over a provider's identity key (design/sealing.md section 2)."""

AttemptId = NewType("AttemptId", int)
"""The handle of one attempt on one link: u32, chosen by the coordinator, never reused on that link."""

ModelId = NewType("ModelId", str)
"""What a consumer calls a model: 1..128 of `[A-Za-z0-9._:/@+-]`."""
