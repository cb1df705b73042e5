"""The two sides of every case of `bench.py`: rapyer, and bare redis-py that sends the same commands.

Rules
- Both sides leave the same documents behind, and each task works on documents of its own unless the case says so.
- The bare side is what a careful person writes with redis-py: `json.dumps`, `json.loads`, MULTI where several commands
  belong together, one pool that is large enough. It validates nothing and copies nothing.
- The sides never touch each other's documents, and the database is emptied before each round.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from pydantic import BaseModel, Field

from rapyer import AtomicRedisModel

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

PREPARED_AT_ONCE = 500


class Plain(BaseModel):
    """Six fields, as plain Pydantic has them."""

    name: str
    email: str
    age: int = 0
    score: int = 0
    tags: list[str] = Field(default_factory=list)
    settings: dict[str, str] = Field(default_factory=dict)


class Profile(AtomicRedisModel):
    """The same six fields in Redis."""

    name: str
    email: str
    age: int = 0
    score: int = 0
    tags: list[str] = Field(default_factory=list)
    settings: dict[str, str] = Field(default_factory=dict)


VALUES: Mapping[str, Any] = {
    "name": "John Doe",
    "email": "john@example.com",
    "age": 30,
    "score": 7,
    "tags": ["python", "redis", "asyncio"],
    "settings": {"theme": "dark", "language": "en"},
}


class Side(Protocol):
    """One way to do a case."""

    async def prepare(self, tasks: int, count: int) -> None:
        """Put what `count` operations of that many tasks need into an empty database."""

    async def once(self, task: int, number: int) -> None:
        """Do the operation once, as that task, with a number of its own."""


if TYPE_CHECKING:
    #: Measures sides at so many tasks, interleaved: operations a second of each, by round.
    Compared = Callable[[Mapping[str, Side], int], Awaitable[dict[str, list[float]]]]


@dataclass(frozen=True)
class Case:
    """A name, the ratios that are required at so many tasks, and both sides."""

    name: str
    required: Mapping[int, float]
    bare: type[Bare]
    rapyer: type[Ours]
    tasks: Sequence[int] | None = None  # measured at these numbers of tasks; None: at those asked for


# -- bare redis-py ---------------------------------------------------------------------------------------------------


class Bare:
    """A side that sends its commands with redis-py alone."""

    documents: ClassVar[str] = "one for each task"

    def __init__(self, client: Any) -> None:  # redis-py's execute_command has no types
        self.client = client

    def key(self, task: int) -> str:
        """Return the key of a task's document."""
        return f"Bare:{0 if self.documents == 'one for all' else task}"

    async def prepare(self, tasks: int, count: int) -> None:
        """Put a document for each task, or for each operation, into Redis."""
        wanted = count if self.documents == "one for each operation" else tasks
        text = json.dumps(VALUES)
        for start in range(0, wanted, PREPARED_AT_ONCE):
            async with self.client.pipeline(transaction=False) as pipe:
                for number in range(start, min(wanted, start + PREPARED_AT_ONCE)):
                    pipe.execute_command("JSON.SET", f"Bare:{number}", "$", text)
                await pipe.execute()

    async def once(self, task: int, number: int) -> None:
        """Do the operation once."""
        raise NotImplementedError


# -- rapyer ----------------------------------------------------------------------------------------------------------


class Ours:
    """A side that does the same with rapyer's public methods."""

    documents: ClassVar[str] = "one for each task"

    def __init__(self, client: Any) -> None:
        self.client = client
        self.models: list[Any] = []  # a type checker sees plain values in the fields
        self.keys: list[str] = []

    async def prepare(self, tasks: int, count: int) -> None:
        """Put a document for each task, or for each operation, into Redis."""
        wanted = {"one for each operation": count, "one for all": 1}.get(self.documents, tasks)
        self.keys = []
        for start in range(0, wanted, PREPARED_AT_ONCE):
            copies = await Profile(**VALUES).duplicate_many(min(PREPARED_AT_ONCE, wanted - start))
            self.keys += [copy.key for copy in copies]
        self.models = []
        if self.documents != "one for each operation":
            # With one document for all, each task has its own copy of it, as separate processes would.
            self.models = [await Profile.get(self.keys[task % wanted]) for task in range(tasks)]

    async def once(self, task: int, number: int) -> None:
        """Do the operation once."""
        raise NotImplementedError
