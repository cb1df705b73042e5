"""Which lane a call takes: the only one of a server, or that of the primary that serves the key's slot.

Rules:
- Which primary serves a slot is redis-py's knowledge, read by its own `NodesManager`: in the running loop, by
  connections that are closed again, because those that redis-py keeps belong to the loop that made them.
- A node that answers MOVED, ASK, TRYAGAIN, CLUSTERDOWN, READONLY or LOADING has run nothing, so the call goes on: MOVED
  corrects the one slot at once, and all slots are asked for in the background.
- Only nodes that the last answer names are known and asked. An answer that leaves most of them out may come from a node
  that was taken away and has a new life in another cluster: it counts only where no other is to be had.
- However many callers meet a failure, one task asks for the slots, some twenty times a second at most.
- Behind Sentinel and on a cluster a call that nothing has run of waits for the next primary.
- How long a call is sent on follows from the client's own `retry`: a second for each of its tries.
"""

from __future__ import annotations

import asyncio
import math
import random
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from redis.asyncio.cluster import ClusterNode, NodesManager
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import (
    AskError,
    MovedError,
    RedisClusterException,
    RedisError,
    TryAgainError,
)
from redis.exceptions import ConnectionError as RedisConnectionError

from rapyer._keys import SLOTS, hash_slot
from rapyer._lane import PASSING, TRIES, Lane
from rapyer._replicas import ReplicatedLane
from rapyer._sentinel import is_sentinel
from rapyer._trip import LONGEST_PAUSE, Trip, elsewhere
from rapyer._wire import hang_up

if TYPE_CHECKING:
    from collections.abc import Sequence

#: Seconds a call is sent on for each try that the client's `retry` allows.
SECONDS_A_TRY = 1.0
#: Redirections that are followed without a pause.
QUICK_TURNS = 3
#: Seconds between two questions for all slots, and seconds that one node has to answer.
ASK_EVERY = 0.05
ASK_SECONDS = 1.0
ASKING = b"*1\r\n$6\r\nASKING\r\n"

_UNREACHABLE = (RedisError, RedisClusterException, OSError, asyncio.TimeoutError)


class Single:
    """One address, which the client's pool knows; its lane finds a new primary by itself where Sentinel has one."""

    clustered = False
    closed = False

    def __init__(self, client: Any) -> None:
        self.only: Lane | None = Lane(client.connection_pool)
        self.roams = is_sentinel(client.connection_pool)
        self._seconds = _seconds(client.connection_pool.connection_kwargs.get("retry"))

    def lane(self, _key: str) -> Any:
        """Return the lane that serves a key."""
        return self.only

    def trip(self) -> Trip:
        """Return what counts the turns of one call."""
        return Trip(self._seconds)

    async def turn(self, _key: str, lane: Lane, error: BaseException, trip: Trip, *, again: bool) -> Lane:
        """Return the lane on which a call goes on after a failure: if it may be sent again, or waits for a new primary.

        Raises:
            the error: neither, or the time is over.
        """
        if not (again or (self.roams and elsewhere(error))):
            raise error
        trip.turn(error)
        await trip.pause()
        return lane

    def waits(self, future: Any) -> bool:
        """Whether the call that this future belongs to waits to be sent for the first time."""
        return self.only is not None and self.only.waits(future)

    async def primaries(self) -> Sequence[Any]:
        """Return the lanes of all primaries."""
        return [self.only]

    async def close(self) -> None:
        """Close the connection; no call goes on."""
        self.closed = True
        if self.only is not None:
            await self.only.close()

    def drop(self) -> None:
        """Close the connection, in any thread; no call goes on."""
        self.closed = True
        if self.only is not None:
            self.only.drop()


