"""Finding documents on a server that fails or is full: what was there all the time is found."""

import asyncio

import pytest

import rapyer
import redis_stack
from rapyer import AtomicRedisModel, _query
from rapyer.errors import ServerError

pytestmark = pytest.mark.one_server("it starts one of its own")


class Lasts(AtomicRedisModel):
    """A document."""

    n: int = 0


async def test_a_restart_in_the_middle_of_a_walk(tmp_path, monkeypatch):
    """Where a walk had come to means nothing to a server that was restarted: it begins anew, and no key comes twice."""
    monkeypatch.setattr(_query, "SCAN_COUNT", 10)
    with redis_stack.start(directory=tmp_path) as server:
        await rapyer.init_rapyer(server.url)
        await (await Lasts().save()).duplicate_many(499)
        client = Lasts.Meta.redis
        found = []
        async for key in _query.find_keys(client, "Lasts", lambda _: True):
            found.append(key)
            if len(found) == 200:
                await asyncio.to_thread(server.restart)
        assert len(found) == len(set(found)) == 500
        await rapyer.teardown_rapyer()


async def test_a_server_that_takes_no_writes():
    """Reading many documents is a read: a full server, or one that lost its replicas, still gives them."""
    with redis_stack.start(private=True) as server:
        await rapyer.init_rapyer(server.url)
        kept = await Lasts(n=1).save()
        client = Lasts.Meta.redis
        await client.config_set("maxmemory", 1)
        with pytest.raises(ServerError):
            await kept.save()
        assert [found.n for found in await Lasts.afind()] == [1]
        await client.config_set("maxmemory", 0)
        await client.config_set("min-replicas-to-write", 1)
        assert [found.n for found in await Lasts.afind()] == [1]
        await rapyer.teardown_rapyer()
