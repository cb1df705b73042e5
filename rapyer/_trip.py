"""How long, and with which pauses, something that failed is tried elsewhere or again."""

from __future__ import annotations

import asyncio
import random

from redis.exceptions import AskError, AuthenticationError, ClusterDownError, ResponseError, TryAgainError

from rapyer._lane import PASSING
from rapyer._wire import REFUSALS
from rapyer.errors import OutcomeUnknown

#: The longest pauses before the first and before any later repetition, in seconds; they are random below.
FIRST_PAUSE = 0.005
LONGEST_PAUSE = 0.1

#: How a server's words begin that refuses a write because of the state it is in: nothing ran, and the state may pass.
_STATES = ("BUSY ", "NOREPLICAS ", "MISCONF ")
_ELSEWHERE = (AskError, TryAgainError, ClusterDownError, *REFUSALS, *PASSING)


def elsewhere(error: BaseException) -> bool:
    """Whether a call that failed like this ran nowhere, and may elsewhere or later."""
    return isinstance(error, _ELSEWHERE) and not isinstance(error, (OutcomeUnknown, AuthenticationError))


def later(error: BaseException) -> bool:
    """Whether a call that failed like this ran nothing, on a server that may soon do what it refuses now."""
    return isinstance(error, ResponseError) and str(error).startswith(_STATES)


class Trip:
    """One call that is sent on.

    Attributes:
        first: what has to be written directly before it next time.
    """

    def __init__(self, seconds: float) -> None:
        self._loop = asyncio.get_running_loop()
        self._end = self._loop.time() + seconds
        self._turns = 0
        self.first = b""

    @property
    def left(self) -> float:
        """Seconds until its time is over; less than 0 afterwards."""
        return self._end - self._loop.time()

    def turn(self, error: BaseException) -> None:
        """Count one more failure; raise it when the time is over."""
        self._turns += 1
        self.first = b""
        if self.left <= 0:
            raise error

    def bound(self, moment: float) -> None:
        """Let it end at that moment of the loop's clock at the latest."""
        self._end = min(self._end, moment)

    async def pause(self, quick: int = 0) -> None:
        """Wait a little, longer each time, after that many turns that are taken at once."""
        if self._turns > quick:
            longest = min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** min(self._turns - quick, 10))
            await asyncio.sleep(random.uniform(0, longest))  # noqa: S311 - jitter, no secret
