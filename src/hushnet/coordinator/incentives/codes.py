"""Codes that people copy, say and type: Crockford's base 32, without the letters that look like digits.

An invite code is worth money: 100 random bits, of which only the SHA-256 is kept. A referral code is public: 50 bits, so
that no two are alike.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from typing import Final

from hushnet.foundation.errors import RequestError
from hushnet.foundation.redaction import Secret

_ALPHABET: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_ALIKE: Final = str.maketrans("OIL", "011", "- ")
_GROUP: Final = 5
INVITE_CHARACTERS: Final = 20
REFERRAL_CHARACTERS: Final = 10
_CODE: Final = re.compile(rf"[{_ALPHABET}]{{10,20}}", re.ASCII)
TEXT_MAX: Final = 64


def new_invite_code() -> Secret:
    """Make an invite code, like `ABCDE-FGHJK-MNPQR-STVWX`."""
    return Secret(_written(INVITE_CHARACTERS))


def new_referral_code() -> str:
    """Make a referral code, like `ABCDE-FGHJK`."""
    return _written(REFERRAL_CHARACTERS)


def read_invite_code(text: str) -> Secret:
    """Return an invite code as it is digested, however it was typed; raises `RequestError` for what can't be one."""
    return Secret(_read(text, INVITE_CHARACTERS, "invite_not_found", "there is no such invite"))


def read_referral_code(text: str) -> str:
    """Return a referral code as it is stored, however it was typed; raises `RequestError` for what can't be one."""
    plain = _read(text, REFERRAL_CHARACTERS, "referral_not_found", "there is no such referral code")
    return _grouped(plain)


def digest_of(code: Secret) -> bytes:
    """SHA-256 of an invite code, however it is grouped: 100 random bits need no slow hash."""
    return hashlib.sha256(code.reveal().replace("-", "").encode("ascii")).digest()


def _written(characters: int) -> str:
    return _grouped("".join(secrets.choice(_ALPHABET) for _ in range(characters)))


def _grouped(plain: str) -> str:
    return "-".join(plain[at : at + _GROUP] for at in range(0, len(plain), _GROUP))


def _read(text: str, characters: int, code: str, message: str) -> str:
    plain = text[:TEXT_MAX].strip().upper().translate(_ALIKE)
    if len(text) > TEXT_MAX or len(plain) != characters or _CODE.fullmatch(plain) is None:
        raise RequestError(message, code=code)
    return plain
