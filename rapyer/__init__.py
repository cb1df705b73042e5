"""Pydantic models that live in Redis as JSON documents, where every operation is one atomic Lua script."""

from rapyer._model import AtomicRedisModel
from rapyer._observe import Event, observe
from rapyer._setup import exactly_once, get, init_rapyer, pipeline, teardown_rapyer
from rapyer._version import __version__
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
