"""What the coordinator says about itself: metrics and logs, both behind allow-lists, neither ever with content.

A domain of the coordinator: it imports settings and foundation only, and the nouns of routing for what it counts.
"""

from hushnet.coordinator.telemetry.metrics import LABELS, Counter, Histogram, Metrics
from hushnet.coordinator.telemetry.serving import ServingMetrics
from hushnet.foundation.logs import EXTRA_FIELDS, configure_logging, error_fields

__all__ = [
    "EXTRA_FIELDS",
    "LABELS",
    "Counter",
    "Histogram",
    "Metrics",
    "ServingMetrics",
    "configure_logging",
    "error_fields",
]
