"""The attempts of one request that are out at the same time: one, or a slow one and its backup.

The first that commits wins: in the same step of the event loop every other is cancelled at its provider, which is no
failure of that provider's, and nothing of it is shown, billed or paid. Until then the end of one is that one's alone;
the others go on. The request's task waits for `news`, and takes what has ended in the order in which it did.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from hushnet.coordinator.fleet.provider import LiveProvider
from hushnet.coordinator.serving.attempt import Attempt, AttemptEnd, Ending
from hushnet.coordinator.serving.desk import Desk
from hushnet.coordinator.serving.model import Mode, RequestBody
from hushnet.coordinator.serving.outlet import Outlet
from hushnet.coordinator.serving.route import Placed
from hushnet.coordinator.serving.rules.outcomes import judge_end_of
from hushnet.coordinator.serving.store import HedgeState
from hushnet.coordinator.telemetry import timing
from hushnet.foundation.errors import CapacityError, HushnetError
from hushnet.foundation.ids import AccountId
from hushnet.sealing.errors import SealingError, WireCode


@dataclass(frozen=True, slots=True)
class Ended:
    """How an attempt ended; `attempt` is None when it never left."""

    provider: LiveProvider
    end: AttemptEnd
    attempt: Attempt | None = None


class Race:
    """The referee of one request's attempts. `send` is the task's; everything else takes no time."""

    def __init__(
        self,
        desk: Desk,
        body: RequestBody,
        outlet: Outlet,
        *,
        account: AccountId,
        ends_s: float,
        on_won: Callable[[], None],
    ) -> None:
        """`account` asks; `ends_s` is the request's last deadline; `on_won` is called in the step of the winner's commit."""
        self.out: list[Attempt] = []
        """Those that have not ended."""
        self.winner: Attempt | None = None
        self.lead: Attempt | None = None
        """Who speaks for the request: the winner; before there is one, the last that was sent first, or that failed."""
        self.is_called = False
        """Whether a backup is asked for; the task looks for one and takes the call back."""
        self._desk = desk
        self._body = body
        self._outlet = outlet
        self._account = account
        self._ends_s = ends_s
        self._on_won = on_won
        self._ended: list[Ended] = []
        self._is_stopped = False
        self._news: asyncio.Future[None] | None = None

    async def send(self, placed: Placed, watch: timing.Stopwatch | None = None) -> None:
        """Seal and dispatch one attempt in its slot; one that can't leave has ended like any other.

        `watch` is told the stages; without one it is a backup, made while another's provider has its time.
        """
        slot = placed.slot
        try:
            await self._send(placed, watch)
        except SealingError:
            # The provider's statement has run out, or changed since the request was routed.
            self._unsent(placed, AttemptEnd(Ending.REFUSED, is_committed=False, code=WireCode.UNKNOWN_KEY))
        except CapacityError:
            self._unsent(placed, AttemptEnd(Ending.REFUSED, is_committed=False, code=WireCode.CAPACITY))
        except HushnetError:
            self._unsent(placed, AttemptEnd(Ending.LINK_LOST, is_committed=False))
        except BaseException:
            slot.release()
            raise

    def stop(self, code: WireCode) -> None:
        """Cancel everybody who is out, in this step; nobody leaves any more."""
        self._is_stopped = True
        for attempt in tuple(self.out):
            attempt.stop(code)

    def call(self) -> None:
        """Ask the task for a backup."""
        self.is_called = True
        self._tell()

    async def news(self) -> None:
        """Wait until somebody has ended, or a backup is called for."""
        if not self._ended and not self.is_called:
            self._news = asyncio.get_running_loop().create_future()
            await self._news

    def take_ended(self) -> list[Ended]:
        """Return who has ended since the last call, in order; slots that are still taken are watched from here on."""
        ended, self._ended = self._ended, []
        for each in ended:
            if each.attempt is not None and not each.attempt.is_over:
                self._desk.linger(each.attempt)
        return ended

    def part(self) -> None:
        """The request is over: forget whom it leads to."""
        self._on_won = _to_nobody

    # What attempts say.

    def committed(self, attempt: Attempt) -> None:
        """Let `attempt` win."""
        self.winner = self.lead = attempt
        outrun = AttemptEnd(Ending.OUTRUN, is_committed=False, code=WireCode.CANCELLED)
        for other in tuple(self.out):
            if other is not attempt:
                other.stop(WireCode.CANCELLED, end=outrun)
        if attempt.is_backup:
            self._desk.telemetry.hedged(state=HedgeState.WON)
        self._on_won()

    def ended(self, attempt: Attempt) -> None:
        """Take note of an end; who has it in hand looks at the rest."""
        if attempt in self.out:
            self.out.remove(attempt)
        if self.winner is None:
            self.lead = attempt
        if attempt.is_backup and attempt is not self.winner:
            self._desk.telemetry.hedged(state=HedgeState.LOST)
        self._ended.append(Ended(attempt.slot.provider, attempt.outcome.result(), attempt))
        self._tell()

    # Inside.

    async def _send(self, placed: Placed, watch: timing.Stopwatch | None) -> None:
        desk, slot, now_s = self._desk, placed.slot, self._desk.clock.monotonic_s
        if watch is not None:
            watch.enter(timing.SEAL)
        sealed = await self._body.attempt(
            slot.provider, placed.entry, now=desk.clock.now_ms() // 1000, prepared=desk.keys.take
        )
        if watch is not None:
            watch.enter(timing.DISPATCH)
        if self.winner is not None or self._is_stopped:
            slot.release()
            return
        attempt = Attempt(
            slot,
            sealed,
            self._outlet,
            limits=desk.limits,
            is_gathered=self._body.mode is Mode.STANDARD and not self._body.facts.is_stream,
            referee=self,
            now_s=now_s,
            is_backup=watch is None,
        )
        attempt.start(sealed.envelope, deadline_s=self._ends_s - now_s())
        judge_end_of(attempt, self._body.mode, self._account, desk=desk, outlet=self._outlet)
        if not attempt.outcome.done():
            self.out.append(attempt)
        if watch is None:
            desk.telemetry.hedged(state=HedgeState.SENT)
        else:
            self.lead = attempt
            watch.enter(timing.LOAD if slot.is_cold else timing.PROVIDER)

    def _unsent(self, placed: Placed, end: AttemptEnd) -> None:
        placed.slot.release()
        self._ended.append(Ended(placed.slot.provider, end))

    def _tell(self) -> None:
        if self._news is not None and not self._news.done():
            self._news.set_result(None)

    def __repr__(self) -> str:
        return f"Race({len(self.out)} out, {'won' if self.winner is not None else 'open'})"


def _to_nobody() -> None: ...
