"""Property tests are judged by what they find, never by how fast the machine is that day."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

settings.register_profile("hushnet", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("hushnet")
