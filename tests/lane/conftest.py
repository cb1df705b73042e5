"""The world of the tests of the lane."""

import pytest
from lane_world import opened


@pytest.fixture
async def world(stack):
    """An empty world."""
    async with opened(stack.url) as world:
        yield world
