"""A connection whose writes count only when replicas have them: each lot of calls is followed by one WAIT.

Rules:
- WAIT keeps its connection busy, so this is one of its own beside the plain lane, and nothing is written to it before
  the WAIT of the lot before is answered: calls that come meanwhile are the next lot.
- Callers get their replies when WAIT is answered, in the order of the calls.
"""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING, Any, cast

from rapyer._lane import Lane
from rapyer.errors import NotReplicated, OutcomeUnknown

if TYPE_CHECKING:
    from asyncio import Future

    from rapyer._wire import Call

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
        words = (b"WAIT", b"%d" % replicas, b"%d" % int(1000 * min(SECONDS, limit / 2)))
        self._wait = b"*3\r\n" + b"".join(b"$%d\r\n%b\r\n" % (len(word), word) for word in words)
        self._replicas = replicas
        self._witness: Call | None = None

    def call(self, packed: bytes, *, repeatable: bool, first: bytes = b"", until: float = math.inf) -> Call:
        """Send one packed command, as every lane; its reply comes with the word of the replicas."""
        inner = super().call(packed, repeatable=repeatable, first=first, until=until)
        outer = inner.outer = self._made(packed, repeatable=repeatable)
        inner.add_done_callback(partial(_failed, outer))
        outer.add_done_callback(partial(_cancelled, inner))
        return outer

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
        lot = cast("list[Call]", list(wire.sent))  # nothing else is sent here
        self._witness = self._made(self._wait, repeatable=False)
        self._witness.add_done_callback(partial(self._settle, lot))
        wire.sent.append(self._witness)
        wire.write(data + self._wait)

    def _settle(self, lot: list[Call], witness: Future[Any]) -> None:
        """Hand out the replies of a lot, now that the replicas told."""
        error = witness.exception()
        found = 0 if error is not None else witness.result()
        for inner in lot:
            outer = inner.outer
            if outer is None or outer.done() or not inner.done() or inner.cancelled() or inner.exception() is not None:
                continue
            if isinstance(error, OutcomeUnknown):
                outer.fail(_unknown(error))
            elif found < self._replicas:
                outer.fail(NotReplicated("", self._replicas, found))
            else:
                outer.set_result(inner.result())
        self.flush()


def _failed(outer: Call, inner: Any) -> None:
    outer.tries, outer.unsure = inner.tries, inner.unsure
    if not inner.cancelled() and (error := inner.exception()) is not None:
        outer.fail(error)


def _cancelled(inner: Call, outer: Future[Any]) -> None:
    """Give up a call whose caller is gone: if it was not sent, it need not be."""
    if outer.cancelled():
        inner.cancel()


def _unknown(error: BaseException) -> OutcomeUnknown:
    unknown = OutcomeUnknown(
        "the connection was lost after a write was carried out and before the replicas had it: it may be lost; "
        "read the document before repeating it"
    )
    unknown.__cause__ = error
    return unknown
