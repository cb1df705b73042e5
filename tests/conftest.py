"""One real Redis Stack for each worker, empty for each test."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

import connections  # first: it may hide hiredis  # isort: skip

import rapyer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from redis.asyncio import Redis, RedisCluster

    from redis_stack import Cluster, RedisStack


# A shell that starts the suite in the background has its programs ignore Ctrl-C, and so would those the tests start.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


# The same examples in every run, however slow the machine; RAPYER_PROPERTY=long looks for new ones.
settings.register_profile("suite", deadline=None, derandomize=os.environ.get("RAPYER_PROPERTY") != "long")
settings.load_profile("suite")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """On a cluster, leave out what is about one server."""
    if connections.SERVER == "cluster":
        for item in items:
            if marker := item.get_closest_marker("one_server"):
                item.add_marker(pytest.mark.skip(reason=": ".join(("about one server", *marker.args))))


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisStack | Cluster]:
    """The worker's own server, or cluster."""
    with connections.started(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture
async def client(stack: RedisStack | Cluster) -> AsyncIterator[Redis | RedisCluster]:
    """A client of an empty database."""
    client = connections.client_of(stack.url)
    await client.flushdb()
    yield client
    await client.flushdb()
    await client.aclose()


@pytest.fixture
async def bound(client: Redis | RedisCluster) -> AsyncIterator[Redis | RedisCluster]:
    """A client that all models are bound to."""
    await rapyer.init_rapyer(client)
    yield client
    await rapyer.teardown_rapyer()
