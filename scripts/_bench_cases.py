"""The main cases of `bench.py`: what every user does, one model at a time."""

from __future__ import annotations

import json
import uuid

from redis.asyncio.lock import Lock

from _bench_sides import VALUES, Bare, Case, Ours, Profile

COPIES = 100


# -- bare redis-py ---------------------------------------------------------------------------------------------------


class BareSave(Bare):
    """JSON.SET of the whole document."""

    async def once(self, task: int, number: int) -> None:  # noqa: ARG002 - each case takes both
        """Write a document."""
        await self.client.execute_command("JSON.SET", self.key(task), "$", json.dumps(VALUES))


class BareSaveNew(Bare):
    """JSON.SET of a document that is not there."""

    documents = "a new one for each operation"

    async def prepare(self, tasks: int, count: int) -> None:
        """Leave the database empty."""

    async def once(self, task: int, number: int) -> None:  # noqa: ARG002
        """Write a new document."""
        await self.client.execute_command("JSON.SET", f"Bare:{number}", "$", json.dumps(VALUES))


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


class BareSharedIncrease(BareIncrease):
    """The same with one document for all tasks."""

    documents = "one for all"


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


class OurSave(Ours):
    """`save()`."""

    async def once(self, task: int, number: int) -> None:  # noqa: ARG002
        """Write a document."""
        await self.models[task].save()


class OurSaveNew(Ours):
    """`save()` of a model that was never saved."""

    documents = "a new one for each operation"

    async def prepare(self, tasks: int, count: int) -> None:  # noqa: ARG002
        """Build the models, and leave the database empty."""
        self.models = [Profile(**VALUES) for _ in range(count)]

    async def once(self, task: int, number: int) -> None:  # noqa: ARG002
        """Write a new document."""
        await self.models[number].save()


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


class OurSharedIncrease(OurIncrease):
    """The same with one document for all tasks."""

    documents = "one for all"


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
    Case("save", {1: 0.8}, BareSave, OurSave),
    Case("save_new", {1: 1.0, 64: 2.0, 512: 2.5}, BareSaveNew, OurSaveNew),
    Case("get", {1: 1.1, 64: 2.5, 512: 3.0}, BareGet, OurGet),
    Case("aupdate", {1: 1.2, 64: 3.0, 512: 3.0}, BareUpdate, OurUpdate),
    Case("delete_by_key", {1: 0.8}, BareDelete, OurDelete),
    Case("increase", {1: 1.2, 64: 4.0, 512: 6.0}, BareIncrease, OurIncrease),
    Case("increase_shared", {256: 12.0}, BareSharedIncrease, OurSharedIncrease, (256,)),
    Case("pipeline", {1: 1.0, 64: 2.5, 512: 3.0}, BarePipeline, OurPipeline),
    Case("lock", {1: 2.5}, BareLock, OurLock),
    Case("lock_shared", {}, BareSharedLock, OurSharedLock, (32,)),
    Case("duplicate_copy", {1: 3.0}, BareCopies, OurCopies, (1, 64)),
    Case("duplicate_set", {1: 3.0}, BareSets, OurCopies, (1, 64)),
)
