"""Where the waiters of one client and event loop are woken: one connection for each server that they wait at.

Rules:
- On one server all of them have one channel. On a cluster a script may publish in its own slot alone, so there is a
  channel for each hash tag that is waited for, subscribed at the primary of its slot.
- A slot that moved, or whose primary is gone, is followed as a call is: the router says where to.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from redis.exceptions import ConnectionError as RedisConnectionError

from rapyer import _keys
from rapyer._dispatch import FAILURES
from rapyer._lane import tries
from rapyer._wake import Wake

if TYPE_CHECKING:
    from rapyer._dispatch import Dispatcher
    from rapyer._lane import Lane
    from rapyer._wake import Listener


class Wakes:
    """The subscriptions of one client and loop.

    Args:
        caller: whose servers they are at.
        station: the name of client and loop.
        listener: who is woken.
    """

    def __init__(self, caller: Dispatcher, station: str, listener: Listener) -> None:
        # The caller itself is not kept: it must be free to go away.
        self._nodes = caller._nodes
        self._station = station
        self._listener = listener
        self._only = "" if caller.clustered else _keys.wake_channel(station)
        self.clustered = caller.clustered
        self._wakes: dict[str, Wake] = {}
        self.closed = False

    def channel(self, key: str) -> str:
        """Return the channel on which those are woken who wait for a lock of this document, or with this key."""
        return self._only or _keys.wake_channel(self._station, key)

    def listening(self, key: str) -> bool:
        """Whether the subscription was confirmed and stands, where the key is as far as is known."""
        wake = self._wakes.get(self._nodes.lane(key).name) if self._wakes else None
        return wake is not None and wake.listening(self.channel(key))

    async def ready(self, key: str) -> None:
        """Wait until the server that the key is on has confirmed the subscription."""
        channel, lane, trip = self.channel(key), self._nodes.lane(key), self._nodes.trip()
        while True:
            try:
                await self._at(lane).ready(channel)
            except FAILURES as error:
                if self.closed:
                    raise
                lane = await self._nodes.turn(key, lane, error, trip, again=False)
            else:
                self._part_elsewhere(channel, lane)
                return

    def _part_elsewhere(self, channel: str, lane: Lane) -> None:
        for name, wake in self._wakes.items():
            if name != lane.name:
                wake.part(channel)

    def _at(self, lane: Lane) -> Wake:
        if self.closed:
            msg = "the wake-up connections were closed"
            raise RedisConnectionError(msg)
        wake = self._wakes.get(lane.name)
        if wake is None or wake.over:
            self._wakes = {name: other for name, other in self._wakes.items() if not other.over}
            # As often as a call; in a cluster the router says after the first failure where to try next.
            attempts = 1 if self.clustered else tries(lane._pool)
            wake = self._wakes[lane.name] = Wake(lane._pool, self._listener, attempts)
        return wake

    async def close(self) -> None:
        """Close all connections; those who wait get an error."""
        self.closed = True
        await asyncio.gather(*(wake.close() for wake in self._wakes.values()))
