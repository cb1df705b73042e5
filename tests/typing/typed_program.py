"""Every public call, as a user writes it: `mypy --strict` and pyright accept it, and it runs.

Fields with plain annotations are plain to a type checker; fields annotated with Redis types have their operations,
and may still be given and assigned plain values.
"""

from __future__ import annotations

import asyncio
import sys
from datetime import datetime, timedelta, timezone
from typing import Annotated, ClassVar

from pydantic import Field
from typing_extensions import assert_type

import rapyer
from rapyer import AtomicRedisModel, Event, RedisConfig, init_rapyer, teardown_rapyer
from rapyer.errors import (
    CorruptDocument,
    CrossSlot,
    KeyNotFound,
    LockError,
    LockLost,
    LockTimeout,
    NotReplicated,
    OutcomeUnknown,
    OutOfRange,
    PathNotFound,
    RapyerError,
    ServerError,
    UsageError,
    WrongType,
)
from rapyer.fields import Key, KeyAnnotation
from rapyer.otel import instrument
from rapyer.testing import Cluster, RedisStack, StackError, Watched, cluster, free_port, sentinel, start
from rapyer.types import RedisBytes, RedisDatetime, RedisDict, RedisFloat, RedisInt, RedisList, RedisSet, RedisStr

BEGIN = datetime(2026, 1, 2, tzinfo=timezone.utc)


class Address(AtomicRedisModel):
    """A nested model."""

    city: str = ""


class Plain(AtomicRedisModel):
    """Plain annotations stay valid, and their values are plain to the type checker."""

    name: Annotated[str, KeyAnnotation]
    score: int = 0
    tags: list[str] = []
    counts: dict[str, int] = {}
    home: Address = Address()

    class Meta:
        """Options."""

        ttl: ClassVar[float] = 60
        refresh_ttl: ClassVar[bool] = True
        lock_lease: ClassVar[float] = 5


class Brief(Plain):
    """A child with options of its own besides its parent's."""

    class Meta(Plain.Meta):
        """Those that differ."""

        ttl: ClassVar[float] = 5
        exactly_once: ClassVar[bool] = True


class Player(AtomicRedisModel):
    """Redis types as annotations."""

    name: Key[str]
    title: RedisStr = RedisStr("")
    score: RedisInt = RedisInt(0)
    ratio: RedisFloat = RedisFloat(0.0)
    photo: RedisBytes = RedisBytes(b"")
    joined: RedisDatetime
    tags: RedisList[str] = Field(default_factory=RedisList)
    counts: RedisDict[RedisInt] = Field(default_factory=RedisDict)
    badges: RedisSet[str] = Field(default_factory=RedisSet)
    home: Address = Field(default_factory=Address)
    rank: RedisInt | None = None


async def documents() -> None:
    """Whole documents."""
    plain = await Plain(name="plain", tags=["a"], counts={"x": 1}).save()
    assert_type(plain, Plain)
    assert_type(plain.score, int)
    assert_type(plain.tags, list[str])
    assert_type(plain.pk, str)
    assert_type((plain.key, plain.field_name, plain.field_path, plain.json_path), tuple[str, str, str, str])
    assert_type(plain.home.is_inner_model(), bool)
    assert_type(await plain.load(), Plain)
    assert_type(await Plain.get("plain"), Plain)
    assert_type(await Plain.afind(), list[Plain])
    assert_type(await Plain.afind_keys(), list[str])
    assert_type(Plain.class_key_initials(), str)
    plain.update(score=3)
    await plain.aupdate(score=4, tags=["b"])
    address = await Address(city="Paris").save()
    assert_type(await address.duplicate(), Address)
    assert_type(await address.duplicate_many(2), list[Address])
    assert_type(await address.delete(), bool)
    assert_type(await Plain.delete_by_key("plain"), bool)
    assert_type(Plain.Meta.ttl, float)
    assert_type(RedisConfig(ttl=5.0).ttl, float | None)
    assert_type(await Brief(name="brief").save(), Brief)


async def scalars(player: Player) -> None:
    """Numbers, text, bytes and timestamps: operations, and plain values where they are assigned."""
    assert_type(await player.score.increase(), RedisInt)
    assert_type(await player.ratio.increase(0.5), RedisFloat)
    assert_type(await player.title.aappend("Dr. "), RedisStr)
    assert_type(await player.joined.aadd(timedelta(days=1)), RedisDatetime)
    assert_type(player.score.clone(), int)
    assert_type(player.title.clone(), str)
    assert_type(player.photo.clone(), bytes)
    assert_type(player.joined.clone(), datetime)
    assert_type(player.score.json_path, str)
    assert_type(await player.score.save(), RedisInt)
    await player.score.load()
    player.score = 7
    assert_type(await player.score.increase(), RedisInt)
    player.ratio = 0.5
    assert_type(await player.ratio.increase(), RedisFloat)
    player.title = "Prof. "
    assert_type(await player.title.aappend("Dr. "), RedisStr)
    player.photo = b"\x00"
    assert_type(player.photo.clone(), bytes)
    player.joined = BEGIN
    assert_type(await player.joined.aadd(timedelta(days=1)), RedisDatetime)
    if player.rank is not None:
        assert_type(await player.rank.save(), RedisInt)
    player.rank = 3


