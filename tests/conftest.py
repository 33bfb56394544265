"""Property tests are judged by what they find, never by how fast the machine is that day, nor by that day's luck: they
draw the same examples each time. `pytest --hypothesis-profile=explore` draws new ones.
"""

from __future__ import annotations

from hypothesis import HealthCheck, settings

settings.register_profile("explore", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("hushnet", settings.get_profile("explore"), derandomize=True)
settings.load_profile("hushnet")
