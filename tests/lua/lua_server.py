"""What the tests of single scripts call the server with."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
import redis

from rapyer import _codec
from rapyer._registry import scripts

if TYPE_CHECKING:
    from collections.abc import Sequence

DOCUMENT = "{User:1}"
LOCK = "{User:1}lock"
QUEUE = "{User:1}queue"
BACKUP = "{User:1}backup"
WORK = ("{User:1}work1", "{User:1}work2", "{User:1}work3")


class Server:
    """A real server, called synchronously."""

    def __init__(self, url: str) -> None:
        self.redis = redis.Redis.from_url(url)

    def empty(self) -> None:
        """Remove every key and load every script."""
        self.redis.flushdb()
        with self.redis.pipeline(transaction=False) as pipe:
            for script in scripts().values():
                pipe.execute_command("SCRIPT LOAD", script.source)
            pipe.execute()

    def call(self, name: str, keys: Sequence[str], arguments: Sequence[str | bytes]) -> Any:
        """Run a script."""
        return self.redis.evalsha(scripts()[name].sha, len(keys), *keys, *arguments)

    def operate(self, name: str, path: str, *arguments: str | bytes, ttl: str = "") -> Any:
        """Run one operation on the document, without locks."""
        return self.call(name, [DOCUMENT], (ttl, "0", path, *arguments))

    def put(self, text: str | bytes, key: str = DOCUMENT) -> None:
        """Store JSON text under a key."""
        self.redis.execute_command("JSON.SET", key, "$", text)

    def lua(self, body: str, *keys: str) -> Any:
        """Run a body that no file holds."""
        return self.redis.eval(body, len(keys), *keys)

    def text(self, key: str = DOCUMENT) -> str | None:
        """Return what is stored under a key as JSON text."""
        found = self.redis.execute_command("JSON.GET", key)
        return None if found is None else found.decode()

    def state(self) -> dict[bytes, tuple[bytes, bytes, int]]:
        """Return every key with its type, its bytes and when it expires."""
        keys = sorted(self.redis.keys())
        return {
            key: (self.redis.type(key), self.redis.dump(key), self.redis.execute_command("PEXPIRETIME", key))
            for key in keys
        }

    def refusal(self, name: str, keys: Sequence[str], arguments: Sequence[str | bytes]) -> str:
        """Return what a script refuses with, the first of its answers if it has several: code, index and detail."""
        with pytest.raises(redis.ResponseError) as caught:
            raise self.call(name, keys, arguments)[0]
        return str(caught.value).removeprefix("RAPYER_")


class Change(NamedTuple):
    """One operation of a batch."""

    script: str
    arguments: Sequence[str | bytes]
    dependent: bool = False
    document: int = 1


class Documented(NamedTuple):
    """One document of a batch."""

    key: str = DOCUMENT
    ttl: str = ""
    missing: str = "refuse"
    own: Sequence[str] = ()
    locks: Sequence[tuple[str, str]] = ()

    @property
    def keys(self) -> list[str]:
        """Its keys, in the order of the script."""
        return [self.key, *(key for key, _ in self.locks), *self.own]

    @property
    def arguments(self) -> list[str]:
        """What the script takes for it."""
        tokens = [token for _, token in self.locks]
        if tokens or self.own or self.missing != "refuse":
            return [f"{self.ttl}+", self.missing, str(len(self.own)), str(len(tokens)), *tokens]
        return [self.ttl]


def batch(
    changes: Sequence[Change],
    *documents: Documented,
    reads: Sequence[tuple[int, str]] = (),
) -> tuple[list[str], list[str | bytes]]:
    """Return keys and arguments of a `batch.apply`; without documents it works on the usual one."""
    documents = documents or (Documented(own=(BACKUP, *WORK)),)
    arguments: list[str | bytes] = [str(len(documents))]
    for document in documents:
        arguments += document.arguments
    arguments.append(str(len(changes)))
    last = 1
    for change in changes:
        if change.document != last:
            last = change.document
            arguments.append(str(last))
        arguments += [*("+" * change.dependent), change.script, *change.arguments]
    for number, _ in enumerate(documents, 1):
        paths = [path for each, path in reads if each == number]
        arguments += [str(len(paths)), *paths]
    return [key for document in documents for key in document.keys], arguments


def value(python: Any) -> tuple[str | bytes, ...]:
    """Return a value as the scripts take it."""
    return _codec.arguments(json.dumps(python, ensure_ascii=False).encode())
