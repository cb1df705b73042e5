"""The scripts of `lock/` as calls: which keys and arguments they take."""

from __future__ import annotations

import asyncio
import weakref
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias

from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError

from rapyer import _log
from rapyer._dispatch import Where
from rapyer._tasks import heard
from rapyer.errors import OutcomeUnknown, ServerError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Sequence

    from rapyer._dispatch import Care, Dispatcher, Locate
    from rapyer._group import Place
    from rapyer._ops import Argument, Operation
    from rapyer._session import Held

#: Seconds before a release that the server refused is sent again.
BUSY_PAUSE = 0.1
#: Tickets left in the queue that are remembered, at most.
MOST_OVERDUE = 1024
#: A lock that was given: token, fencing number, document.
Given: TypeAlias = "tuple[bytes, bytes, bytes]"
#: What asking for a lock gives: milliseconds until the holder's lease ends, and what was given to whom, if anything.
Answer: TypeAlias = "tuple[int, Given | None]"
#: A lock that was asked for: by which token, with which ticket, and what gives the answer.
Asked: TypeAlias = "tuple[str, str, asyncio.Future[Answer]]"
#: What releasing gives: whether the lock was held, then what was given to whom, if anything. So does saving.
Released: TypeAlias = "tuple[int] | tuple[int, Given]"
NOT_HELD: Released = (0,)
#: To whom a lock may be handed: channel of the caller, and if its own waiter is next, that one's token, lease, ttl and
#: info.
Heir: TypeAlias = "tuple[str] | tuple[str, str, str, str, str]"
#: What to save: the document's ttl as the scripts take it, the operations, their words, and the care they are carried
#: out with.
Changes: TypeAlias = "tuple[str, Sequence[Operation], list[Argument], Care | None]"


class LockScripts:
    """Calls of one client in one loop.

    Args:
        caller: what calls scripts.
        channel: gives the channel on which those are woken here who wait for a lock of this document, or with this key.

    Attributes:
        overdue: by their tokens, what sends those releases again that could not take a ticket out of the queue.
    """

    def __init__(self, caller: Dispatcher, channel: Callable[[str], str]) -> None:
        self._caller = weakref.ref(caller)
        self._channel = channel
        self.overdue: dict[str, Callable[[], Releasing]] = {}

    def acquire(self, place: Place, token: str, info: str, ticket: str) -> asyncio.Future[Answer]:
        """Take a lock or queue for it."""
        keys = (place.key, place.lock_key, place.queue_key)
        arguments = (token, place.lease_text, place.ttl, info, self._channel(place.key), ticket)
        answer: Awaitable[Answer] = self._call("lock.acquire", keys, arguments, "$")
        # Mostly it is one already, and asking asyncio for it takes three functions.
        return answer if isinstance(answer, asyncio.Future) else asyncio.ensure_future(answer)

    def unsent(self, answer: asyncio.Future[Answer]) -> bool:
        """Whether a question that failed or was given up was never sent, so that no server knows of it."""
        caller = self._caller()
        return caller is not None and caller.unsent(answer)

    def release(
        self, place: Place, token: str, fence: str, ticket: str, heir: Heir, care: Care | None = None
    ) -> Awaitable[Released]:
        """Give a lock back, or take a ticket out; the answer tells whether the lock was held, and to whom it was given.

        Args:
            place: the lock.
            token: the holder's, or the waiter's.
            fence: the fencing number it was held with; empty for any.
            ticket: what to take out of the queue.
            heir: to whom the lock may be handed.
            care: what is asked for beyond a plain call.
        """
        keys = (place.key, place.lock_key, place.queue_key)
        arguments = (token, fence, ticket, *heir)
        answer: Awaitable[Released] = self._call("lock.release", keys, arguments, "$", care)
        return answer

    def releasing(self, place: Place, token: str, ticket: str, heir: Heir) -> Releasing:
        """Give a lock back, or take a ticket out, as often as it takes; the first call is sent now."""
        return Releasing(self, place, (token, "", ticket, heir))

    def save(
        self, place: Place, fence: str, others: Sequence[Held], changes: Changes, heir: Heir
    ) -> Awaitable[Released]:
        """Write changes and give a lock back; the answer tells to whom it was given.

        Args:
            place: the lock.
            fence: the fencing number it is held with.
            others: its other locks on the document.
            changes: what to write.
            heir: to whom the lock may be handed.
        """
        ttl, operations, words, care = changes
        keys, fences = [place.key, place.lock_key], [fence]
        for lock in others:
            keys.append(lock.lock_key)
            fences.append(lock.fence)
        keys.append(place.queue_key)
        arguments = (ttl, str(len(fences)), *fences, str(len(operations)), *words, *heir)
        answer: Awaitable[Released] = self._call(
            "lock.save", keys, arguments, lambda index: _where(place.key, operations[index]), care
        )
        return answer

    def note(self, lock_key: str, waiting: int) -> Awaitable[object]:
        """Note how many wait here."""
        answer: Awaitable[object] = self._call("lock.note", (lock_key,), (self._channel(lock_key), str(waiting)), "$")
        return answer

    def _call(
        self,
        name: str,
        keys: Sequence[str],
        arguments: Sequence[Argument],
        where: Locate | str,
        care: Care | None = None,
    ) -> Any:
        caller = self._caller()
        if caller is None:
            msg = "the client was torn down while a lock was in use"
            raise RedisConnectionError(msg)
        return caller.script(name, keys, arguments, where, care)


