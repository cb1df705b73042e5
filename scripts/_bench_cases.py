"""What `bench.py` measures: each case done by rapyer and by bare redis-py sending the same commands.

Rules
- Both sides leave the same documents behind, and each task works on documents of its own unless the case says so.
- The bare side is what a careful person writes with redis-py: `json.dumps`, `json.loads`, MULTI where several commands
  belong together, one pool that is large enough. It validates nothing and copies nothing.
- The sides never touch each other's documents, and the database is emptied before each round.
"""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from pydantic import BaseModel, Field
from redis.asyncio.lock import Lock

from rapyer import AtomicRedisModel

if TYPE_CHECKING:
    from collections.abc import Mapping

COPIES = 100
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


@dataclass(frozen=True)
class Case:
    """A name, the ratio that is required at one task, and both sides."""

    name: str
    required: float | None
    bare: type[Bare]
    rapyer: type[Ours]
    contended: bool = False  # only with several tasks it is a case of its own


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


class BareSave(Bare):
    """JSON.SET of the whole document."""

    async def once(self, task: int, number: int) -> None:  # noqa: ARG002 - each case takes both
        """Write a document."""
        await self.client.execute_command("JSON.SET", self.key(task), "$", json.dumps(VALUES))


class BareGet(Bare):
    """JSON.GET and json.loads."""

    async def once(self, task: int, number: int) -> None:  # noqa: ARG002
        """Read a document."""
        json.loads(await self.client.execute_command("JSON.GET", self.key(task)))


class BareUpdate(Bare):
    """Two JSON.SET in MULTI/EXEC."""

    async def once(self, task: int, number: int) -> None:
        """Write two fields."""
        async with self.client.pipeline(transaction=True) as pipe:
            pipe.execute_command("JSON.SET", self.key(task), "$.age", json.dumps(number))
            pipe.execute_command("JSON.SET", self.key(task), "$.tags", json.dumps(["python", "redis"]))
            await pipe.execute()


class BareDelete(Bare):
    """DEL."""

    documents = "one for each operation"

    async def once(self, task: int, number: int) -> None:  # noqa: ARG002
        """Delete a document that is there."""
        await self.client.execute_command("DEL", f"Bare:{number}")


class BareIncrease(Bare):
    """JSON.NUMINCRBY."""

    async def once(self, task: int, number: int) -> None:  # noqa: ARG002
        """Add one."""
        await self.client.execute_command("JSON.NUMINCRBY", self.key(task), "$.score", "1")


class BarePipeline(Bare):
    """JSON.GET, then three commands in MULTI/EXEC."""

    async def once(self, task: int, number: int) -> None:
        """Read, then change three fields at once."""
        key = self.key(task)
        json.loads(await self.client.execute_command("JSON.GET", key))
        async with self.client.pipeline(transaction=True) as pipe:
            pipe.execute_command("JSON.NUMINCRBY", key, "$.score", "1")
            pipe.execute_command("JSON.SET", key, "$.settings.theme", json.dumps("dark"))
            pipe.execute_command("JSON.SET", key, "$.age", json.dumps(number))
            await pipe.execute()


class BareLock(Bare):
    """redis-py's Lock around JSON.GET and JSON.SET."""

    async def once(self, task: int, number: int) -> None:  # noqa: ARG002
        """Read, change and write under a lock."""
        key = self.key(task)
        async with Lock(self.client, f"lock:{key}", timeout=30, sleep=0.01):
            document = json.loads(await self.client.execute_command("JSON.GET", key))
            document["age"] += 1
            await self.client.execute_command("JSON.SET", key, "$", json.dumps(document))


class BareSharedLock(BareLock):
    """The same with one document for all tasks."""

    documents = "one for all"


class BareCopies(Bare):
    """JSON.SET, then COPY for each further copy, in MULTI/EXEC."""

    async def once(self, task: int, number: int) -> None:  # noqa: ARG002
        """Write a hundred documents."""
        first, *others = (f"Bare:{uuid.uuid4()}" for _ in range(COPIES))
        async with self.client.pipeline(transaction=True) as pipe:
            pipe.execute_command("JSON.SET", first, "$", json.dumps(VALUES))
            for key in others:
                pipe.execute_command("COPY", first, key)
            await pipe.execute()


class BareSets(Bare):
    """JSON.SET for each copy, in MULTI/EXEC."""

    async def once(self, task: int, number: int) -> None:  # noqa: ARG002
        """Write a hundred documents."""
        text = json.dumps(VALUES)
        async with self.client.pipeline(transaction=True) as pipe:
            for _ in range(COPIES):
                pipe.execute_command("JSON.SET", f"Bare:{uuid.uuid4()}", "$", text)
            await pipe.execute()


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


class OurSave(Ours):
    """`save()`."""

    async def once(self, task: int, number: int) -> None:  # noqa: ARG002
        """Write a document."""
        await self.models[task].save()


class OurGet(Ours):
    """`get(key)`."""

    async def once(self, task: int, number: int) -> None:  # noqa: ARG002
        """Read a document."""
        await Profile.get(self.keys[task])


class OurUpdate(Ours):
    """`aupdate()` of two fields."""

    async def once(self, task: int, number: int) -> None:
        """Write two fields."""
        await self.models[task].aupdate(age=number, tags=["python", "redis"])


class OurDelete(Ours):
    """`delete_by_key(key)`."""

    documents = "one for each operation"

    async def once(self, task: int, number: int) -> None:  # noqa: ARG002
        """Delete a document that is there."""
        await Profile.delete_by_key(self.keys[number])


class OurIncrease(Ours):
    """`increase()`."""

    async def once(self, task: int, number: int) -> None:  # noqa: ARG002
        """Add one."""
        await self.models[task].score.increase()


class OurPipeline(Ours):
    """`pipeline()` with three changes."""

    async def once(self, task: int, number: int) -> None:
        """Read, then change three fields at once."""
        async with self.models[task].pipeline() as model:
            model.score += 1
            model.settings["theme"] = "dark"
            model.age = number


class OurLock(Ours):
    """`lock(save_at_end=True)`."""

    async def once(self, task: int, number: int) -> None:  # noqa: ARG002
        """Read, change and write under a lock."""
        async with self.models[task].lock(save_at_end=True) as model:
            model.age = model.age + 1


class OurSharedLock(OurLock):
    """The same with one document for all tasks."""

    documents = "one for all"


class OurCopies(Ours):
    """`duplicate_many(100)`."""

    async def once(self, task: int, number: int) -> None:  # noqa: ARG002
        """Write a hundred documents, and return a model for each."""
        await self.models[task].duplicate_many(COPIES)


CASES = (
    Case("save", 0.8, BareSave, OurSave),
    Case("get", 0.8, BareGet, OurGet),
    Case("aupdate", 0.8, BareUpdate, OurUpdate),
    Case("delete_by_key", 0.8, BareDelete, OurDelete),
    Case("increase", None, BareIncrease, OurIncrease),
    Case("pipeline", None, BarePipeline, OurPipeline),
    Case("lock", None, BareLock, OurLock),
    Case("lock_shared", None, BareSharedLock, OurSharedLock, contended=True),
    Case("duplicate_copy", 3.0, BareCopies, OurCopies),
    Case("duplicate_set", 3.0, BareSets, OurCopies),
)
