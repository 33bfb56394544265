"""The pace of what a provider reports, at the coordinator: a flood costs little, and no state is lost to it.

A heartbeat beyond the pace is dropped: another one follows. Models and statements beyond it are kept, only the latest of
each, and are due as soon as the pace has room. An answer to a challenge stays behind a statement that is kept, because
it is bound to it. A load that failed is heard once for every wish. What came beyond the pace is counted by itself; too much of it is a flood.
"""

from __future__ import annotations

import math
from typing import Final, TypeAlias

from hushnet.foundation.ids import ModelId
from hushnet.wire import frames as fr
from hushnet.wire.limits import LinkLimits, Pace

Report: TypeAlias = fr.Heartbeat | fr.Models | fr.StatementUpdate | fr.ChallengeReply

_EXCESS_WINDOW_S: Final = 60.0
_WISHES_MAX: Final = 64
"""As many models as one provider offers; the oldest wish is forgotten first."""


class Reports:
    """What waits of one link's reports, and how many more may come."""

    def __init__(self, limits: LinkLimits, *, now_s: float) -> None:
        self._pace = Pace(limits.reports_per_beat / limits.heartbeat_s, burst=limits.reports_burst, now_s=now_s)
        excess_max = limits.reports_excess_max
        self._excess = Pace(excess_max / _EXCESS_WINDOW_S, burst=excess_max, now_s=now_s)
        self._kept: dict[type[fr.Frame], Report] = {}
        self._wished: dict[ModelId, None] = {}

    @property
    def due_s(self) -> float:
        """When something that is kept may be taken; infinite while nothing is."""
        return self._pace.ready_s if self._kept else math.inf

    def due(self, now_s: float) -> list[Report]:
        """Take what was kept and has its turn now, in the order in which it came."""
        taken: list[Report] = []
        while self._kept and self._pace.take(now_s):
            taken.append(self._kept.pop(next(iter(self._kept))))
        return taken

    def take(self, report: Report, now_s: float) -> list[Report] | None:
        """Return what is to be heard now that `report` came, in order; None when the link has sent far too many."""
        if isinstance(report, fr.ChallengeReply):
            return [report] if fr.StatementUpdate not in self._kept else self._keep(report, now_s)
        if not isinstance(report, fr.Heartbeat):
            return self._keep(report, now_s)
        taken = self.due(now_s)
        if self._pace.take(now_s):
            return [*taken, report]
        return taken if self.is_bearable(now_s) else None

    def wished(self, model: ModelId) -> None:
        """Expect to hear that a model which was asked for does not load."""
        self._wished[model] = None
        if len(self._wished) > _WISHES_MAX:
            del self._wished[next(iter(self._wished))]

    def is_owed(self, failed: fr.LoadFailed) -> bool:
        """Say whether a load that failed was asked for and is not answered yet; the answer is taken."""
        is_owed = failed.model in self._wished
        self._wished.pop(failed.model, None)
        return is_owed

    def is_bearable(self, now_s: float) -> bool:
        """Count one frame beyond the pace, or that nobody asked for; False once there are too many within a minute."""
        return self._excess.take(now_s)

    def _keep(self, report: Report, now_s: float) -> list[Report] | None:
        self._kept[type(report)] = report
        taken = self.due(now_s)
        return None if type(report) in self._kept and not self.is_bearable(now_s) else taken