class Releasing:
    """A release that was sent, and that is repeated while nobody knows whether it ran.

    It is sent before there is a task that waits for it: at the end of a program that one might be cancelled first.
    """

    def __init__(self, scripts: LockScripts, place: Place, release: tuple[str, str, str, Heir]) -> None:
        self.place = place
        self._release = release
        self._scripts = scripts
        self._again = partial(scripts.release, place, *release)
        self._answer = self._first()

    def _first(self) -> asyncio.Future[Released]:
        answer: asyncio.Future[Released]
        try:
            answer = asyncio.ensure_future(self._again())
        except RedisError as error:
            answer = asyncio.get_running_loop().create_future()
            answer.set_exception(error)
        answer.add_done_callback(heard)
        return answer

    async def outcome(self) -> tuple[bool, Given | None]:
        """Return to whom the lock was given, and whether it may have been given to another before."""
        loop, answer, doubtful = asyncio.get_running_loop(), self._answer, False
        end = loop.time() + self.place.lease
        while True:
            try:
                _, *given = await answer
            except OutcomeUnknown:
                if loop.time() > end:
                    raise
                doubtful = True
            except ServerError:  # it did not run: the server is busy, or takes no writes now
                if loop.time() > end:
                    raise
                await asyncio.sleep(BUSY_PAUSE)
            else:
                return doubtful, given[0] if given else None
            answer = asyncio.ensure_future(self._again())

    def failed(self, error: Exception) -> None:
        """Say that this did nothing, and remember the ticket that it could not take out of the queue, if any.

        The lock will be given to that ticket, and is passed on then.
        """
        place, (token, _, ticket, _) = self.place, self._release
        if not ticket:
            _log.lock_not_returned(place.key, place.action, error)
            return
        overdue = self._scripts.overdue
        if len(overdue) >= MOST_OVERDUE:
            del overdue[next(iter(overdue))]
        overdue[token] = partial(Releasing, self._scripts, place, self._release)
        _log.ticket_left(place.key, place.action, error)


def _where(key: str, operation: Operation) -> Where:
    return Where(key, operation.path, inside=operation.inside)


@contextmanager
def lease_may_end(releasing: Releasing) -> Iterator[None]:
    """Let a lock that cannot be given back end with its lease, and say so."""
    try:
        yield
    except Exception as error:  # noqa: BLE001 - a credential provider may raise anything
        releasing.failed(error)