class Cluster:
    """The primaries of a Redis Cluster."""

    clustered = roams = True
    closed = False
    only: Lane | None = None

    def __init__(self, client: Any) -> None:
        # The client itself is not kept: it must be free to go away.
        manager = client.nodes_manager
        given = manager.connection_kwargs
        options = {name: given[name] for name in given if "maint_notifications" not in name}
        if getattr(options.get("redis_connect_func"), "__self__", None) is client:
            del options["redis_connect_func"]  # READONLY, for replicas, which are not asked
        self._options = options
        self._remap = getattr(manager, "address_remap", None)
        self._seconds = _seconds(getattr(client, "retry", None))
        self._seeds = {node.name: (node.host, int(node.port)) for node in manager.startup_nodes.values()}
        self._known = dict(self._seeds)
        self._silent: set[str] = set()
        self._lanes: dict[str, Lane] = {}
        self._slots: list[Lane | None] = [None] * SLOTS
        self._primaries: list[Lane] = []
        self._asking: asyncio.Task[None] | None = None
        self._asked = 0.0

    def __repr__(self) -> str:
        """Tell which nodes there are lanes to."""
        return f"<Cluster {', '.join(sorted(self._lanes)) or 'not asked yet'}>"

    def lane(self, key: str) -> Lane:
        """Return the lane that serves a key; while that is not known, any: the answer will tell."""
        return self._slots[hash_slot(key)] or self._any()

    def _any(self) -> Lane:
        answering = self._known.keys() - self._silent
        # A lane to a replica would be let go of with the next answer, and the call be told of that, not of its slot.
        primaries = answering & {lane.name for lane in self._primaries}
        name = random.choice(sorted(primaries or answering or self._known))  # noqa: S311 - no secret
        return self._to(*self._known[name])

    def _to(self, host: str, port: int) -> Lane:
        name = f"{host}:{port}"
        lane = self._lanes.get(name)
        if lane is None:
            self._known[name] = (host, port)
            lane = self._lanes[name] = Lane(_Address(host, port, self._options))
            lane.longest_pause = LONGEST_PAUSE
        return lane

    def trip(self) -> Trip:
        """Return what counts the turns of one call."""
        return Trip(self._seconds)

    async def turn(self, key: str, lane: Lane, error: BaseException, trip: Trip, *, again: bool) -> Lane:
        """Return the lane on which a call goes on after a failure.

        Args:
            key: what it works on.
            lane: where it failed.
            error: with what.
            trip: what counts its turns.
            again: whether it may be sent again whatever happened; else only where it left nothing written.

        Raises:
            the error: it is no matter of where the call was sent, or the time is over.
        """
        if self.closed or not (again or elsewhere(error)):
            raise error
        trip.turn(error)
        if isinstance(error, AskError):
            return await self._redirected(error, lane, trip)
        await trip.pause()
        if self.closed:
            raise error
        if not isinstance(error, TryAgainError):
            self._silent.add(lane.name)
            # The call's own failure is the one to be told, whatever becomes of the question.
            await asyncio.wait([self._expect()], timeout=None if trip.left == math.inf else max(0, trip.left))
        return self.lane(key)

    async def _redirected(self, error: Any, lane: Lane, trip: Trip) -> Lane:
        host, port = (error.host or lane.name.rpartition(":")[0]), error.port
        if self._remap is not None:
            host, port = self._remap((host, port))
        target = self._to(host, port)
        if isinstance(error, MovedError):
            self._slots[error.slot_id] = target
            self._expect()
        else:
            trip.first = ASKING
        await trip.pause(QUICK_TURNS)
        return target

    def waits(self, future: Any) -> bool:
        """Whether the call that this future belongs to waits to be sent for the first time."""
        return any(lane.waits(future) for lane in self._lanes.values())

    async def primaries(self) -> Sequence[Lane]:
        """Return the lanes of all primaries as they are now."""
        await self.ask()
        return self._primaries

    # -- which primary serves which slots ------------------------------------------------------------------------------

    async def ask(self) -> None:
        """Learn which primary serves which slots; those who ask at the same time share the answer."""
        await asyncio.shield(self._expect())

    def _expect(self) -> asyncio.Task[None]:
        if self._asking is None or self._asking.done():
            self._asking = asyncio.get_running_loop().create_task(self._ask(), name="rapyer-slots")
            self._asking.add_done_callback(_seen)
        return self._asking

    async def _ask(self) -> None:
        clock = asyncio.get_running_loop().time
        await asyncio.sleep(max(0.0, self._asked + ASK_EVERY - clock()))
        failure: BaseException = RedisConnectionError("there is no node to ask for the slots")
        doubtful: dict[str, NodesManager] = {}
        try:
            for name, address in self._to_ask():
                try:
                    told = await self._told_by(*address)
                except _UNREACHABLE as error:
                    self._silent.add(name)
                    failure = error
                    continue
                if 2 * self._shared(told) >= len(self._known) or not self._primaries:
                    self._adopt(told)
                    return
                doubtful[name] = told
            likely = [told for name, told in doubtful.items() if name in self._seeds or self._shared(told) > 1]
            if likely:
                self._adopt(max(likely, key=self._shared))
                return
            silent = not str(failure)  # as asyncio's own timeout is, which is an OSError from Python 3.11 on
            if silent or isinstance(failure, RedisClusterException) or not isinstance(failure, PASSING):
                raise RedisConnectionError(str(failure) or "no node answers") from failure
            raise failure
        finally:
            self._asked = clock()

    def _to_ask(self) -> list[tuple[str, tuple[str, int]]]:
        """Return the known nodes in any order, then those that the client was made with, and those that were silent."""
        known = random.sample(sorted(self._known.items()), len(self._known))
        seeds = [(name, address) for name, address in self._seeds.items() if name not in self._known]
        return sorted([*known, *seeds], key=lambda node: node[0] in self._silent)

    def _shared(self, told: NodesManager) -> int:
        """Return how many of the known nodes an answer names."""
        return len(self._known.keys() & told.nodes_cache.keys())

    async def _told_by(self, host: str, port: int) -> NodesManager:
        node = ClusterNode(host, port, **self._options)
        manager = NodesManager([node], False, self._options, address_remap=self._remap)  # noqa: FBT003 - its only form
        try:
            await asyncio.wait_for(manager.initialize(), ASK_SECONDS)
        except IndexError:
            pass  # it knows of no slots, and redis-py looks for the first of them
        finally:
            for connection in node._connections:
                hang_up(connection)
        if not manager.slots_cache:
            msg = f"{node.name} is in no cluster that serves slots"
            raise RedisClusterException(msg)
        return manager

    def _adopt(self, manager: NodesManager) -> None:
        """Take over redis-py's view, and let go of lanes that no slot needs."""
        lanes: dict[int, Lane] = {}
        slots: list[Lane | None] = [None] * SLOTS
        for slot, nodes in manager.slots_cache.items():
            lane = lanes.get(id(nodes))
            if lane is None:
                lane = lanes[id(nodes)] = self._to(nodes[0].host, int(nodes[0].port))
            slots[slot] = lane
        self._slots = slots
        self._primaries = list(dict.fromkeys(lanes.values()))
        self._known = {node.name: (node.host, int(node.port)) for node in manager.nodes_cache.values()}
        self._silent.clear()
        for name, lane in list(self._lanes.items()):
            if lane not in self._primaries:
                lane.turn_away(RedisConnectionError(f"{name} serves no slots any more"))
                if lane.idle:
                    self._lanes.pop(name).drop()

    async def close(self) -> None:
        """Close all connections; no call goes on."""
        self.closed = True
        if self._asking is not None:
            self._asking.cancel()
            await asyncio.gather(self._asking, return_exceptions=True)
        await asyncio.gather(*(lane.close() for lane in self._lanes.values()))

    def drop(self) -> None:
        """Close all connections, in any thread; no call goes on."""
        self.closed = True
        if self._asking is not None:
            with suppress(RuntimeError):  # the loop was closed
                self._asking.get_loop().call_soon_threadsafe(self._asking.cancel)
        for lane in list(self._lanes.values()):  # the loop may make one meanwhile
            lane.drop()


