"""The `rapyer` logger: reconnects, scripts loaded again, lost locks, each with its parts, and nothing secret."""

from __future__ import annotations

import asyncio
import contextlib
import logging

import pytest
import redis
from redis.asyncio import Redis

import rapyer
import redis_stack
from rapyer import AtomicRedisModel
from rapyer._keys import lock_key
from rapyer._loops import dispatcher
from rapyer.errors import LockLost, OutcomeUnknown


class Logged(AtomicRedisModel):
    """A model."""

    score: int = 0


@pytest.fixture
def records(caplog):
    """The structured parts of what was logged."""
    caplog.set_level(logging.DEBUG, "rapyer")
    return lambda: [record.rapyer for record in caplog.records if record.name == "rapyer"]


async def test_quiet_when_all_is_well(bound, records):
    """Work and closing log nothing."""
    doc = await Logged().save()
    async with doc.lock(save_at_end=True):
        doc.score = 1
    await rapyer.teardown_rapyer()
    assert records() == []


async def test_a_script_that_was_flushed_is_logged_once(bound, records):
    """However many callers wait for it."""
    doc = await Logged().save()
    await bound.script_flush()
    await asyncio.gather(*[doc.score.increase() for _ in range(50)])
    scripts = [record["script"] for record in records() if record["event"] == "loading"]
    assert "number.increase" in scripts
    assert len(scripts) == len(set(scripts)) == len(records())


async def test_a_server_that_restarts(records, caplog):
    """Loss, the first failure to connect and the success are logged, each once, without user and password."""
    with redis_stack.start(private=True, args=("--requirepass", "hush")) as server:
        client = Redis.from_url(server.url.replace("redis://", "redis://:hush@"))
        await rapyer.init_rapyer(client)
        doc = await Logged().save()
        caplog.clear()
        server.kill()
        call = asyncio.create_task(doc.load())
        await asyncio.sleep(0.1)
        server.restart()
        await asyncio.gather(call, return_exceptions=True)
        await Logged().save()
        await rapyer.teardown_rapyer()
        await client.aclose()
    events = [record for record in records() if record["event"] != "loading"]
    place = f"127.0.0.1:{server.port}"
    assert events[0]["event"] == "connection_lost"
    assert events[-1]["event"] == "connected_again"
    assert {event["address"] for event in events} == {place}
    assert len(events) <= 3
    assert "hush" not in caplog.text


async def test_a_handler_that_raises(bound, monkeypatch, capsys):
    """A program's own handler that raises harms no call: who waits on a lost connection is told, and others go on."""

    def fail(_record):
        msg = "the handler is at fault"
        raise LookupError(msg)

    handler = logging.Handler()
    monkeypatch.setattr(handler, "emit", fail)
    logger = logging.getLogger("rapyer")
    monkeypatch.setattr(logger, "handlers", [handler])
    doc = await Logged().save()
    await bound.client_pause(10_000, all=False)
    calls = [asyncio.create_task(doc.score.increase()) for _ in range(5)]
    await asyncio.sleep(0.05)
    dispatcher(bound)._lane._wire._transport.abort()
    await bound.client_unpause()
    got = await asyncio.wait_for(asyncio.gather(*calls, return_exceptions=True), 5)
    assert {type(each) for each in got} == {OutcomeUnknown}
    assert await doc.load() is doc
    assert "the handler is at fault" in capsys.readouterr().err


async def test_an_outage_that_begins_while_nobody_calls(records, caplog):
    """The loss of an idle connection is no warning; the first failure to connect after it is, once until it works."""
    with redis_stack.start(private=True) as server:
        client = Redis.from_url(server.url)
        await rapyer.init_rapyer(client)
        doc = await Logged().save()
        caplog.clear()
        server.kill()
        await asyncio.sleep(0.1)
        for _ in range(2):
            with pytest.raises(redis.exceptions.ConnectionError):
                await doc.load()
        server.restart()
        await Logged().save()
        await rapyer.teardown_rapyer()
        await client.aclose()
    told = [(record.levelname, record.rapyer["event"]) for record in caplog.records if record.name == "rapyer"]
    assert told[:3] == [("INFO", "connection_lost"), ("WARNING", "cannot_connect"), ("WARNING", "connected_again")]
    assert {event for _, event in told[3:]} <= {"loading"}


async def test_a_call_without_answer_is_counted(records):
    """The loss tells how many calls are repeated and of how many the outcome is unknown."""
    with redis_stack.start(private=True) as server:
        client = Redis.from_url(server.url)
        await rapyer.init_rapyer(client)
        doc = await Logged().save()
        server.pause()
        work = (doc.load(), doc.save(), *(doc.score.increase() for _ in range(4)))
        calls = [asyncio.create_task(call) for call in work]
        await asyncio.sleep(0.05)
        calls[-1].cancel()  # the last of some that were sent as one
        await asyncio.sleep(0)
        server.kill()
        server.restart()
        await asyncio.gather(*calls, return_exceptions=True)
        await rapyer.teardown_rapyer()
        await client.aclose()
    lost = next(record for record in records() if record["event"] == "connection_lost")
    assert (lost["repeated"], lost["unknown"]) == (1, 4)


async def test_a_lost_lock(bound, records):
    """Key and action of a lock that was taken away."""
    doc = await Logged().save()

    async def hold():
        async with doc.lock("edit", lease=0.3):
            # In a task of its own: on Python 3.10, redis-py 5 leaves traces of timeouts in the task that calls it.
            await asyncio.create_task(bound.delete(lock_key(doc.key, "edit")))
            await asyncio.sleep(2)

    with pytest.raises(LockLost):
        await hold()
    assert {"event": "lock_lost", "key": doc.key, "action": "edit"} in records()


async def test_a_loss_that_only_the_block_finds(bound, records):
    """A write, the save or the release that is refused tells of the lock, once; a block around it keeps its own."""
    doc = await Logged().save()

    async def block(*, save_at_end=False, write=False, swallow=False):
        async with doc.lock("outer"), doc.lock("edit", save_at_end=save_at_end):
            await asyncio.create_task(bound.delete(lock_key(doc.key, "edit")))
            if save_at_end:
                doc.score = 5
            if write or swallow:
                with contextlib.suppress(LockLost if swallow else ZeroDivisionError):
                    await doc.score.increase()

    for ways in ({"save_at_end": True}, {"write": True}, {"swallow": True}, {}):
        with pytest.raises(LockLost):
            await block(**ways)
        doc.score = 0
    assert records() == [{"event": "lock_lost", "key": doc.key, "action": "edit"}] * 4
