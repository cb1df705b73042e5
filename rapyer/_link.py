"""The tie of a value to its place: which document, which path.

Rules:
- A linked value knows its owner (a model or a container) and the place it was found at. The owner knows the rest, so
  a path is worked out when it is asked for and follows an element that moved.
- A value without owner is an ordinary Python value; asking for its place is a `UsageError`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from rapyer._path import absolute, render
from rapyer.errors import UsageError

if TYPE_CHECKING:
    from rapyer._ops import Argument
    from rapyer._path import Step, Steps
    from rapyer.config import RedisConfig


#: Where an operation goes: the place, the document, its key, and the steps to what the place is in.
Target: TypeAlias = "tuple[Step, Document, str, Steps]"


class Document(Protocol):
    """The root of every link: what has a key of its own."""

    Meta: Any

    @property
    def key(self) -> str:
        """Return the document's Redis key."""
        ...


class Owner(Protocol):
    """What holds linked values: a model or a container."""

    # Whether anything in it may be restricted beyond its plain type: cheap, to be asked before `_guards`.
    @property
    def _guarded(self) -> Any: ...

    # The places whose values are nobody's but Python's.
    @property
    def _unstored(self) -> frozenset[Any]: ...

    def _guards(self, place: Step) -> bool: ...

    def _vet(self, place: Step, value: Any) -> None: ...

    def _vet_kept(self, place: Step, value: Any) -> None: ...

    def _document(self) -> Document: ...

    def _steps(self) -> Steps: ...

    # Where an operation on a child goes.
    def _way_to(self, child: object, hint: Step) -> Target: ...

    def _place_of(self, child: object, hint: Step) -> Step: ...

    def _holds(self, place: Step, child: object) -> bool: ...

    def _decode(self, place: Step, text: bytes) -> Any: ...

    def _encode(self, place: Step, value: Any) -> tuple[Argument, ...]: ...

    def _written(self, place: Step, value: Any) -> tuple[Argument, ...]: ...

    # Returns what stands there now.
    def _put(self, place: Step, value: Any) -> Any: ...

    def _get(self, place: Step) -> Any: ...


class LeftOut(UsageError):
    """A field whose value, as it is, is not to be stored: what is stored has no such member."""


class MovedOut(UsageError):
    """A model that left its place, and stands in a plain value that a pipeline watches: it is recorded with that."""


class Linked:
    """A value that may stand in a document."""

    _owner: Owner | None = None
    _hint: Step = ""

    def _linked(self) -> Owner:
        if self._owner is None:
            msg = (
                "this value is in no document: take it from a model's field (user.tags), not from a variable of its own"
            )
            raise UsageError(msg)
        return self._owner

    def _place(self) -> Step:
        return self._linked()._place_of(self, self._hint)

    def _standing(self) -> tuple[Owner, Step]:
        """Return owner and place."""
        owner = self._linked()
        return owner, owner._place_of(self, self._hint)

    def _document(self) -> Document:
        return self._linked()._document()

    def _steps(self) -> Steps:
        owner = self._linked()
        return (*owner._steps(), owner._place_of(self, self._hint))

    @property
    def key(self) -> str:
        """The Redis key of the document this value is in."""
        return self._document().key

    @property
    def field_name(self) -> str:
        """The value's own name: its field, its key in a dict, its index in a list."""
        return str(self._place())

    @property
    def field_path(self) -> str:
        """The path from the document's root: `.profile.name`, `.tags[0]`."""
        return render(self._steps())

    @property
    def json_path(self) -> str:
        """The JSONPath as Redis takes it: `$` and `field_path`."""
        return absolute(self._steps())


def config_of(document: Document) -> RedisConfig:
    """Return the options of a document's model."""
    config: RedisConfig = document.Meta
    return config
