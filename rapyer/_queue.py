"""Waiting for locks: who comes first is served first, over all processes, and nobody asks again and again.

Rules:
- Waiters of one client and loop for the same lock stand in groups of at most `TURNS`. A group has one ticket in the
  lock's queue on the server; a lock that comes to it goes round in it with one script call for each section.
- A new waiter joins the last group while that has room, else it opens one. So of each other process no more than
  `TURNS - 1` waiters that came later can be served first.
- A token names one section. Asking again with the same token is safe, so a group asks again when its wake-up message
  may be lost: the holder's lease has ended, or the connection was lost.
- Who leaves without the lock while others of the group wait leaves the ticket to them; the last one takes it out, or
  passes the lock on if it came meanwhile: the script sees which.
"""

from __future__ import annotations

import asyncio
import itertools
import os
from functools import partial
from typing import TYPE_CHECKING

from rapyer._census import Census
from rapyer._group import TURNS, Group
from rapyer._protocol import NOT_HELD, LockScripts, lease_may_end
from rapyer._renewal import Renewals
from rapyer._tasks import Errands, a_while
from rapyer._wakes import Wakes

if TYPE_CHECKING:
    from collections.abc import Awaitable, Collection, Sequence

    from rapyer._dispatch import Care, Dispatcher
    from rapyer._group import Place, Waiter
    from rapyer._protocol import Answer, Asked, Changes, Heir, Released, Releasing
    from rapyer._session import Held

#: Seconds added to the holder's remaining lease before asking again, because the server counts in milliseconds.
MARGIN = 0.002
#: Seconds that who leaves waits for the server to know of it: a silent one holds nobody.
PATIENCE = 2.0


