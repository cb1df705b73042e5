"""The scripts of `lock/`: taken once, handed on in order, to those who live, with the document."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from lua_server import DOCUMENT, LOCK, QUEUE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lua_server import Server

KEYS = (DOCUMENT, LOCK, QUEUE)
MINE, OTHERS, DEAD = "rapyer:wake:mine", "rapyer:wake:others", "rapyer:wake:dead"
LARGE = 1 << 20


class Radio:
    """Somebody who listens."""

    def __init__(self, server: Server, channel: str) -> None:
        self._subscription = server.redis.pubsub()
        self._subscription.ssubscribe(channel)
        self._subscription.get_sharded_message(timeout=1)

    def heard(self) -> list[list[bytes]]:
        """Return what was said, each as token, fence and document."""
        found = []
        while message := self._subscription.get_sharded_message(timeout=0.05):
            found.append(message["data"].split(b"\n", 2))
        return found

    def close(self) -> None:
        """Listen no more."""
        self._subscription.close()


@pytest.fixture
def others(server: Server) -> Iterator[Radio]:
    """A process that waits."""
    radio = Radio(server, OTHERS)
    yield radio
    radio.close()


def ticket(token: str, channel: str = OTHERS) -> str:
    """Return what stands in the queue."""
    return f"{token}\n{channel}\n60000\n\nsomebody"


def ask(server: Server, token: str, channel: str = "", *, queue: bool = True) -> Any:
    """Ask for the lock."""
    waits = ticket(token, channel or OTHERS) if queue else ""
    return server.call("lock.acquire", KEYS, (token, "60000", "", "me", channel or OTHERS, waits))


def release(server: Server, token: str, following: str = "", channel: str = MINE, waits: str = "") -> Any:
    """Give it back, to `following` if that is somebody."""
    return server.call("lock.release", KEYS, (token, "", waits, channel, *heir(following)))


def heir(token: str) -> tuple[str, ...]:
    """Return a waiter of the caller's own, as it is named to hand the lock to it; nothing for nobody."""
    return (token, "60000", "", "next") if token else ()


def owner(server: Server) -> str | None:
    """Return who has the lock."""
    found = server.redis.hget(LOCK, "owner")
    return None if found is None else found.decode()


def queue(server: Server) -> list[str]:
    """Return the tokens in the queue."""
    return [found.decode().split("\n")[0] for found in server.redis.lrange(QUEUE, 0, -1)]


@pytest.fixture(autouse=True)
def _document(server: Server, _emptied: None) -> None:
    server.put('{"n":1}')


def test_a_lock_is_exclusive_until_it_is_given_back(server: Server) -> None:
    """Taken once; its number only grows; renewed and released by its owner alone."""
    left, (token, first, text) = ask(server, "a")
    assert (left, token, text) == (0, b"a", b'{"n":1}')
    left, other = ask(server, "b", queue=False)
    assert (50000 < left <= 60000, other, queue(server)) == (True, None, [])
    assert server.call("lock.renew", [LOCK], ("owner", "b", "90000")) == [0]
    assert release(server, "b") == [0]
    assert server.call("lock.renew", [LOCK], ("fence", first, "90000")) == [1]
    assert server.redis.pttl(LOCK) > 60000
    assert release(server, "a") == [1]
    assert list(server.state()) == [DOCUMENT.encode()]
    _, (_, second, _) = ask(server, "b")
    assert int(second) > int(first)


def test_asking_again_changes_nothing(server: Server) -> None:
    """The owner is told what it was told before, with a new lease; who waits stands in the queue once."""
    first = ask(server, "a")
    server.redis.pexpire(LOCK, 1000)
    assert ask(server, "a") == first
    assert server.redis.pttl(LOCK) > 1000
    assert [ask(server, "b")[1], ask(server, "c")[1], ask(server, "b")[1]] == [None, None, None]
    assert queue(server) == ["b", "c"]


def test_the_queue_ends_when_nobody_asks(server: Server) -> None:
    """Its expiry is later than everybody in it asks again."""
    ask(server, "a")
    ask(server, "b")
    assert server.redis.pttl(QUEUE) > server.redis.pttl(LOCK) + 50000


def test_first_come_first_served(server: Server, others: Radio) -> None:
    """A release gives the lock to the first ticket and wakes it, with number and document."""
    _, (_, first, _) = ask(server, "a")
    ask(server, "b")
    ask(server, "c")
    assert release(server, "a") == [1]
    assert (owner(server), queue(server), server.redis.hget(LOCK, "info")) == ("b", ["c"], b"somebody")
    [[token, fence, text]] = others.heard()
    assert (token, text, int(fence) > int(first)) == (b"b", b'{"n":1}', True)
    assert fence == server.redis.hget(LOCK, "fence")
    assert 50000 < server.redis.pttl(LOCK) <= 60000


def test_the_dead_are_passed_over(server: Server, others: Radio) -> None:
    """A ticket nobody listens for is dropped; where all are dead the lock is nobody's and nothing is left."""
    ask(server, "a")
    for number in range(300):
        ask(server, f"dead{number}", DEAD)
    ask(server, "b")
    ask(server, "c", DEAD)
    release(server, "a")
    assert (owner(server), queue(server), len(others.heard())) == ("b", ["c"], 1)
    release(server, "b")
    assert list(server.state()) == [DOCUMENT.encode()]


