"""`RedisConfig`: the options of a model, looked up along the chain of its parents.

A model's `Meta` holds only what that model was given; everything else is asked of the parent model's `Meta`, up
to `AtomicRedisModel.Meta`, which `init_rapyer` binds. So binding a class binds all below it that have
no value of their own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rapyer.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["DEFAULTS", "RedisConfig"]

#: Option -> default, for a model that has no value of its own and whose parents have none.
DEFAULTS: Mapping[str, Any] = {
    "redis": None,
    "ttl": None,
    "refresh_ttl": False,
    "lock_lease": 30.0,
}


class RedisConfig:
    """Options of one model class.

    Args:
        redis: a `redis.asyncio` client; None means the one given to `init_rapyer`.
        ttl: seconds until a document expires, counted from its last write; None means never.
        refresh_ttl: whether reads push the expiry out, too.
        lock_lease: seconds a crashed lock holder can block others.

    Raises:
        UsageError: an option is unknown or its value makes no sense.
    """

    redis: Any
    ttl: float | None
    refresh_ttl: bool
    lock_lease: float

    def __init__(self, parent: RedisConfig | None = None, /, **options: Any) -> None:
        object.__setattr__(self, "_parent", parent)
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
        object.__setattr__(self, name, value)

    def __getattr__(self, name: str) -> Any:
        """Ask the parent for an option that this model was not given."""
        if name not in DEFAULTS:
            raise AttributeError(name)
        config = vars(self)["_parent"]
        while config is not None:
            own = vars(config)
            if name in own:
                return own[name]
            config = own["_parent"]
        return DEFAULTS[name]

    def __repr__(self) -> str:
        """Show the options in force."""
        shown = ", ".join(f"{name}={getattr(self, name)!r}" for name in DEFAULTS)
        return f"RedisConfig({shown})"

    def child(self, options: Mapping[str, Any]) -> RedisConfig:
        """Return a config with these options that asks this one for the others."""
        return RedisConfig(self, **options)


def _is_seconds(value: Any) -> bool:
    # A millisecond is the finest expiry Redis knows; 10 million years is where its clock ends.
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0.001 <= value < 1e14  # noqa: PLR2004


_CHECKS: Mapping[str, Callable[[Any], bool]] = {
    "ttl": lambda value: value is None or _is_seconds(value),
    "refresh_ttl": lambda value: isinstance(value, bool),
    "lock_lease": _is_seconds,
}
_WANTED = {
    "ttl": "give seconds, at least 0.001, or None",
    "refresh_ttl": "give True or False",
    "lock_lease": "give seconds, at least 0.001",
}
