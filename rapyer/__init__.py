"""Pydantic models that live in Redis as JSON documents, where every operation is one atomic Lua script.

Names are loaded when they are first used, as Pydantic's own are: the pytest plugin, which every run of pytest loads,
needs neither Redis nor Pydantic.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from rapyer._version import __version__

if TYPE_CHECKING:
    from rapyer import config as config
    from rapyer import errors as errors
    from rapyer import fields as fields
    from rapyer import types as types
    from rapyer._model import AtomicRedisModel
    from rapyer._observe import Event, observe
    from rapyer._setup import exactly_once, get, init_rapyer, pipeline, teardown_rapyer
    from rapyer.config import RedisConfig

__all__ = [
    "AtomicRedisModel",
    "Event",
    "RedisConfig",
    "__version__",
    "exactly_once",
    "get",
    "init_rapyer",
    "observe",
    "pipeline",
    "teardown_rapyer",
]

#: Where a name is from; the modules of the public surface are names, too.
_HOMES = {
    "AtomicRedisModel": "_model",
    "Event": "_observe",
    "RedisConfig": "config",
    "exactly_once": "_setup",
    "get": "_setup",
    "init_rapyer": "_setup",
    "observe": "_observe",
    "pipeline": "_setup",
    "teardown_rapyer": "_setup",
}
_MODULES = {"config", "errors", "fields", "types"}

if not TYPE_CHECKING:  # a type checker would take any name for one of ours

    def __getattr__(name: str) -> object:
        """Load a public name."""
        if name in _MODULES:
            return import_module(f"rapyer.{name}")
        if name not in _HOMES:
            msg = f"module {__name__!r} has no attribute {name!r}"
            raise AttributeError(msg)
        found = getattr(import_module(f"rapyer.{_HOMES[name]}"), name)
        globals()[name] = found
        return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, *_MODULES})
