"""`RedisConfig`: the options of a model, handed down from those of its parents.

What a model's `Meta` was not given comes from the first of its parents, in the order in which Python asks them, that
was given it, up to `AtomicRedisModel.Meta`, which `init_rapyer` binds. So binding a class binds all below it that have
no value of their own. Threads may define models and set options at the same time.
"""

from __future__ import annotations

import os
import threading
import weakref
from typing import TYPE_CHECKING, Any, ClassVar

from rapyer.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

__all__ = ["DEFAULTS", "RedisConfig"]

#: Option -> default, for a model that has no value of its own and whose parents have none.
DEFAULTS: Mapping[str, Any] = {
    "redis": None,
    "ttl": None,
    "refresh_ttl": False,
    "lock_lease": 30.0,
    "hash_tag": None,
    "exactly_once": False,
    "min_replicas": 0,
}


_CAREFUL = frozenset({"exactly_once", "min_replicas"})
#: Held while options are handed down, so that a model that is defined meanwhile has them, too.
_changing = threading.Lock()
if hasattr(os, "register_at_fork"):  # a child must not begin with a lock that a thread of its parent holds
    os.register_at_fork(before=_changing.acquire, after_in_parent=_changing.release, after_in_child=_changing.release)


class RedisConfig:
    """Options of one model class, given by name.

    Attributes:
        redis: a `redis.asyncio` client; None means the parent's, in the end the one given to `init_rapyer`.
        ttl: seconds until a document expires, counted from its last write; None means never.
        refresh_ttl: whether reads push the expiry out, too.
        lock_lease: seconds a crashed lock holder can block others.
        hash_tag: a field's name, or a text with fields in braces, like "shop-{shop}": documents of any models for which
            it gives the same text share a hash slot of a cluster. It leads the pk, and is fixed with the class.
        exactly_once: whether writes that were sent and not answered are repeated until they are known, and run once.
        min_replicas: how many replicas have to have a write before it counts as done.

    Raises:
        UsageError: an option is unknown or its value makes no sense.
    """

    redis: Any
    ttl: float | None
    refresh_ttl: bool
    lock_lease: float
    _own: dict[str, Any]
    _line: Sequence[RedisConfig]
    _below: set[weakref.ref[RedisConfig]]
    hash_tag: str | None
    exactly_once: bool
    min_replicas: int
    #: Whether any model or block ever asked for one of the last two: until then nobody looks for them.
    careful: ClassVar[bool] = False

    def __init__(self, *parents: RedisConfig, **options: Any) -> None:
        # Every option lies in every config, so that asking for one costs nothing; changes are handed down.
        vars(self).update(_own={}, _line=(self, *parents), _below=set())
        with _changing:
            for parent in parents:
                parent._below.add(weakref.ref(self, parent._below.discard))
            vars(self).update((name, self._in_force(name)) for name in DEFAULTS)
        for name, value in options.items():
            setattr(self, name, value)

    def __setattr__(self, name: str, value: Any) -> None:
        """Set one option for this model and those below it that have none of their own."""
        if name not in DEFAULTS:
            known = ", ".join(sorted(DEFAULTS))
            msg = f"unknown Meta option {name!r}; the options are: {known}"
            raise UsageError(msg)
        if name in _CHECKS and not _CHECKS[name](value):
            msg = f"Meta option {name!r} cannot be {value!r}; {_WANTED[name]}"
            raise UsageError(msg)
        if name in _CAREFUL and value:
            RedisConfig.careful = True
        with _changing:
            if name == "redis" and value is None:
                self._own.pop(name, None)
            else:
                self._own[name] = value
            for config in (self, *filter(None, (reference() for reference in list(self._below)))):
                vars(config)[name] = config._in_force(name)

    def _in_force(self, name: str) -> Any:
        return next((config._own[name] for config in self._line if name in config._own), DEFAULTS[name])

    def __mro_entries__(self, bases: tuple[object, ...]) -> tuple[type, ...]:
        """Have `class Meta(Parent.Meta)` be a plain class: its options come from there anyway."""
        return ()

    def own_options(self) -> dict[str, Any]:
        """Return the options that were given to this config itself."""
        return dict(self._own)

    def __repr__(self) -> str:
        """Show the options in force."""
        shown = ", ".join(f"{name}={getattr(self, name)!r}" for name in DEFAULTS)
        return f"RedisConfig({shown})"


def is_seconds(value: Any) -> bool:
    """Whether a value is a time that Redis can count."""
    # A millisecond is the finest expiry Redis knows; 10 million years is where its clock ends.
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0.001 <= value < 1e14  # noqa: PLR2004


_CHECKS: Mapping[str, Callable[[Any], bool]] = {
    "ttl": lambda value: value is None or is_seconds(value),
    "refresh_ttl": lambda value: isinstance(value, bool),
    "lock_lease": is_seconds,
    "exactly_once": lambda value: isinstance(value, bool),
    "min_replicas": lambda value: isinstance(value, int) and not isinstance(value, bool) and value >= 0,
    "hash_tag": lambda value: value is None or (isinstance(value, str) and value != ""),
}
_WANTED = {
    "ttl": "give seconds, at least 0.001, or None",
    "refresh_ttl": "give True or False",
    "lock_lease": "give seconds, at least 0.001",
    "exactly_once": "give True or False",
    "min_replicas": "give a number, 0 or more",
    "hash_tag": "give a field's name or a text with fields in braces",
}
