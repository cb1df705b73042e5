"""Mistakes that a type checker has to find: each line is marked, and a mark that is not needed is an error."""

from __future__ import annotations

from pydantic import Field

from rapyer import AtomicRedisModel
from rapyer.types import RedisDict, RedisInt, RedisList


class Player(AtomicRedisModel):
    """Redis types as annotations."""

    score: RedisInt
    tags: RedisList[str] = Field(default_factory=RedisList[str])
    counts: RedisDict[int] = Field(default_factory=RedisDict[int])


async def mistakes(player: Player) -> None:
    """What cannot work."""
    Player(score="many")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    Player()  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    await player.tags.aappend(1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await player.tags.aextend([1])  # type: ignore[list-item]  # pyright: ignore[reportArgumentType]
    await player.score.increase("1")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await player.counts.aset_item(1, 1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await player.counts.aset_item("a", "b")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    player.counts.update(a="b")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    async with player.pipeline(True, True):  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
        player.nothing = 1  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]
    async with player.lock(timeout="5"):  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        pass
    player.tags = [1]  # type: ignore[list-item]  # pyright: ignore[reportAttributeAccessIssue]
