"""The only module that talks to Redis: packs script calls, loads missing scripts, maps errors.

Rules:
- Scripts are called by EVALSHA. One that the server does not have is loaded by one caller for all that wait, and
  only the call that did not run is repeated: NOSCRIPT means that nothing ran.
- Whether a call may be repeated after a lost connection follows from the script's own flags: `no-writes`, which the
  server enforces, or `repeatable`, for those of which twice is the same as once.
- A call is a future that its caller awaits: a coroutine runs for it only when it failed and there is a way on.
- When a client is gone, its calls that are on their way end as they would have, and then its connections are closed:
  calls keep their dispatcher, which closes them when nothing keeps it any more.
"""

from __future__ import annotations

import asyncio
import os
import weakref
from asyncio import Future
from contextlib import suppress
from functools import cache
from typing import TYPE_CHECKING, Any

from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import NoScriptError, RedisError, ResponseError

from rapyer import _log
from rapyer._careful import Careful
from rapyer._combine import MOST, Group, Groups
from rapyer._nodes import nodes_of
from rapyer._once import Ids
from rapyer._pack import pack
from rapyer._refused import ERRORS, Locate, Where, server_error
from rapyer._registry import once_scripts, scripts
from rapyer._sent import Care, ScriptCall, is_unsent
from rapyer._together import COMBINED
from rapyer.errors import NotReplicated

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from rapyer._lane import Lane
    from rapyer._ops import Argument
    from rapyer._script import Script
    from rapyer._sent import Sent
    from rapyer._together import Common
    from rapyer._trip import Trip


#: How often a call loads its script before it gives up.
MOST_LOADS = 10
#: What a call can end with, the loss of its connection included.
FAILURES = (RedisError, OSError)


