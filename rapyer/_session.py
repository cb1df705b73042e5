"""Run an operation now, or collect it: what a task is in the middle of.

Rules:
- A `Recording` collects the operations of one task on the documents it covers. Tasks started inside do not belong to
  it: a context is copied into them, so each recording remembers its task.
- A block of exactly-once writes is for tasks started inside, too. Generators and fixtures may leave it in another task
  or context, where it cannot be taken out of the one it was entered in: it is marked as over then.
- Locks a task holds go along with every write to their document, so that the script can refuse it.
- Nothing here knows models or types; documents are what has a key and options.
"""

from __future__ import annotations

from contextvars import ContextVar
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from rapyer._collected import recording_here
from rapyer._dispatch import Care
from rapyer._loops import dispatcher
from rapyer._tasks import current_task
from rapyer.config import RedisConfig
from rapyer.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from rapyer._collected import Recording
    from rapyer._dispatch import Dispatcher
    from rapyer._link import Document, Owner
    from rapyer._path import Step, Steps


class Held(msgspec.Struct, eq=False):
    """A lock that a task holds, until it is `gone`: a block may be left in another task than it was entered in."""

    client: Any  # a weak reference: tasks that are started in the block keep this for as long as they run
    key: str
    action: str
    lock_key: str
    fence: str  # the number, as the scripts take it; empty when the lock is lost, so that they refuse
    task: Any
    gone: bool = False


class OnceBlock:
    """A block whose writes run exactly once; it begins when it is made.

    Attributes:
        outer: the block around it.
        over: whether it counts no more where it is still in a context.
    """

    __slots__ = ("_task", "outer", "over")

    def __init__(self) -> None:
        self.outer = _goes_on(_once.get())
        self.over = False
        self._task = current_task()
        RedisConfig.careful = True
        _once.set(self)

    def end(self) -> None:
        """Have writes be plain from now on; tasks started inside keep to it, unless another task ends it."""
        inmost = _once.get() is self
        self.over, self._task = not inmost or self._task is not current_task(), None
        if inmost:
            _once.set(_goes_on(self.outer))


def _goes_on(block: OnceBlock | None) -> OnceBlock | None:
    """Return the innermost of these blocks that is not over."""
    while block is not None and block.over:
        block = block.outer
    return block


class Saving(Protocol):
    """A block that saves at its end what changed."""

    def agrees(self, steps: Steps, text: bytes | None = None, stored: bytes | None = None) -> None:
        """Take notice that Redis holds at this place what the document has there, or had when it was this text."""

    def lacks(self, name: str) -> None:
        """Take notice that Redis has no such field."""


_once: ContextVar[OnceBlock | None] = ContextVar("rapyer_once", default=None)
_held: ContextVar[tuple[Held, ...]] = ContextVar("rapyer_held", default=())
# Blocks that save at their end what their document, known by its identity, has by then and Redis has not.
_saving: dict[int, list[Saving]] = {}


def around() -> Recording | None:
    """Return the innermost recording that goes on; others were left in a context that this one is not."""
    recording = recording_here.get()
    while recording is not None and recording.task is None:
        recording = recording.outer
    return recording


def is_recording() -> bool:
    """Whether there may be a recording at all: cheap, to be asked before a value looks for its document."""
    return recording_here.get() is not None


def recording_of(document: Document) -> Recording | None:
    """Return where the running task collects changes of this document, if it does."""
    recording = recording_here.get()
    return None if recording is None else recording.of(document)


def recorded_whole(document: Document, whole: Any) -> None:
    """Take notice that the running task's block has recorded a value as a whole."""
    recording = recording_of(document)
    if recording is not None and recording.watched:
        recording.renew(whole)


def put_in(value: Any) -> None:
    """Take notice that the running task's blocks recorded a value as a part of another."""
    for recording in recordings():
        recording.renewed(value)


def recordings() -> Iterator[Recording]:
    """Yield the recordings the running task is in, the innermost first."""
    recording, task = recording_here.get(), current_task()
    while recording is not None:
        if recording.task is task:
            yield recording
        recording = recording.outer


def is_recorded(document: object) -> bool:
    """Whether changes of this document were collected in the running task."""
    return is_recording() and any(id(document) in recording.touched for recording in recordings())


def is_watched(document: Any, model: object) -> bool:
    """Whether a model stands in one of the plain values of a document that the running task's blocks watch."""
    return is_recording() and any(
        id(model) in document._models_in(met.value) and met.owner._document() is document
        for recording in recordings()
        for met in recording._met_in(None)
    )


def becomes_part(document: object) -> None:
    """Take notice that a model, so far a document of its own, is part of another one from now on."""
    for recording in recordings():
        if id(document) in recording.touched:
            recording.became_part(document)


def stands_alone(document: object) -> None:
    """Take notice that a model is a document of its own, though it stands in a plain value, too."""
    for recording in recordings():
        if recording.parts:
            recording.parts.pop(id(document), None)


def locks_on(client: Any, key: str) -> tuple[Held, ...]:
    """Return the locks the running task holds on a document."""
    held = _held.get()
    if not held:
        return ()
    task = current_task()
    found = [lock for lock in held if lock.key == key and lock.task is task and not lock.gone]
    return tuple([lock for lock in found if lock.client() is client or same_database(lock.client(), client)])


