"""Every bound of the sealing protocol, version 1 (section 1)."""

from __future__ import annotations

from typing import Final

HEADER_MAX: Final = 1024
RECIPIENTS_MAX: Final = 8
BODY_MIN: Final = 24
"""Two lengths and a tag: an empty request is still 24 bytes of ciphertext."""
BODY_MAX: Final = 16 * 1024 * 1024
META_MAX: Final = 4096
WRAP_MAX: Final = 4096
ENTRY_FIXED: Final = 52
ENVELOPE_MAX: Final = 8 + HEADER_MAX + RECIPIENTS_MAX * (ENTRY_FIXED + WRAP_MAX) + 4 + BODY_MAX

TAG_SIZE: Final = 16
PLAIN_MAX: Final = 65536
CLEAR_MAX: Final = 256
RECORD_HEADER: Final = 12
RECORD_MAX: Final = RECORD_HEADER + CLEAR_MAX + PLAIN_MAX + TAG_SIZE
DATA_MAX: Final = PLAIN_MAX - 4
"""The most data one record holds: longer bodies are cut here."""
SEQ_MAX: Final = 2**32 - 2
FRAME_PAD_MAX: Final = 4096

LIFE_MAX: Final = 300
SKEW: Final = 120
STATEMENT_LIFE: Final = 3600
STATEMENT_LIFE_MAX: Final = 86400
STATEMENT_MAX: Final = 16384
"""Base64 characters of a statement's payload."""
KEY_GRACE: Final = LIFE_MAX + SKEW
"""Seconds that a private key outlives its statement: the last envelope sealed to it may still arrive."""

LISTING_MAX: Final = 1024 * 1024
REPLAY_CAPACITY: Final = 262144
INT_MAX: Final = 2**53 - 1
"""The largest integer that every JSON reader holds exactly."""
