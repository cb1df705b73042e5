"""Key names: a document's key, the helper keys that share its hash slot, and which class a key belongs to."""

from __future__ import annotations

import os
import re
from binascii import crc_hqx
from functools import lru_cache
from itertools import count
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

#: How many hash slots a cluster has.
SLOTS = 16384
# Any digit -> one with the two bits that mark the variant of a UUID.
_VARIANT = {digit: "89ab"[int(digit, 16) & 3] for digit in "0123456789abcdef"}
_LOCK = re.compile(r"rapyer:\{[^}]*\}:lock:(\d+):")
#: The SCAN pattern of all locks.
ANY_LOCK = "rapyer:{*}:lock:*"
#: What parts the lines of a ticket.
LINE_END = "\n"
_GLOB = re.compile(r"([\\*?\[\]])")


def document_key(prefix: str, pk: str) -> str:
    """Return the key of a document."""
    return f"{prefix}:{pk}"


def new_pk() -> str:
    """Return a random UUID of version 4 as text."""
    return _uuid(os.urandom(16).hex())


def new_pks(count: int) -> list[str]:
    """Return several of them; many at a time cost a fifth of what the `uuid` module takes."""
    hexes = os.urandom(16 * count).hex()
    return [_uuid(hexes[start : start + 32]) for start in range(0, 32 * count, 32)]


def _uuid(digits: str) -> str:
    variant = _VARIANT[digits[16]]
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-{variant}{digits[17:20]}-{digits[20:]}"


def full_key(prefix: str, key_or_pk: str) -> str:
    """Return the key that a caller means who may give a full key or a bare pk.

    Raises:
        TypeError: it is no text.
    """
    key_or_pk = text(key_or_pk)
    return key_or_pk if key_or_pk.startswith(f"{prefix}:") else document_key(prefix, key_or_pk)


def text(given: Any) -> str:
    """Return what stands in a key, if it is text: of a member of an enumeration of texts its value.

    Raises:
        TypeError: it is not.
    """
    if not isinstance(given, str):
        msg = f"keys, and the names of locks, are text, not {type(given).__name__}"
        raise TypeError(msg)
    return given if given.__class__ is str else str.__str__(given)  # others may write themselves in another way


def pk_of(prefix: str, key: str) -> str:
    """Return the pk inside a full key of this prefix."""
    return key[len(prefix) + 1 :]


def pattern(prefix: str) -> str:
    """Return the SCAN pattern that matches every key of this prefix and no other's."""
    return _GLOB.sub(r"\\\1", prefix) + ":*"


def hash_slot(key: str) -> int:
    """Return the cluster slot of a key, by the rules of the Redis Cluster specification."""
    data = key.encode()
    start = data.find(b"{")
    if start >= 0:
        end = data.find(b"}", start + 1)
        if end > start + 1:
            data = data[start + 1 : end]
    return crc_hqx(data, 0) % SLOTS


def by_slot(keys: Iterable[str]) -> list[list[str]]:
    """Return the keys in groups that share a slot, in order."""
    groups: dict[int, list[str]] = {}
    for key in keys:
        groups.setdefault(hash_slot(key), []).append(key)
    return list(groups.values())


def lock_key(key: str, action: str) -> str:
    """Return the key that holds the lock of a document and action."""
    return f"rapyer:{{{hash_tag(key)}}}:lock:{len(key)}:{key}:{action}"


def queue_key(key: str, action: str) -> str:
    """Return the key that holds the tickets of those who wait for a lock."""
    return f"rapyer:{{{hash_tag(key)}}}:queue:{len(key)}:{key}:{action}"


def wake_channel(station: str, key: str = "") -> str:
    """Return the channel on which the waiters of one client and loop are woken.

    It ends with the station, is in the slot of the key if there is one, and is one line whatever the key is.
    """
    if not key:
        return f"rapyer:wake:{station}"
    tag = hash_tag(key)
    return f"rapyer:wake:{{{_stand_in(hash_slot(tag)) if LINE_END in tag else tag}}}:{station}"


def lock_of(name: str) -> tuple[str, str]:
    """Return document key and action of a lock's key."""
    match = _LOCK.match(name)
    if match is None:
        raise ValueError(name)
    start, length = match.end(), int(match[1])
    return name[start : start + length], name[start + length + 1 :]


def record_key(key: str, period: int) -> str:
    """Return the key that keeps the answers of operations on a document that have to run exactly once."""
    return f"rapyer:{{{hash_tag(key)}}}:once:{period}:{key}"


def scratch_key(key: str) -> str:
    """Return the key that exists only while a script runs that may have to undo its work."""
    return f"rapyer:{{{hash_tag(key)}}}:scratch:{key}"


@lru_cache(maxsize=4096)
def hash_tag(key: str) -> str:
    """Return a tag that hashes to the slot of `key`: its own, the key itself, or a stand-in.

    The stand-in is for keys with a `}` that is no tag: written into braces they would be cut there.
    """
    start = key.find("{")
    end = key.find("}", start + 1)
    if start >= 0 and start + 1 < end:
        return key[start + 1 : end]
    if key and "}" not in key:
        return key
    return _stand_in(hash_slot(key))


@lru_cache(maxsize=4096)
def _stand_in(slot: int) -> str:
    """Return the least number that hashes to a slot."""
    return next(tag for tag in map(str, count()) if hash_slot(tag) == slot)
