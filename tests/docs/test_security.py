"""SECURITY.md: the rights it asks for are enough, and a user who has them can do no more than it says."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
from pathlib import Path

import pytest
from redis.asyncio import Redis
from redis.exceptions import NoPermissionError

import rapyer
import redis_stack
from rapyer import AtomicRedisModel
from rapyer.errors import KeyNotFound, ServerError

SECURITY = Path(__file__).parent.parent.parent / "SECURITY.md"


class User(AtomicRedisModel):
    """The model whose keys the rights are for."""

    name: str = ""
    score: int = 0
    ratio: float = 0.5
    tags: list[str] = []
    marks: set[str] = set()
    words: dict[str, int] = {}

    class Meta:
        """Options."""

        ttl = 100


class Other(AtomicRedisModel):
    """A model whose keys it may not touch."""


def rights():
    """The rights that SECURITY.md gives a user."""
    text = SECURITY.read_text("utf-8")
    return re.search(r"^ACL SETUSER app (.*?)\n```", text, re.DOTALL | re.MULTILINE)[1].split()


@pytest.fixture
async def restricted(client, stack):
    """A client of the user that SECURITY.md makes."""
    await client.execute_command("ACL", "SETUSER", "app", "reset", *rights())
    app = Redis.from_url(stack.url, username="app", password="password")  # noqa: S106 - of a server of this test
    yield app
    await rapyer.teardown_rapyer()
    await app.aclose()
    await client.execute_command("ACL", "DELUSER", "app")


async def test_the_rights_are_enough(restricted):
    """Everything a model can do works, also what copies a document to undo a block."""
    await rapyer.init_rapyer(restricted)
    user = await User(tags=["a", "b"]).save()
    await user.score.increase()
    await user.ratio.increase(0.1)
    await user.name.aappend("x")
    await user.tags.aextend(["c"])
    await user.tags.ainsert(0, "z")
    await user.tags.aset_item(0, "y")
    await user.tags.aremove("y")
    await user.tags.apop()
    await user.tags.aclear()
    await user.words.aupdate({"a": 1, 'nasty"\\': 2})
    await user.words.apop("a")
    await user.words.apopitem()
    await user.marks.aadd("a", "b")
    await user.marks.apop()
    await user.marks.adiscard("b")
    async with user.pipeline():
        user.score += 1
        user.score //= 1
        user.tags.append("a")
        user.tags.sort()
        user.tags.append("b")
    async with user.lock(save_at_end=True):
        user.name = "locked"
    async with User.lock_from_key(user.key):
        pass
    await user.duplicate_many(2)
    assert len(await User.afind()) == 3
    await user.load()
    assert user.name == "locked"
    await user.delete()
    with pytest.raises(KeyNotFound):
        await User.get(user.key)


async def test_and_no_more(restricted):
    """Other keys, administration and flushing are refused."""
    await rapyer.init_rapyer(restricted)
    with pytest.raises(ServerError):
        await Other().save()
    for words in (("CONFIG", "GET", "save"), ("FLUSHALL",), ("SET", "Other:1", "x"), ("KEYS", "*"), ("SHUTDOWN",)):
        with pytest.raises(NoPermissionError):
            await restricted.execute_command(*words)


@pytest.mark.slow
async def test_the_rights_on_a_cluster():
    """There two more are enough to connect, to find documents at once, and for the doctor to say what it cannot see."""
    more = re.findall(r"`(\+cluster\|(?:slots|nodes))`", SECURITY.read_text("utf-8"))
    with redis_stack.cluster() as servers:
        for node in servers.nodes:
            async with Redis(port=node.port) as client:
                await client.execute_command("ACL", "SETUSER", "app", "reset", *rights(), *more)
        url = servers.url.replace("://", "://app:password@")
        await rapyer.init_rapyer(url)
        users = [await User(score=number).save() for number in range(9)]
        assert sorted(user.score for user in await User.afind()) == [user.score for user in users]
        scans = 0
        for node in servers.primaries():
            async with Redis(port=node.port) as client:
                scans += (await client.info("commandstats"))["cmdstat_scan"]["calls"]
        assert scans == 3
        await rapyer.teardown_rapyer()
        command = (sys.executable, "-m", "rapyer", "doctor", url)
        done = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        out, err = await done.communicate()
        assert err == b""
        assert out.count(b"no right to see its state") == 3
