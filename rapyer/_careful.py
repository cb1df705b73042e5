"""Script calls that are asked for more than running: to run once however often they are sent, to be on replicas.

Rules:
- However many callers are combined in it, such a call is one operation: one id, one place in the record, and the answer
  that is kept there is that of all of them.
- It goes on as a whole. What may have run is sent again as it was, whoever gave up meanwhile; what ran nowhere is made
  anew for those who still wait.
- A lane has it for the first time it is sent, and is done with it when that failed; a task sends it on from there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rapyer._combine import COMBINED, Group, end
from rapyer._lane import own_error
from rapyer._once import known
from rapyer._pack import pack
from rapyer._refused import final
from rapyer._registry import once_scripts, scripts
from rapyer._sent import Sent, told_of

if TYPE_CHECKING:
    from asyncio import Future
    from collections.abc import Callable, Sequence

    from rapyer._combine import Sender
    from rapyer._lane import Lane
    from rapyer._once import Once
    from rapyer._ops import Argument
    from rapyer._refused import Locate, Where
    from rapyer._script import Script
    from rapyer._sent import Care


class Careful(Sent, Group):
    """A call with care, of one caller or of several.

    Attributes:
        care: what each of them asks for.
        lane: the way it took.
    """

    def __init__(  # noqa: PLR0913, PLR0917 - as a `Group`
        self,
        future: Future[Any],
        name: str,
        keys: Sequence[str],
        arguments: Sequence[Argument],
        where: Where | Locate | str,
        sender: Sender,
        lane: Lane,
        care: Care,
        once: Once | None,
    ) -> None:
        self.name = name
        self.keys = keys
        self.head = tuple(arguments[:-1])
        self.care = care
        self.lane = lane
        self.future = None  # `answer` is to be asked: there is something to take note of
        self._where = where
        self._sender = sender
        self._futures = [future]
        self._amounts = [*arguments[-1:]]
        self._of = self._callers()
        self._over = False
        packed, script = self._made(once)
        super().__init__(packed, script, keys[0], once, care.replicas)

    def _made(self, once: Once | None) -> tuple[bytes, Script]:
        """Return the command for the callers there are, and its script."""
        name, keys, arguments = self.name, self.keys, (*self.head, *self._amounts)
        if len(self._amounts) > 1:
            name, arguments = COMBINED[name], (*self.head, str(len(self._amounts)), *self._amounts)
        if once is None:
            script = scripts()[name]
        else:
            script, keys, arguments = once_scripts()[name], (*keys, once.record.key), (*arguments, *once.arguments)
        return pack(("EVALSHA", script.sha, str(len(keys)), *keys, *arguments)), script

    # -- what a lane asks a call -----------------------------------------------------------------------------------

    @property
    def packed(self) -> bytes:
        """The command; nobody joins from now on."""
        self._sender.shut(self)
        left = self._callers()
        if left and left != self._of and not self.unsure:
            self._of = left
            self._futures, self._amounts = map(list, zip(*left, strict=True))
            self._packed, self.script = self._made(self.once)
        return self._packed

    def given_up(self) -> bool:
        """Whether a lane need not care for it any more."""
        return self._over or super().given_up()

    def answer(self, reply: Any) -> None:
        """Give each caller its answer."""
        known(self)
        super().answer(reply)

    def fail(self, error: BaseException) -> None:
        """Go on if there is a way, else give each caller its error."""
        if self._over:
            return
        self._over = True
        self._sender.shut(self)
        error = self.named(error)
        if self._sender.mends(error, again=self.again(error)):
            self._sender.mend(self, error)
        else:
            self.end(error)

    # -- what is asked of a call that goes on --------------------------------------------------------------------------

    def sent(self) -> Sent:
        """Return it as what may be sent several times."""
        return self

    def when_left(self, then: Callable[[], object]) -> None:
        """Do something when nobody waits for it any more."""
        for future in self._futures or ():
            future.add_done_callback(lambda _: None if self.callers() else then())

    def end(self, error: BaseException) -> None:
        """Give each caller the error that this failure is to it, as an object of its own."""
        known(self)
        for future, _ in self._callers():
            end(future, told_of(self, final(self.name, own_error(error), self._where, self.keys)))
