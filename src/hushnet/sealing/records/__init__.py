"""Response records: their layout, which everyone reads, and the sealer that writes those of one attempt (section 8)."""

from hushnet.sealing.records.layout import (
    FINAL,
    SIGNED,
    Head,
    Kind,
    Record,
    keepalive_record,
    meter_of,
    parse_head,
    parse_record,
    record_size,
    relay_code_of,
    relay_error_record,
    relay_failure,
    split_records,
)
from hushnet.sealing.records.sealer import FrameSealer

__all__ = [
    "FINAL",
    "SIGNED",
    "FrameSealer",
    "Head",
    "Kind",
    "Record",
    "keepalive_record",
    "meter_of",
    "parse_head",
    "parse_record",
    "record_size",
    "relay_code_of",
    "relay_error_record",
    "relay_failure",
    "split_records",
]
