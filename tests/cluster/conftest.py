"""A cluster for the tests of this folder, and ways to change it."""

import pytest
from cluster_world import opened

import redis_stack


@pytest.fixture(scope="session")
def servers():
    """One cluster for the whole worker; tests that break one start their own."""
    with redis_stack.cluster(node_timeout=15.0) as cluster:  # a slow machine is no failure
        yield cluster


@pytest.fixture
async def world(servers):
    """An empty cluster that all models are bound to."""
    async with opened(servers) as world:
        yield world
