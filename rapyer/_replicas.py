"""A connection whose writes count only when replicas have them: each lot of calls is followed by one WAIT.

Rules:
- WAIT keeps its connection busy, so this is one of its own beside the plain lane, and nothing is written to it before
  the WAIT of the lot before is answered: calls that come meanwhile are the next lot.
- Callers get their replies when WAIT is answered, in the order of the calls.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from rapyer._lane import Lane
from rapyer._pack import pack
from rapyer.errors import NotReplicated, OutcomeUnknown

if TYPE_CHECKING:
    from asyncio import Future

    from rapyer._wire import Call, Sendable, Wire

#: Seconds that replicas have to acknowledge.
SECONDS = 1.0


class ReplicatedLane(Lane):
    """A lane whose calls are done when replicas have what they wrote.

    They fail with `NotReplicated` when too few have it in time, or the server was made a replica meanwhile, and with
    `OutcomeUnknown` when the connection was lost before they told.

    Args:
        pool: as for every lane.
        replicas: how many replicas WAIT waits for.
    """

    def __init__(self, pool: Any, replicas: int) -> None:
        super().__init__(pool)
        limit = pool.connection_kwargs.get("socket_timeout") or 2 * SECONDS
        self._wait = pack(("WAIT", str(replicas), str(int(1000 * min(SECONDS, limit / 2)))))
        self._replicas = replicas
        self._witness: Call | None = None

    def send(self, call: Sendable) -> None:
        """Send a call, as every lane; its reply comes with the word of the replicas."""
        super().send(_Held(call))

    def flush(self) -> None:
        """Write what waits, and a WAIT behind it, unless one is under way."""
        self._scheduled = False
        wire, waiting = self._wire, self._waiting
        if self._witness is not None and not self._witness.done():
            return
        if not waiting or wire is None or not wire.open or wire.sent:
            return
        data = self._next_batch(waiting, wire.sent)
        if not wire.sent:
            return  # all were given up
        lot = [call for call in wire.sent if isinstance(call, _Held)]
        self._witness = self._made(self._wait, repeatable=False)
        self._witness.add_done_callback(partial(self._settle, lot))
        wire.sent.append(self._witness)
        wire.write(data + self._wait)

    def lost(self, wire: Wire, error: BaseException) -> None:
        """Decide for every call, as every lane; a WAIT that was refused ends with its lot: the next one has its own."""
        if wire.refused and wire.refused[-1] is self._witness:
            wire.refused.pop()
            self._witness.fail(error)
        super().lost(wire, error)

    def _settle(self, lot: list[_Held], witness: Future[Any]) -> None:
        """Hand out the replies of a lot, now that the replicas told."""
        error = witness.exception()
        found = 0 if error is not None else witness.result()
        for held in lot:
            call = held.call
            if not held.answered or call.given_up():
                continue
            if isinstance(error, OutcomeUnknown):
                call.fail(_unknown(error))
            elif found < self._replicas:
                call.fail(NotReplicated("", self._replicas, found))
            else:
                call.answer(held.reply)
        self.flush()


class _Held:
    """A call whose reply is held back; all else is its own business.

    Attributes:
        call: which.
        answered: whether there is a reply.
        reply: what it is.
    """

    __slots__ = ("answered", "call", "reply")

    future = None

    def __init__(self, call: Sendable) -> None:
        self.call = call
        self.answered = False
        self.reply: Any = None

    def answer(self, reply: Any) -> None:
        self.answered, self.reply = True, reply

    def fail(self, error: BaseException) -> None:
        self.call.fail(error)

    def given_up(self) -> bool:
        return self.call.given_up()

    def over(self) -> bool:
        return self.call.over()

    def callers(self) -> int:
        return self.call.callers()

    @property
    def packed(self) -> bytes:
        return self.call.packed

    @property
    def repeatable(self) -> bool:
        return self.call.repeatable

    @property
    def first(self) -> bytes:
        return self.call.first

    @property
    def until(self) -> float:
        return self.call.until

    @property
    def tries(self) -> int:
        return self.call.tries

    @tries.setter
    def tries(self, tries: int) -> None:
        self.call.tries = tries

    @property
    def unsure(self) -> bool:
        return self.call.unsure

    @unsure.setter
    def unsure(self, unsure: bool) -> None:
        self.call.unsure = unsure


def _unknown(error: BaseException) -> OutcomeUnknown:
    unknown = OutcomeUnknown(
        "the connection was lost after a write was carried out and before the replicas had it: it may be lost; "
        "read the document before repeating it"
    )
    unknown.__cause__ = error
    return unknown