class Dispatcher:
    """Calls scripts and commands of one client in one event loop.

    Attributes:
        loop: the loop.
        clustered: whether keys have slots, and a script may work on one slot only.
        queues: who waits for locks by it, where that is needed; kept here for as long as this lives.
    """

    _process = 0  # none's, should there be no nodes of such a client

    def __init__(self, client: Any) -> None:
        self._nodes = nodes_of(client)
        self._process = os.getpid()
        self._lane = self._nodes.only
        self.clustered = self._nodes.clustered
        self.queues: Any = None
        self._ids = Ids()
        self._loading: dict[tuple[Lane, str], asyncio.Task[None]] = {}
        self.loop = asyncio.get_running_loop()
        self._groups = Groups(together=self._lane is not None)

    def __del__(self) -> None:
        """Close the connections of a client that is gone, in any thread; a forked child has none to close."""
        leaving.pop(id(self), None)
        if self._process == os.getpid():
            self._nodes.drop()

    def script(
        self,
        name: str,
        keys: Sequence[str],
        arguments: Sequence[Argument],
        where: Where | Locate | str,
        care: Care | None = None,
    ) -> Awaitable[Any]:
        """Run a script; what is returned gives its raw reply; 1 round trip.

        Args:
            name: as it is called, `list.extend`.
            keys: its KEYS.
            arguments: its ARGV.
            where: the place that a refused operation worked on, or its path in the first of the keys, or what gives it.
            care: what is asked for beyond a plain call.

        Raises:
            RapyerError: what the script refused, as its header says; `ServerError` for anything else.
            OutcomeUnknown: the connection was lost after a write was sent; with `care.once`, Redis stayed away.
            NotReplicated: fewer than `care.replicas` replicas had the write in time.
        """
        if care is not None:
            return self._with_care(name, keys, arguments, where, care)
        groups = self._groups
        if groups.shared or groups.single:
            groups.overtaken(keys)
        future: Future[Any] = Future(loop=self.loop)
        lane = self._lane or self._nodes.lane(keys[0])
        sha, repeatable = _callable()[name]
        packed = pack(("EVALSHA", sha, str(len(keys)), *keys, *arguments))
        lane.send(ScriptCall(future, name, keys, where, self, lane, packed, repeatable))
        return future

    def _with_care(
        self, name: str, keys: Sequence[str], arguments: Sequence[Argument], where: Where | Locate | str, care: Care
    ) -> Awaitable[Any]:
        future = self.loop.create_future()
        lane = self._lane or self._nodes.lane(keys[0])
        once = self._ids.new(keys[0]) if care.once and name in once_scripts() else None
        call = Careful(future, name, keys, arguments, where, self, lane, care, once)
        self._groups.overtaken(keys)
        call.way(lane).send(call)
        return future

    def combined(self, common: Common, key: str, amount: int, care: Care | None = None) -> Awaitable[Any]:
        """Run a script for a document together with others that wait for the same write; as `script`.

        The new value, first in the reply, is text or, where several went together, an integer.

        Args:
            common: which, where in the document, and its ttl.
            key: the document.
            amount: what to add.
            care: what is asked for beyond a plain call.
        """
        future: Future[Any] = Future(loop=self.loop)
        groups = self._groups
        group = groups.single.get(key)
        if group is None or group.common is not common or group.care is not care:
            group = groups.to_join(common, key, care)
        elif (hot := group.hot) is not None and len(hot) < MOST - 1:  # written out for callers of a hot document
            hot.append(future)
            group.amounts.append(amount)
            return future
        if group is None:
            self._begin(future, common, key, amount, care)
        else:
            group.join(future, key, amount)
        return future

    def _begin(self, future: Future[Any], common: Common, key: str, amount: int, care: Care | None) -> None:
        """Send a group, so far of one."""
        lane = self._lane or self._nodes.lane(key)
        group: Group | Careful
        if care is None:
            group = Group(future, common, key, amount, self, lane)
        else:
            once = self._ids.new(key) if care.once else None
            group = Careful(future, common.name, (key,), (), common.path, self, lane, care, once, common, amount)
            lane = group.way(lane)
        self._groups.add(group)
        lane.send(group)

    def unsent(self, outcome: asyncio.Future[Any]) -> bool:
        """Whether a call that failed or was given up was never sent, as far as can be told from what `script` gave."""
        return is_unsent(outcome) or (outcome.cancelled() and self._nodes.waits(outcome))

    def shut(self, group: Group) -> None:
        """Let nobody join a group any more."""
        self._groups.shut(group)

    def part(self) -> None:
        """Combine calls on single documents only."""
        self._groups.part()

    def mends(self, error: BaseException, *, again: bool = False) -> bool:
        """Whether a call that failed goes on: it may be sent again, its script is missing, or it may go elsewhere."""
        missing = isinstance(error, NoScriptError)
        roams = self._nodes.roams and isinstance(error, FAILURES) and type(error) is not ResponseError
        return (again or missing or roams) and not self._nodes.closed

    def mend(self, call: ScriptCall | Careful, error: BaseException) -> None:
        """Let a call that failed go on; it gets its outcome later."""
        task = self.loop.create_task(self._mend(call, error), name="rapyer-call")
        call.when_left(task.cancel)

    async def _mend(self, call: ScriptCall | Careful, error: BaseException) -> None:
        try:
            if call.care is None and call.name in COMBINED and isinstance(error, NoScriptError):
                with suppress(*FAILURES):  # the call itself may still find a way
                    await self._load(call.lane, scripts()[COMBINED[call.name]], missing=True)
            reply = await self._go_on(call, call.lane, error)
        except asyncio.CancelledError:
            call.unsure = True  # what was sent for it may be on its way
            call.end(RedisConnectionError("the call was cancelled: the program ends its tasks"))
            raise
        except Exception as failure:  # noqa: BLE001 - whatever it is, the caller gets it
            call.end(failure)
        else:
            if call.callers():
                call.answer(reply)

    async def _go_on(self, sent: Sent, lane: Lane, error: BaseException) -> Any:
        """Repeat a call that failed for as long as nothing ran, or it runs once anyway, and there is a way."""
        trip = sent.trip = sent.trip or self._nodes.trip()
        trip.bound(sent.until)
        loads = 0
        while True:
            missing = isinstance(error, NoScriptError)
            loads += missing
            if loads > MOST_LOADS:  # who flushes scripts all the time gets the error in the end
                raise error
            if not missing:
                lane = await self._nodes.turn(sent.keys[0], lane, error, trip, again=sent.again(error))
            if self._nodes.closed:
                raise error
            try:
                if missing:
                    await self._load(lane, sent.script, missing=True)
                return await sent.by(lane)
            except (*FAILURES, NotReplicated) as failure:
                error = failure

    async def command(self, *arguments: Argument, at: Lane | None = None) -> Any:
        """Run a command that only reads; 1 round trip.

        Args:
            arguments: its words.
            at: the primary to ask; None takes any.
        """
        packed = pack(arguments)
        lane = at or self._lane or self._nodes.lane("")
        try:
            return await lane.call(packed, repeatable=True)
        except ResponseError as error:
            raise server_error(str(arguments[0]), str(error)) from error

    async def primaries(self) -> Sequence[Lane]:
        """Return the servers that keys are on, for `command`."""
        return await self._nodes.primaries()

    def trip(self) -> Trip:
        """Return what counts the turns of work that is done again where a node fails."""
        return self._nodes.trip()

    async def primary_of(self, key: str) -> Lane:
        """Return the server that a key is on, for `command`."""
        await self.primaries()
        return self._nodes.lane(key)

    async def everywhere(self, step: Callable[[Lane], Awaitable[Any]]) -> None:
        """Do something on every primary; on a cluster where one does not answer, again on all that serve then."""
        trip = self._nodes.trip()
        lane = self._nodes.lane("")
        while True:
            try:
                for lane in await self._nodes.primaries():
                    await step(lane)
            except FAILURES as error:
                await self._nodes.turn("", lane, error, trip, again=False)
            else:
                return

    async def preload(self) -> None:
        """Load every script on every primary, in one write for each; 1 round trip."""
        await self.everywhere(self._load_all)

    async def _load_all(self, lane: Lane) -> None:
        await asyncio.gather(*(self._load(lane, script) for script in scripts().values()))

    async def close(self) -> None:
        """Close all connections."""
        await self._nodes.close()

    def drop(self) -> None:
        """Close the connections of a loop that was closed."""
        self._nodes.drop()

    def leave(self) -> None:
        """Let the connections of a client that is gone end with the last call that is on its way; in any thread."""
        if self.loop.is_closed():
            self.drop()
        else:
            leaving[id(self)] = weakref.ref(self)

    async def _load(self, lane: Lane, script: Script, *, missing: bool = False) -> None:
        task = self._loading.get((lane, script.sha))
        if task is None:
            if missing:
                _log.loading(script.name)
            task = asyncio.get_running_loop().create_task(self._load_now(lane, script))
            self._loading[lane, script.sha] = task
        # One caller's cancellation must not take the load away from the others.
        await asyncio.shield(task)

    async def _load_now(self, lane: Lane, script: Script) -> None:
        try:
            await lane.call(pack(("SCRIPT", "LOAD", script.source)), repeatable=True)
        finally:
            del self._loading[lane, script.sha]


@cache
def _callable() -> Mapping[str, tuple[str, bool]]:
    """Return of each script what a call needs: its SHA and whether it may run twice."""
    return {name: (script.sha, script.repeatable) for name, script in scripts().items()}


#: Those of clients that are gone, by their own identities, for as long as calls are on their way.
leaving: dict[int, weakref.ref[Dispatcher]] = {}


__all__ = ["ERRORS", "FAILURES", "Care", "Dispatcher", "Locate", "Where", "leaving"]