async def containers(player: Player) -> None:
    """Lists, dicts and sets."""
    assert_type(await player.tags.aappend("x"), RedisList[str])
    await player.tags.aextend(["y", "z"])
    await player.tags.ainsert(0, "w")
    assert_type(await player.tags.apop(), str | None)
    await player.tags.aremove("w")
    await player.tags.aset_item(0, "v")
    assert_type(player.tags[0], str)
    assert_type(player.tags[:1], list[str])
    assert_type(player.tags.clone(), list[str])
    await player.tags.aclear()

    await player.counts.aset_item("a", RedisInt(1))
    await player.counts.aupdate({"b": RedisInt(2)}, c=RedisInt(3))
    assert_type(await player.counts["a"].increase(), RedisInt)
    assert_type(player.counts.get("a"), RedisInt | None)
    assert_type(await player.counts.apop("b"), RedisInt | None)
    assert_type(await player.counts.apop("b", 0), RedisInt | int)
    assert_type(await player.counts.apopitem(), tuple[str, RedisInt])
    await player.counts.adel_item("a")
    assert_type(player.counts.clone(), dict[str, RedisInt])
    await player.counts.aclear()

    assert_type(await player.badges.aadd("gold", "red"), RedisSet[str])
    await player.badges.adiscard("blue")
    await player.badges.aremove("red")
    assert_type(await player.badges.apop(), str | None)
    assert_type(player.badges.clone(), set[str])
    await player.badges.aclear()
    player.tags = ["plain"]
    assert_type(await player.tags.aappend("x"), RedisList[str])
    player.badges = {"plain"}
    assert_type(await player.badges.aadd("x"), RedisSet[str])
    player.counts = {"plain": RedisInt(1)}
    assert_type(await player.counts.aset_item("a", RedisInt(1)), RedisDict[RedisInt])


async def blocks(player: Player) -> None:
    """Pipelines and locks."""
    async with player.pipeline() as same:
        assert_type(same, Player)
        same.score += 1
        same.score -= 1
        same.score *= 2
        same.score //= 2
        same.score %= 5
        same.score **= 2
        same.ratio += 0.5
        same.ratio /= 2
        same.title += "!"
        same.photo += b"!"
        same.joined += timedelta(hours=1)
        same.tags.append("a")
        same.tags[0] = "b"
        same.tags += ["c"]
        del same.tags[0]
        same.counts["x"] = RedisInt(1)
        same.counts.update(y=RedisInt(2))
        same.counts.pop("x")
        same.counts.setdefault("z", RedisInt(3))
        same.badges.add("b")
        same.badges |= {"c"}
        same.home.city = "Oslo"
    async with player.pipeline(ignore_if_deleted=True):
        player.title = "Dame "
    with rapyer.exactly_once():
        await player.save()
    async with rapyer.pipeline() as nothing:
        assert_type(nothing, None)
        player.score += 1
    async with player.lock() as held:
        assert_type(held, Player)
    async with player.lock("rename", save_at_end=True, timeout=5, lease=5):
        player.title = "Mr. "
    async with Player.lock_from_key(player.key, "rename", save_at_end=True, timeout=5) as loaded:
        assert_type(loaded, Player)
        loaded.title = "Ms. "


async def failures(player: Player) -> None:
    """Errors and what they tell."""
    assert_type(await player.delete(), bool)
    try:
        await player.score.increase()
    except KeyNotFound as error:
        assert_type(error.key, str)
    try:
        await Player.get("nobody")
    except (PathNotFound, WrongType) as refused:
        assert_type(refused.path, str)
    except (LockTimeout, LockLost) as lock:
        assert_type(lock.action, str)
    except NotReplicated as error:
        assert_type((error.wanted, error.found), tuple[int, int])
    except ServerError as error:
        assert_type(error.message, str)
    except (CorruptDocument, CrossSlot, LockError, OutcomeUnknown, OutOfRange, UsageError):
        raise
    except RapyerError:
        pass


def observing(event: Event) -> None:
    """Take an event."""
    assert_type((event.name, event.prefix, event.outcome), tuple[str, str, str])
    assert_type((event.seconds, event.batch), tuple[float, int])


def servers() -> None:
    """Servers for tests, killed and frozen; not run here, where a server is given."""
    try:
        with start(private=True, args=["--port", str(free_port())]) as server:
            assert_type(server, RedisStack)
            assert_type(server.url, str)
            server.kill()
            server.restart()
            server.pause()
            server.resume()
    except StackError:
        return
    with cluster(node_timeout=1.0) as nodes:
        assert_type(nodes, Cluster)
        assert_type(nodes.replicas_of(nodes.primaries()[0]), list[RedisStack])
    with sentinel(down_after=0.5) as watched:
        assert_type(watched, Watched)
        assert_type((watched.primary(), watched.replicas()), tuple[RedisStack, list[RedisStack]])


async def main(url: str) -> None:
    """Run everything on a server."""
    await init_rapyer(url, ttl=60)
    stop = rapyer.observe(observing)
    stop_spans = instrument()
    await documents()
    player = await Player(name="Ada", joined=BEGIN, score=1, tags=["a"], badges={"b"}).save()
    found: Player = await rapyer.get(player.key)
    assert_type(found.joined, RedisDatetime)
    await scalars(player)
    await containers(player)
    await blocks(player)
    await failures(player)
    stop()
    stop_spans()
    await teardown_rapyer()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
