"""`rapyer.observe`: one event for each operation, nothing of its data, and no cost while unused."""

from __future__ import annotations

import asyncio
import logging

import pytest

import rapyer
from rapyer import AtomicRedisModel
from rapyer._dispatch import Dispatcher
from rapyer._keys import lock_key
from rapyer._observe import _OBSERVED, _plain, _prefix
from rapyer.errors import KeyNotFound, LockLost, LockTimeout


class Watched(AtomicRedisModel):
    """A model to observe."""

    score: int = 0
    tags: list[str] = []


class Deep(Watched):
    """One whose prefix has a colon."""

    @classmethod
    def class_key_initials(cls):
        """Return a prefix in a namespace."""
        return "shop:Deep"


@pytest.fixture
def events():
    """The events of this test."""
    seen = []
    stop = rapyer.observe(seen.append)
    yield seen
    stop()


async def test_every_kind_of_operation_is_one_event(bound, events):
    """Name of the script, prefix of the key, size and outcome; durations are those of the calls."""
    doc = await Watched(tags=["a"]).save()
    await doc.score.increase()
    async with doc.pipeline():
        doc.score += 1
        doc.tags.append("b")
    await doc.duplicate_many(3)
    await Watched.afind()
    async with doc.lock(save_at_end=True):
        doc.score = 5
    await doc.delete()
    assert [(event.name, event.batch, event.outcome) for event in events if event.name != "lock.renew"] == [
        ("document.save", 1, "ok"),
        ("number.increase", 1, "ok"),
        ("document.load", 1, "ok"),
        ("batch.apply", 2, "ok"),
        ("document.duplicate", 3, "ok"),
        ("keys.find", 4, "ok"),
        ("document.load_many", 4, "ok"),
        ("lock.acquire", 1, "ok"),
        ("lock.enter", 1, "ok"),
        ("lock.save", 1, "ok"),
        ("lock.leave", 1, "ok"),
        ("document.delete", 1, "ok"),
    ]
    assert {event.prefix for event in events} == {"Watched"}
    assert all(0 < event.seconds < 5 for event in events)


def turns(events):
    """Return how blocks were entered and left."""
    return [(event.name, event.outcome) for event in events if event.name in {"lock.enter", "lock.leave"}]


async def test_every_turn_at_a_lock(bound, events):
    """Also of those that are handed on without a script of their own; the wait is in the duration."""
    doc = await Watched().save()

    async def turn():
        async with Watched.lock_from_key(doc.key, save_at_end=True) as held:
            held.score += 1
            await asyncio.sleep(0.01)

    await asyncio.gather(*(turn() for _ in range(10)))
    assert sorted(turns(events)) == [("lock.enter", "ok")] * 10 + [("lock.leave", "ok")] * 10
    waits = sorted(event.seconds for event in events if event.name == "lock.enter")
    assert waits[-1] >= 0.09 > waits[0]


async def test_locks_that_fail(bound, events):
    """A wait that was too long or was cancelled, and a loss that only leaving shows; a body's own error is none."""
    doc = await Watched().save()

    async def wait(timeout):
        async with doc.lock(timeout=timeout):
            pass

    async with Watched.lock_from_key(doc.key):
        with pytest.raises(LockTimeout):
            await asyncio.create_task(wait(0.02))
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(asyncio.create_task(wait(None)), 0.02)
    with pytest.raises(ZeroDivisionError):
        async with doc.lock():
            raise ZeroDivisionError
    with pytest.raises(LockLost):
        async with doc.lock():
            await asyncio.create_task(bound.delete(lock_key(doc.key, "default")))
    assert turns(events) == [
        ("lock.enter", "ok"),
        ("lock.enter", "LockTimeout"),
        ("lock.enter", "CancelledError"),
        ("lock.leave", "ok"),
        ("lock.enter", "ok"),
        ("lock.leave", "ok"),
        ("lock.enter", "ok"),
        ("lock.leave", "LockLost"),
    ]


async def test_batches_of_many_documents_with_locks(bound, events):
    """The size is the number of operations, however many documents and locks the call names."""
    first, second = await Watched().save(), await Watched().save()
    async with first.lock("a"), first.lock("b"), second.lock("c"):
        async with rapyer.pipeline():
            for doc in (first, second):
                doc.score += 1
                doc.tags.append("x")
            first.score += 2
        assert events[-1].name == "batch.apply"
        assert events[-1].batch == 4  # two additions to one number are one


async def test_failures_are_named(bound, events):
    """The outcome is the name of the error's class, which the caller gets as ever."""
    doc = Watched()
    with pytest.raises(KeyNotFound):
        await doc.score.increase()
    await doc.save()
    task = asyncio.create_task(doc.load())
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert [event.outcome for event in events][:2] == ["KeyNotFound", "ok"]
    assert events[-1].outcome == "CancelledError"


async def test_no_data_is_in_an_event(bound, events):
    """Neither values nor keys."""
    doc = await Watched(tags=["secret"]).save()
    await doc.tags.aappend("secret")
    assert doc.pk not in repr(events)
    assert "secret" not in repr(events)


async def test_the_prefix_is_the_model_s(bound, events):
    """Also with a colon in it, and of a lock's key, and for a key that no model has."""
    doc = await Deep().save()
    async with doc.lock("x"):
        pass
    assert {event.prefix for event in events} == {"shop:Deep"}
    assert _prefix("Nobody:12") == "Nobody"


async def test_an_observer_that_raises_harms_nothing(bound, events, caplog):
    """The operation is carried out and the others are told; the failure is logged."""

    def broken(_event):
        raise ValueError

    stop = rapyer.observe(broken)
    doc = await Watched().save()
    stop()
    assert await doc.score.increase() == 1
    assert [event.name for event in events] == ["document.save", "number.increase"]
    assert "an observer raised" in caplog.text
    assert "ValueError" in caplog.text


async def test_an_observer_and_a_handler_that_raise(bound, events, monkeypatch, capsys):
    """Where the log cannot be told of the observer either, a lock is entered and left all the same."""

    def broken(_):
        msg = "both are at fault"
        raise LookupError(msg)

    handler = logging.Handler()
    monkeypatch.setattr(handler, "emit", broken)
    monkeypatch.setattr(logging.getLogger("rapyer"), "handlers", [handler])
    doc = await Watched().save()
    stop = rapyer.observe(broken)
    async with doc.lock(save_at_end=True):
        doc.score = 5
    assert await doc.score.increase() == 6
    stop()
    assert await bound.keys("rapyer:*") == []
    assert [event.outcome for event in events] == ["ok"] * len(events)
    assert "both are at fault" in capsys.readouterr().err


async def test_it_costs_nothing_while_unused(bound):
    """Without observers the dispatcher has its own method, untouched; so again after the last one stopped."""
    unused = [vars(owner)[name] for owner, name, _, _ in _OBSERVED]
    assert unused == [plain for _, _, plain, _ in _OBSERVED]
    seen = []
    stops = [rapyer.observe(seen.append), rapyer.observe(seen.append)]
    await Watched().save()
    assert len(seen) == 2
    stops[0]()
    stops[0]()  # does nothing
    assert Dispatcher.script is not _plain
    stops[1]()
    assert [vars(owner)[name] for owner, name, _, _ in _OBSERVED] == unused
    await Watched().save()
    assert len(seen) == 2