class Queues:
    """Everybody of one client and loop who waits for a lock or holds one."""

    def __init__(self, caller: Dispatcher) -> None:
        self.loop = asyncio.get_running_loop()
        self._station = os.urandom(8).hex()
        self._wakes = Wakes(caller, self._station, self)
        self._scripts = LockScripts(caller, self._wakes.channel)
        self._numbers = itertools.count(1)
        self._groups: dict[str, list[Group]] = {}  # by the lock's key, in the order they came
        self._waiting: dict[str, Group] = {}  # by the token that is waited for
        self._late: dict[str, str] = {}  # tickets to be taken out once the holder with this token has let go
        self._start = Errands("rapyer-lock").start
        self._census = Census(self._count, self._scripts.note)
        self.renewals = Renewals(caller)

    # -- entering --------------------------------------------------------------------------------------------------

    async def enter(self, waiter: Waiter) -> bytes:
        """Wait for a lock and return its document as it is under it.

        Whatever is raised, the lock is not held and the waiter waits no more.
        """
        try:
            if not self._join(waiter):
                token, ticket, answer = self._open(waiter)
                if waiter.hurried:
                    answer.add_done_callback(partial(self._opened, waiter, token, ticket))
                else:
                    try:
                        await answer
                    finally:
                        self._opened(waiter, token, ticket, answer)
            return await waiter.turn
        except BaseException:
            await self._withdraw(waiter)
            raise

    def _join(self, waiter: Waiter) -> bool:
        groups = self._groups.get(waiter.place.lock_key)
        if not groups or not waiter.patient:
            return False
        group = groups[-1]
        if group.room and group.place == waiter.place:
            group.room -= 1
            group.waiters.append(waiter)
            waiter.group = group
        else:
            self._ask_later(self._new_group(waiter))
        self._census.joined(group.place.lock_key)
        return True

    def _new_group(self, waiter: Waiter) -> Group:
        group = waiter.group = Group(waiter.place, self._new_token(), [waiter], TURNS - 1 if waiter.patient else 0)
        self._groups.setdefault(group.place.lock_key, []).append(group)
        self._waiting[group.token] = group
        return group

    def _new_token(self) -> str:
        return f"{self._station}:{next(self._numbers)}"

    def _open(self, waiter: Waiter) -> Asked:
        """Ask without a task: a lock that is free costs one call and no more."""
        group = self._new_group(waiter)
        queue = waiter.patient and self._wakes.listening(group.place.key)
        asked = token, _, group.asking = self._asking(group, waiter, queue=queue)
        group.asker = waiter
        self.renewals.add(token, waiter, group.place.lease)
        return asked

    def _opened(self, waiter: Waiter, token: str, ticket: str, answer: asyncio.Future[Answer]) -> None:
        group, error = waiter.group, None if answer.cancelled() else answer.exception()
        if error is not None and not waiter.turn.done():
            waiter.turn.set_exception(error)  # as it leaves, the others go on
        elif error is None and not answer.cancelled():
            group.asker = None
            self._answered(group, token, ticket, answer.result())
            if waiter.token == token:  # mostly
                return
            if not waiter.patient:
                waiter.expire()
            elif not group.ticket and token in self._waiting:
                self._ask_later(group)
        if group.holder is None or group.holder.token != token:
            self.renewals.remove(token, group.place.lease)

    def _ask_later(self, group: Group) -> None:
        """Ask in a task of its own, for the group's sake: it lives on when a waiter leaves."""
        group.stop_timer()
        self._start(self._ask_waiting(group))

    async def _ask_waiting(self, group: Group) -> None:
        had_ticket = bool(group.ticket)
        try:
            await self._wakes.ready(group.place.key)
        except Exception as error:  # noqa: BLE001 - as in `Wake._run`
            group.fail(error)
            return
        if group.ticket and not had_ticket:
            return  # a later one asked for it
        *before, _ = line = self._line(group)
        if before:
            for one in line:
                self._start(self._ask_queued(one))
        else:
            await self._ask_queued(group)

    def _line(self, group: Group) -> list[Group]:
        """Return those to ask for: a first ticket comes after those of all who have waited longer for waking."""
        groups = self._groups.get(group.place.lock_key, [])
        if group.ticket or group not in groups:
            return [group]
        before = groups[: groups.index(group)]
        # One that was asked for before it could wait is in it, too: where the lock is taken that gives no place.
        return [one for one in before if not one.ticket and one.holder is None and one.waits] + [group]

    async def _ask_queued(self, group: Group) -> None:
        """Ask once. Unless the lock is given, the group's turn is known from a message or from asking again."""
        try:
            if self._waiting.get(group.token) is group:
                group.again, (token, ticket, answer) = True, self._asking(group, group.first(), queue=True)
                self._answered(group, token, ticket, await answer)
        except Exception as error:  # noqa: BLE001 - a credential provider may raise anything
            group.fail(error)

    def _asking(self, group: Group, first: Waiter | None, *, queue: bool) -> Asked:
        token, place, info = group.token, group.place, "" if first is None else first.info
        if queue and not group.ticket:
            group.ticket = f"{token}\n{self._wakes.channel(place.key)}\n{place.lease_text}\n{place.ttl}\n{info}"
        ticket = group.ticket if queue else ""
        return token, ticket, self._scripts.acquire(place, token, info, ticket)

    def _answered(self, group: Group, token: str, ticket: str, answer: Answer) -> None:
        place, (remaining, given) = group.place, answer
        if given is not None:
            self._granted(*given)
        over = group.closed or group.token != token
        holds = group.holder is not None and group.holder.token == token
        if holds and (over or given is None or given[0] != token.encode()):
            # A repeated call may have come after everything else: after the lease of this very turn, too.
            self._late[token] = ticket  # its release may come to the server later than what is sent now
        elif over:
            self._leave(place, token, ticket)
        elif ticket and token in self._waiting:
            self._census.joined(place.lock_key)
            if self._wakes.listening(place.key):
                self._ask_at(group, remaining)
            else:
                self._ask_later(group)  # the lock turned out to be on another server than the subscription

    def _ask_at(self, group: Group, remaining: int) -> None:
        # Less than nothing: a lock without a lease, which is none of this package's; it is looked at all the same.
        seconds = remaining / 1000 if remaining >= 0 else group.place.lease
        group.stop_timer()
        group.timer = self.loop.call_later(seconds + MARGIN, self._ask_later, group)

    # -- the turn comes --------------------------------------------------------------------------------------------

    def heard(self, message: bytes) -> None:
        """Take a message: token, fence, document. Without a document there is something to ask for."""
        token, *rest = message.split(b"\n", 2)
        group = self._waiting.get(token.decode(errors="replace"))
        if len(rest) < 2:  # noqa: PLR2004 - number and document
            return
        fence, text = rest
        if text or group is None:
            self._granted(token, fence, text)
        else:
            self._ask_later(group)

    def missed(self, channels: Collection[str]) -> None:
        """Ask for every group: a message may be lost, and tickets may have been taken for a dead process's."""
        for group in self._waiting_on(channels):
            self._ask_later(group)

    def deaf(self, channels: Collection[str], error: Exception) -> None:
        """Tell everybody who waits that nobody can be woken, unless another server may do it."""
        if self._wakes.clustered and not self._wakes.closed:
            self.missed(channels)
            return
        for group in self._waiting_on(channels):
            group.fail(error)

    def _waiting_on(self, channels: Collection[str]) -> list[Group]:
        groups = [group for group in self._waiting.values() if group.ticket]
        return [group for group in groups if self._wakes.channel(group.place.key) in channels]

    def awaited(self) -> set[str]:
        """Return the channels on which somebody waits."""
        return {self._wakes.channel(group.place.key) for group in self._waiting.values()}

    def _granted(self, token: bytes, fence: bytes, text: bytes) -> None:
        group = self._waiting.get(name := token.decode(errors="replace"))
        if group is None:  # who left meanwhile has said so to the server, which passes the lock on, or could not say it
            if name in self._scripts.overdue:
                self._start(self._see_to(self._scripts.overdue.pop(name)()))
            return
        waiter = group.first()
        if waiter is None:
            group.room = 0  # all of them are leaving: the last one passes the lock on
            return
        del self._waiting[group.token]
        if group.timer is not None:
            group.stop_timer()
        group.waiters.remove(waiter)
        group.holder = waiter
        waiter.granted(group.token, int(fence))
        waiter.turn.set_result(text)
        self._census.left(group.place.lock_key)

    # -- leaving ---------------------------------------------------------------------------------------------------

    async def _withdraw(self, waiter: Waiter) -> None:
        """Have somebody wait no more, who may have been given the lock this very moment."""
        group, turn = waiter.group, waiter.turn
        if turn.done() and not turn.cancelled():
            turn.exception()  # whoever cares gets it
        turn.cancel()
        if group.holder is waiter:
            await self.give_back(waiter)
            return
        if waiter in group.waiters:
            group.waiters.remove(waiter)
            self._census.left(group.place.lock_key)
        asked = group.asker is waiter
        if asked:
            group.stop_asking()
            self._look_after(group.place.lock_key, but=group)
        if group.holder is None and not group.closed and (asked or group.first() is None):
            leaving = self._go_on(group)
            if leaving is not None:
                await a_while(leaving, PATIENCE)

    def _go_on(self, group: Group) -> asyncio.Task[None] | None:
        """Ask for a group, or dissolve it when nobody of it waits; return the task that does that."""
        if group.first() is not None:
            self._ask_later(group)
            return None
        self._close(group)
        return None if group.unheard(self._scripts.unsent) else self._leave(group.place, group.token, group.ticket)

    def _look_after(self, lock_key: str, *, but: Group | None = None) -> None:
        """Go on with every group that waits for a lock: an answer that may have told of its turn is lost."""
        for group in list(self._groups.get(lock_key, ())):
            # Who does not wait gets an answer of its own.
            if group is not but and group.token in self._waiting and group.holder is None and group.waits:
                self._go_on(group)

    def _close(self, group: Group) -> None:
        group.closed = True
        if group.timer is not None:
            group.stop_timer()
        self._waiting.pop(group.token, None)
        groups = self._groups[group.place.lock_key]
        groups.remove(group)
        if not groups:
            del self._groups[group.place.lock_key]

    def _leave(self, place: Place, token: str, ticket: str) -> asyncio.Task[None]:
        """Take a ticket out, or pass the lock on if it was given to it; return the task that sees to it."""
        nobody = (self._wakes.channel(place.key),)
        return self._start(self._see_to(self._scripts.releasing(place, token, ticket, nobody)))

    async def _see_to(self, releasing: Releasing) -> None:
        with lease_may_end(releasing):
            doubtful, given = await releasing.outcome()
            if doubtful:
                self._look_after(releasing.place.lock_key)
            if given is not None:
                self._granted(*given)

    # -- releasing -------------------------------------------------------------------------------------------------

    def _heir(self, waiter: Waiter) -> Heir:
        """Return to whom the lock may be handed: who of the group is next. `released` has to follow."""
        group, channel = waiter.group, self._wakes.channel(waiter.place.key)
        holds = group.holder is waiter
        first = group.first() if holds and group.waiters else None
        if first is None:
            if holds and not group.closed:
                if group.token in self._waiting:
                    # A call before named this token, and its answer may be lost that gave it the lock.
                    self._leave(group.place, group.token, group.ticket)
                self._close(group)
            return (channel,)
        if group.token not in self._waiting:
            group.token, group.ticket, group.again = self._new_token(), "", True
            self._waiting[group.token] = group
        return (channel, group.token, group.place.lease_text, group.place.ttl, first.info)

    def released(self, waiter: Waiter, answer: Released = NOT_HELD) -> bool:
        """Take notice that a lock is held no more, and which waiter of ours has it now; return whether it was held."""
        group = waiter.group
        held = group.holder is waiter
        if waiter.token in self._late:
            self._leave(waiter.place, waiter.token, self._late.pop(waiter.token))
        if held:
            group.holder = None
        if len(answer) > 1:
            self._granted(*answer[1])
        if held and group.holder is None and not group.closed:
            self._go_on(group)
        return bool(answer[0])

    def release(self, waiter: Waiter, care: Care | None) -> Awaitable[Released]:
        """Give a lock back and hand it on, with this care; 1 round trip.

        The answer is for `released`; where there is none, or this raises, `give_back` has to follow.
        """
        return self._scripts.release(waiter.place, waiter.token, str(waiter.fence), "", self._heir(waiter), care)

    def save(self, waiter: Waiter, others: Sequence[Held], changes: Changes) -> Awaitable[Released]:
        """Write the changes, give the lock back and hand it on; 1 round trip.

        The answer is for `released`; where there is none, or this raises, `give_back` has to follow.

        Args:
            waiter: the holder.
            others: the other locks it has on the document.
            changes: what to write.
        """
        return self._scripts.save(waiter.place, str(waiter.fence), others, changes, self._heir(waiter))

    async def give_back(self, waiter: Waiter, *, wait: bool = True) -> None:
        """Release if held, to the end, even when cancelled; where Redis is out of reach the lease ends by itself.

        Who waits for it does so for a while only.
        """
        self.renewals.remove(waiter.token, waiter.place.lease)  # first: nothing is lost any more that is given back
        releasing = self._scripts.releasing(waiter.place, waiter.token, "", self._heir(waiter))
        giving = self._start(self._give_back(waiter, releasing))
        if wait:
            await a_while(giving, PATIENCE)

    async def _give_back(self, waiter: Waiter, releasing: Releasing) -> None:
        try:
            await self._see_to(releasing)
        finally:
            self.released(waiter)
            # An answer to an earlier call may be lost that told who has the lock.
            self._look_after(waiter.place.lock_key)

    def lost(self, waiter: Waiter) -> None:
        """Have the others of a holder's group ask for a lock that is another's, or nobody's."""
        group = waiter.group
        if group.holder is waiter:
            self._heir(waiter)
            self.released(waiter)

    # -- means -----------------------------------------------------------------------------------------------------

    def _count(self, lock_key: str) -> int:
        return sum(not waiter.turn.done() for group in self._groups.get(lock_key, ()) for waiter in group.waiters)

    async def close(self) -> None:
        """Close the wake-up connections."""
        await self._wakes.close()