class _Address:
    """What a lane needs of a pool, for one node: a call that fails there comes back, to be sent where its slot is."""

    def __init__(self, host: str, port: int, options: dict[str, Any]) -> None:
        node = ClusterNode(host, port, **options)
        self.connection_class = node.connection_class
        self.connection_kwargs = {**node.connection_kwargs, "retry": Retry(NoBackoff(), 0)}
        self.name = f"{host}:{port}"


def _seen(task: asyncio.Task[None]) -> None:
    """Look at the outcome: a question that nobody waits for may fail."""
    if not task.cancelled():
        task.exception()


def _seconds(retry: Any) -> float:
    if retry is not None and retry._retries < 0:
        return math.inf
    return SECONDS_A_TRY * (TRIES if retry is None else retry._retries + 1)


def replicated(lane: Lane, replicas: int) -> ReplicatedLane:
    """Return the lane to the same address whose writes count when that many replicas have them."""
    found: ReplicatedLane | None = lane.beside.get(replicas)
    if found is None:
        found = lane.beside[replicas] = ReplicatedLane(lane._pool, replicas)
        found.longest_pause = lane.longest_pause
    return found


def nodes_of(client: Any) -> Single | Cluster:
    """Return where the calls of a client go."""
    return Cluster(client) if hasattr(client, "nodes_manager") else Single(client)
