"""`rapyer.observe`: one event for each operation, nothing of its data, and no cost while unused."""

from __future__ import annotations

import asyncio

import pytest

import rapyer
from rapyer import AtomicRedisModel
from rapyer._dispatch import Dispatcher
from rapyer._observe import _plain, _prefix
from rapyer.errors import KeyNotFound


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
        ("document.load_many", 4, "ok"),
        ("lock.acquire", 1, "ok"),
        ("lock.save", 1, "ok"),
        ("document.delete", 1, "ok"),
    ]
    assert {event.prefix for event in events} == {"Watched"}
    assert all(0 < event.seconds < 5 for event in events)


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


async def test_it_costs_nothing_while_unused(bound):
    """Without observers the dispatcher has its own method, untouched; so again after the last one stopped."""
    assert Dispatcher.script is _plain
    seen = []
    stops = [rapyer.observe(seen.append), rapyer.observe(seen.append)]
    await Watched().save()
    assert len(seen) == 2
    stops[0]()
    stops[0]()  # does nothing
    assert Dispatcher.script is not _plain
    stops[1]()
    assert Dispatcher.script is _plain
    await Watched().save()
    assert len(seen) == 2
