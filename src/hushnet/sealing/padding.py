"""How long sealed plaintexts are made, so that their size says less (section 10)."""

from __future__ import annotations

from typing import Final

from hushnet.sealing.header import OUTPUT_TOKENS_MAX, PROMPT_TOKENS_MAX
from hushnet.sealing.limits import FRAME_PAD_MAX

FRAME_PAD_DEFAULT: Final = 64
"""What every sealing client of this project asks for: with one value, a provider can't tell clients apart by it."""
PROMPT_TOKENS_MIN: Final = 256
_STEP: Final = 1024
_LINEAR_MAX: Final = 16 * 1024


def padme_1k(size: int) -> int:
    """Return the padded size: a multiple of 1 KiB up to 16 KiB, Padmé beyond (at most 7 % more).

    Padmé (PURBs, PoPETs 2019): with E = floor(log2 n) and S = floor(log2 E) + 1, the low E - S bits are rounded up.
    """
    if size <= _LINEAR_MAX:
        return max(_STEP, _round_up(size, _STEP))
    exponent = size.bit_length() - 1
    return _round_up(size, 1 << (exponent - exponent.bit_length()))


def output_class(tokens: int) -> int:
    """Round an output bound up to the power of two that its header shows: a size class, not a size (section 4)."""
    return min(_power_of_two(tokens), OUTPUT_TOKENS_MAX)


def prompt_class(tokens: int) -> int:
    """Round a prompt bound up to the power of two, at least 256, that its header shows (section 4)."""
    return min(_power_of_two(max(tokens, PROMPT_TOKENS_MIN)), PROMPT_TOKENS_MAX)


def is_frame_pad(value: object) -> bool:
    """Tell whether `value` is a record padding that may be asked for: a power of two in 1..4096."""
    return type(value) is int and 1 <= value <= FRAME_PAD_MAX and value & (value - 1) == 0


def is_zero(data: bytes, start: int) -> bool:
    """Tell whether everything from `start` on is zero."""
    return data.endswith(bytes(len(data) - start))


def _round_up(size: int, step: int) -> int:
    return -(-size // step) * step


def _power_of_two(value: int) -> int:
    return 1 << (value - 1).bit_length()