def test_ones_own_waiters(server: Server, others: Radio) -> None:
    """One that the caller names, or whose ticket is the first, is given the lock in the answer, without a message."""
    _, (_, fence, _) = ask(server, "a", MINE)
    ask(server, "b")
    ask(server, "c", MINE)
    numbers = [int(fence)]
    for token, following, comes in (("a", "a2", b"a2"), ("a2", "a3", b"a3"), ("b", "", b"c")):
        held, (given, number, text) = release(server, token, following)
        assert (held, given, text) == (1, comes, b'{"n":1}')
        numbers.append(int(number))
        if following == "a3":
            assert others.heard() == []
            release(server, "a3")
    assert numbers == sorted(set(numbers))
    assert [token for token, _, _ in others.heard()] == [b"b"]


def test_the_number_grows_when_the_clock_is_set_back(server: Server) -> None:
    """It is one more than the last one then."""
    ask(server, "a")
    server.redis.hset(LOCK, "fence", str(9 * 10**15))
    assert release(server, "a", "b")[1][1] == str(9 * 10**15 + 1).encode()


@pytest.mark.parametrize("end", ["expired", "deleted"])
def test_a_newcomer_does_not_overtake_the_queue(server: Server, others: Radio, end: str) -> None:
    """A lock that nobody holds while somebody waits is theirs first; asking wakes them."""
    ask(server, "a")
    ask(server, "dead", DEAD)
    ask(server, "b")
    if end == "deleted":
        server.redis.delete(LOCK)
    else:
        server.redis.pexpire(LOCK, 1)
        while server.redis.exists(LOCK):
            pass
    left, given = ask(server, "c", MINE)
    assert (left > 0, given, owner(server), queue(server)) == (True, None, "b", ["c"])
    assert [token for token, _, _ in others.heard()] == [b"b"]


def test_the_first_in_the_queue_takes_a_free_lock(server: Server, others: Radio) -> None:
    """By asking again, without a message to itself; others of its process are told of in the answer."""
    ask(server, "a")
    ask(server, "b")
    ask(server, "c")
    server.redis.delete(LOCK)
    _, (token, _, _) = ask(server, "b")
    assert (token, owner(server), queue(server), others.heard()) == (b"b", "b", ["c"], [])
    server.redis.delete(LOCK)
    left, (token, _, _) = ask(server, "d")
    assert (left > 0, token, owner(server), queue(server), others.heard()) == (True, b"c", "c", ["d"], [])


def test_leaving(server: Server, others: Radio) -> None:
    """One call takes a ticket out, or passes the lock on if it came meanwhile."""
    for token in "abc":
        ask(server, token)
    assert release(server, "b", waits=ticket("b")) == [0]
    assert (owner(server), queue(server)) == ("a", ["c"])
    release(server, "a")
    assert release(server, "c", waits=ticket("c")) == [1]
    assert list(server.state()) == [DOCUMENT.encode()]
    assert len(others.heard()) == 1


def test_the_document_is_gone(server: Server, others: Radio) -> None:
    """All who wait are told to ask, the lock is nobody's and nothing is left; so when the owner asks."""
    for again in (False, True):
        server.put("1")
        for token in "abc":
            ask(server, token)
        server.redis.delete(DOCUMENT)
        if again:
            waits = ("a", "60000", "", "me", MINE, "")
            assert server.refusal("lock.acquire", KEYS, waits).startswith("KEY_NOT_FOUND")
        else:
            assert release(server, "a", "a2") == [1]
        assert server.state() == {}
        assert others.heard() == [[b"b", b"", b""], [b"c", b"", b""]]


def test_a_large_document_is_not_sent_through_the_subscription(server: Server, others: Radio) -> None:
    """The message says that the lock is given, and asking gives the document."""
    ask(server, "a")
    ask(server, "b")
    server.put('"' + "x" * LARGE + '"')
    release(server, "a")
    [[token, fence, text]] = others.heard()
    assert (token, text, owner(server)) == (b"b", b"", "b")
    _, (token, again, text) = ask(server, "b")
    assert (token, again, len(text)) == (b"b", fence, LARGE + 2)


def save(server: Server, token: str, number: int, following: str = "", ttl: str = "") -> Any:
    """Set `n`, and give the lock back, to `following` if that is somebody."""
    change = ("1", "value.set", "$", "$.n", str(number), "0")
    assert owner(server) == token
    fence = server.redis.hget(LOCK, "fence")
    return server.call("lock.save", KEYS, (ttl, "1", fence, *change, MINE, *heir(following)))


def test_saving_hands_on_what_was_written(server: Server, others: Radio) -> None:
    """Saving, releasing and handing on are one script, for the caller's own waiters and for others."""
    ask(server, "a")
    ask(server, "b")
    _, (token, _, text) = save(server, "a", 2, "a2", ttl="9000000")
    assert (token, text, owner(server), others.heard()) == (b"a2", b'{"n":2}', "a2", [])
    assert server.redis.pttl(DOCUMENT) > 8000000
    assert save(server, "a2", 3) == [1]
    assert [(token, text) for token, _, text in others.heard()] == [(b"b", b'{"n":3}')]
    assert save(server, "b", 4) == [1]
    assert list(server.state()) == [DOCUMENT.encode()]


def test_saving_needs_every_lock_of_the_holder(server: Server) -> None:
    """One of another action that was lost refuses the save; the lock stays with who has it."""
    _, (_, fence, _) = ask(server, "a")
    keys = (DOCUMENT, LOCK, LOCK + "2", QUEUE)
    arguments = ("", "2", fence, "17", "1", "value.set", "$", "$.n", "5", "0", MINE)
    assert server.refusal("lock.save", keys, arguments) == "LOCK_LOST 0 3"
    assert (server.text(), owner(server)) == ('{"n":1}', "a")
    server.redis.hset(LOCK + "2", "fence", "17")
    assert server.call("lock.save", keys, arguments) == [1]
    assert server.text() == '{"n":5}'
