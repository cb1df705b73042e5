"""scripts/_stack_sentinel.py: a watched primary with one call, whose processes fail when asked to."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest
from redis.sentinel import Sentinel

import redis_stack
from rapyer.testing._stack_url import talk

if TYPE_CHECKING:
    from collections.abc import Iterator

UP_SECONDS = 10.0  # less than 2 on an idle machine


@pytest.fixture
def watched() -> Iterator[redis_stack.Watched]:
    """Give a primary with replicas and sentinels."""
    with redis_stack.sentinel() as made:
        yield made


def failed_over(watched: redis_stack.Watched, old: redis_stack.RedisStack) -> redis_stack.RedisStack:
    """Return the new primary as soon as the sentinels name another."""
    deadline = time.monotonic() + UP_SECONDS
    while watched.primary() is old:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return watched.primary()


def test_has_two_replicas_and_three_sentinels() -> None:
    """It is up in time; redis-py finds the primary, and what it writes reaches both replicas."""
    began = time.monotonic()
    with redis_stack.sentinel() as made:
        assert time.monotonic() - began < UP_SECONDS
        assert (len(made.servers), len(made.sentinels), len(made.replicas())) == (3, 3, 2)
        sentinel = Sentinel(made.addresses)
        assert sentinel.discover_master(made.service) == ("127.0.0.1", made.primary().port)
        with sentinel.master_for(made.service) as client:
            assert client.json().set("doc", "$", [1])
            assert client.wait(2, 1000) == 2
        assert [talk(node.url, ("JSON.GET", "doc")) for node in made.replicas()] == [["[1]"]] * 2
        for node in sentinel.sentinels:
            node.close()


def test_a_replica_takes_over_from_a_killed_primary(watched: redis_stack.Watched) -> None:
    """After kill -9 the sentinels name another primary; restarted, the old one is made its replica."""
    old = watched.primary()
    talk(old.url, ("SET", "key", "kept"), ("WAIT", "2", "1000"))
    old.kill()
    new = failed_over(watched, old)
    assert talk(new.url, ("GET", "key")) == ["kept"]
    old.restart()
    watched.wait()
    assert watched.primary() is new
    assert old in watched.replicas()
    assert talk(old.url, ("GET", "key")) == ["kept"]


def test_a_paused_primary_is_replaced_with_one_sentinel_gone(watched: redis_stack.Watched) -> None:
    """Two sentinels of three are enough to replace a frozen primary; a restarted sentinel remembers what to watch."""
    watched.sentinels[0].kill()
    old = watched.primary()
    old.pause()
    try:
        new = failed_over(watched, old)
    finally:
        old.resume()
    watched.sentinels[0].restart()
    watched.wait()
    assert watched.primary() is new
    assert old in watched.replicas()


def test_takes_options() -> None:
    """The time until a primary counts as down is the caller's, and so are options of the servers."""
    with redis_stack.sentinel(down_after=7, args=["--maxmemory", "64mb"]) as made:
        for node in made.sentinels:
            assert "down-after-milliseconds\n7000" in talk(node.url, ("SENTINEL", "MASTER", made.service))[0]
        assert [talk(node.url, ("CONFIG", "GET", "maxmemory"))[0].split()[1] for node in made.servers] == [
            "67108864"
        ] * 3


def test_says_that_no_sentinel_answers(watched: redis_stack.Watched) -> None:
    """Without sentinels nobody knows the primary: an error, not a guess."""
    for node in watched.sentinels:
        node.kill()
    with pytest.raises(redis_stack.StackError, match="No sentinel answers"):
        watched.primary()
