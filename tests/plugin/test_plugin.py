"""`rapyer[testing]`: suites of users, run as theirs, find the fixtures by the entry point."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest
from redis import Redis

import redis_stack

pytestmark = [pytest.mark.slow, pytest.mark.installed]

MODEL = """
from rapyer import AtomicRedisModel

class User(AtomicRedisModel):
    name: str
    score: int = 0
"""
THREE_LINES = """
import pytest
from shop import User

pytestmark = pytest.mark.asyncio

async def test_scores_add_up(rapyer_models):
    user = await User(name="Ada").save()
    assert await user.score.increase(5) == 5

@pytest.mark.parametrize("number", range(4))
async def test_nothing_is_left(rapyer_models, number):
    assert await User.afind() == []
    await User(name="Ada").save()
"""


@pytest.fixture
def suite(tmp_path):
    """Run a suite of these files with these words."""

    def run(*words, passed, env=None, **files):
        (tmp_path / "shop.py").write_text(MODEL, "utf-8")
        (tmp_path / "pytest.ini").write_text(
            "[pytest]\nfilterwarnings = error\nasyncio_default_fixture_loop_scope = function\n", "utf-8"
        )
        for name, text in files.items():
            (tmp_path / f"{name}.py").write_text(text, "utf-8")
        # As a user's shell has it: no settings of this suite.
        shell = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "RAPYER_TEST"))}
        command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *words]
        done = subprocess.run(
            command, cwd=tmp_path, env={**shell, **(env or {})}, capture_output=True, text=True, check=False
        )
        assert re.search(rf"\b{passed} passed", done.stdout), done.stdout + done.stderr
        assert done.returncode == 0

    return run


def test_three_lines_are_a_test(suite):
    """A test that asks for `rapyer_models` works on an empty server of its own, without set-up or warnings."""
    suite(passed=5, test_shop=THREE_LINES)


@pytest.mark.parametrize("words", [("-n", "2"), ("-n", "3", "--dist", "each")])
def test_workers_do_not_meet(suite, words):
    """Each pytest-xdist worker has a server of its own."""
    suite(*words, passed=5 if len(words) == 2 else 15, test_shop=THREE_LINES)


@pytest.mark.parametrize(
    ("named", "first"),
    [("{tcp}/0", 0), ("{tcp}/1", 1), ("{tcp}?db=5&socket_timeout=9", 5), ("unix://{socket}", 0)],
)
def test_workers_share_a_given_server(suite, tmp_path, named, first):
    """Where RAPYER_TEST_URL names one, each worker takes a database of its own, from the one that is named on."""
    test = """
    import asyncio, os, pytest
    from shop import User

    @pytest.mark.asyncio
    @pytest.mark.parametrize("number", range(6))
    async def test_alone(rapyer_models, number):
        me = os.environ["PYTEST_XDIST_WORKER"]
        await User(name=me).save()
        await asyncio.sleep(0.2)
        assert [user.name for user in await User.afind()] == [me]
        assert User.Meta.redis.connection_pool.connection_kwargs.get("db", 0) in (FIRST, FIRST + 1)
    """
    socket = tmp_path / "redis.sock"
    with redis_stack.start(private=True, args=["--unixsocket", str(socket)]) as server:
        url = named.format(tcp=server.url.rpartition("/")[0], socket=socket)
        test = re.sub("^    ", "", test, flags=re.MULTILINE).replace("FIRST", str(first))
        suite("-n", "2", passed=6, env={"RAPYER_TEST_URL": url}, test_shop=test)
        with Redis.from_url(server.url) as client:
            assert client.info("keyspace") == {}  # so that the next run finds them empty


def test_models_with_a_client_of_their_own(suite):
    """They work on the test's server, too, and have their client back afterwards; so has everything that was bound."""
    test = """
    from redis.asyncio import Redis
    import pytest, rapyer
    from shop import User

    away = Redis(host="192.0.2.1")

    class Mine(User):
        class Meta:
            redis = away
            ttl = 50

    @pytest.mark.asyncio
    async def test_both(rapyer_models):
        user, mine = await User(name="a").save(), await Mine(name="b").save()
        async with rapyer.pipeline():
            user.score += 1
            mine.score += 1
        assert await Mine.afind() == [mine]
        global Late, Given

        class Late(User):  # as a module that is imported in a test
            class Meta:
                redis = away

        class Given(User):
            Meta = rapyer.RedisConfig(redis=away)

        await Late(name="c").save()
        await Given(name="d").save()
        await rapyer.init_rapyer(rapyer_models.url, ttl=5)  # as the program under test may do
        await rapyer.teardown_rapyer()

    def test_as_before():
        assert Mine.Meta.redis is away and Mine.Meta.ttl == 50
        assert Late.Meta.redis is away and Given.Meta.redis is away
        assert User.Meta.redis is None and User.Meta.ttl is None
    """
    suite(passed=2, test_shop=re.sub("^    ", "", test, flags=re.MULTILINE))


def test_other_ways_to_run_asyncio(suite):
    """`asyncio.run` in plain tests, unittest's, and one loop for all tests do as well."""
    test = """
    import asyncio, unittest, pytest
    from shop import User

    async def use():
        assert await User.afind() == []
        async with (await User(name="Ada").save()).lock():
            pass

    def test_run(rapyer_models):
        asyncio.run(use())

    @pytest.mark.parametrize("number", range(3))
    @pytest.mark.asyncio(loop_scope="session")
    async def test_one_loop(rapyer_models, number):
        await use()

    class TestCase(unittest.IsolatedAsyncioTestCase):
        @pytest.fixture(autouse=True)
        def bound(self, rapyer_models):
            pass

        async def test_it(self):
            await use()
    """
    suite(passed=5, test_shop=re.sub("^    ", "", test, flags=re.MULTILINE))


def test_the_server_alone(suite):
    """`redis_stack` binds nothing and is for any client; it is empty for each test."""
    test = """
    import pytest, redis, rapyer

    @pytest.mark.parametrize("number", range(2))
    def test_it(redis_stack, number):
        assert rapyer.AtomicRedisModel.Meta.redis is None
        with redis.Redis.from_url(redis_stack.url) as client:
            assert client.dbsize() == 0
            client.json().set("a", "$", {})
    """
    suite(passed=2, test_shop=re.sub("^    ", "", test, flags=re.MULTILINE))


def test_a_suite_that_asks_for_nothing(suite):
    """It starts no server: one that does not answer is no matter."""
    suite(passed=1, env={"RAPYER_TEST_URL": "redis://127.0.0.1:1"}, test_shop="def test_it():\n    pass\n")
