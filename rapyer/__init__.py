"""Pydantic models that live in Redis as JSON documents, where every operation is one atomic Lua script."""

from rapyer._model import AtomicRedisModel
from rapyer._setup import get, init_rapyer, pipeline, teardown_rapyer
from rapyer._version import __version__
from rapyer.config import RedisConfig

__all__ = ["AtomicRedisModel", "RedisConfig", "__version__", "get", "init_rapyer", "pipeline", "teardown_rapyer"]