def same_database(client: Any, other: Any) -> bool:
    """Whether two clients work on the same database, as far as can be told from where they connect to."""
    return _target(client) == _target(other)


def _target(client: Any) -> tuple[Any, ...]:
    pool = getattr(client, "connection_pool", None)
    if pool is None:
        return ()  # a cluster's, which has one database
    options = pool.connection_kwargs
    host = options.get("host", "localhost")
    place = (None if host in _HERE else host, options.get("port", 6379), options.get("path"))
    return (getattr(pool, "service_name", None), *place, options.get("db") or 0)


_HERE = frozenset({"localhost", "127.0.0.1", "::1"})


def hold(lock: Held) -> None:
    """Have the running task hold a lock."""
    _held.set((*_kept(_held.get()), lock))


def let_go(lock: Held) -> None:
    """Have the task that holds a lock hold it no more."""
    lock.gone = True
    _held.set(_kept(_held.get()))


def _kept(held: tuple[Held, ...]) -> tuple[Held, ...]:
    if not held or (len(held) == 1 and held[0].gone):  # mostly
        return ()
    return tuple([lock for lock in held if not lock.gone])


def other_locks(lock: Held) -> tuple[Held, ...]:
    """Return the locks the running task holds on a document besides one."""
    held = _held.get()
    if len(held) == 1 and held[0] is lock:
        return ()
    return tuple([other for other in locks_on(lock.client(), lock.key) if other is not lock])


def begin_saving(document: Document, block: Saving) -> None:
    """Have a block told of what a document has in common with Redis, until `end_saving`."""
    _saving.setdefault(id(document), []).append(block)


def end_saving(document: Document, block: Saving) -> Sequence[Saving]:
    """Tell a block no more; return the others that save the document, for `tell`."""
    blocks = _saving[id(document)]
    blocks.remove(block)
    if blocks:
        return tuple(blocks)
    del _saving[id(document)]
    return ()


def agrees(document: Document, steps: Steps = (), text: bytes | None = None, stored: bytes | None = None) -> None:
    """Take notice that a document is what Redis holds at this place, after a write or a read: it is not saved again.

    Args:
        document: which.
        steps: the place.
        text: the document as it was when it was written, where it may have changed since.
        stored: the text that was read, without the defaults of what is missing there; empty where it is not known.
    """
    if _saving:
        tell(_saving.get(id(document), ()), steps, text, stored)


def tell(blocks: Iterable[Saving], steps: Steps = (), text: bytes | None = None, stored: bytes | None = None) -> None:
    """Have these blocks take notice; see `agrees`.

    Of a write that took a while only those are told that had begun when it was sent: what others read may be older.
    """
    for block in blocks:
        block.agrees(steps, text, stored)


def lacks(document: Document, name: str) -> None:
    """Take notice that Redis has no such field of a document: what it is here is saved, if it is stored at all."""
    for block in _saving.get(id(document), ()):
        block.lacks(name)


def agrees_at(owner: Owner, place: Step) -> None:
    """Take notice that the value at this place is what Redis holds."""
    if _saving:
        agrees(owner._document(), (*owner._steps(), place))


def noting(document: Any, steps: Callable[[], Steps]) -> Callable[[], None]:
    """Return what takes notice that the value at a place was written as it is now; the write may take a while."""
    blocks = tuple(_saving.get(id(document), ()))
    if not blocks:
        return _nothing
    try:
        return partial(tell, blocks, steps(), document._dump())
    except ValueError:  # something else in the document cannot be written: whoever writes that is told
        return partial(tell, blocks, steps())


def _nothing() -> None:
    """Take notice of nothing: no block will ask."""


def bound_client(config: Any, cls: type[Any]) -> Any:
    """Return the client of a model class with these options."""
    if config.redis is None:
        msg = (
            f"{cls.__name__} is bound to no Redis: `await init_rapyer(redis_client)` once at the start, "
            f"or give the model `class Meta: redis = redis_client`"
        )
        raise UsageError(msg)
    return config.redis


def dispatcher_of(document: Document) -> Dispatcher:
    """Return what calls scripts for a document, in the running loop."""
    return dispatcher(bound_client(document.Meta, type(document)))


def milliseconds(seconds: float | None) -> str:
    """Return a number of seconds as the scripts take it; empty for None."""
    return "" if seconds is None else str(max(1, round(seconds * 1000)))


def read_ttl(config: Any) -> str:
    """Return the expiry that a read sets: empty unless the model wants its reads to count."""
    return milliseconds(config.ttl) if config.refresh_ttl else ""


def is_careful() -> bool:
    """Whether any write may be asked for more than running: cheap, to be asked before `care_of`."""
    return RedisConfig.careful


def care_of(config: RedisConfig) -> Care | None:
    """Return what a model's writes are asked for beyond running; None for nothing."""
    once, replicas = config.exactly_once or _goes_on(_once.get()) is not None, config.min_replicas
    return Care(once, replicas) if once or replicas else None
