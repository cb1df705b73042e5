"""The types that field values become, for annotations and `isinstance`."""

from rapyer.types.collection import RedisSet
from rapyer.types.mapping import RedisDict
from rapyer.types.moment import RedisDatetime
from rapyer.types.number import RedisFloat, RedisInt
from rapyer.types.sequence import RedisList
from rapyer.types.text import RedisBytes, RedisStr

__all__ = ["RedisBytes", "RedisDatetime", "RedisDict", "RedisFloat", "RedisInt", "RedisList", "RedisSet", "RedisStr"]
