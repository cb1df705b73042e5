"""Locks among real processes: exclusive, in order, and safe when processes stop, die or are cut off."""

from __future__ import annotations

import asyncio
import itertools
import signal
import time
from functools import partial

import pytest
from lock_waiters import enter, queued, until
from lock_worker import WRITES, Doc

from rapyer._group import TURNS

pytestmark = pytest.mark.timeout(180)

short_and_long = pytest.mark.parametrize(
    ("processes", "tasks", "sections"), [(3, 5, 10), pytest.param(8, 20, 50, marks=pytest.mark.slow)]
)


def check_sections(reports):
    """Every section saw what the one before it left, in the order of the fencing numbers."""
    found = sorted((report["fence"], report["n"]) for own in reports for report in own)
    assert len({fence for fence, _ in found}) == len(found)
    assert all(first[1] < second[1] for first, second in itertools.pairwise(found))
    return len(found)


@short_and_long
async def test_no_update_is_lost(clean, doc, workers, processes, tasks, sections):
    """Reading, computing in Python and saving add up exactly, and fencing numbers grow from section to section."""
    started = [await workers("sections", doc, tasks=tasks, sections=sections) for _ in range(processes)]
    total = check_sections(await asyncio.gather(*(worker.rest() for worker in started)))
    assert total == processes * tasks * sections
    assert (await doc.load()).n == total


@short_and_long
async def test_a_third_is_cancelled(clean, doc, workers, processes, tasks, sections):
    """Every third section is cancelled while it waits, at any moment: the total is exact and nothing is left."""
    started = [await workers("sections", doc, tasks=tasks, sections=sections, cancel=True) for _ in range(processes)]
    reports = await asyncio.gather(*(worker.rest() for worker in started))
    cancelled = sum("cancelled" in report for own in reports for report in own)
    total = check_sections([report for report in own if "n" in report] for own in reports)
    ordered = sum((number + shift) % 3 == 0 for shift in range(tasks) for number in range(sections))
    assert cancelled == processes * ordered
    assert total >= processes * (tasks * sections - ordered)
    assert {worker.code for worker in started} == {0}
    assert (await doc.load()).n == total


@pytest.mark.parametrize(("processes", "tasks", "kills"), [(3, 5, 1), pytest.param(8, 20, 6, marks=pytest.mark.slow)])
async def test_a_process_is_killed_every_second(clean, doc, workers, processes, tasks, kills):
    """Each costs at most its lease and one section that was saved and not reported; the others go on."""
    orders = {"tasks": tasks, "sections": 10_000, "lease": 0.5}
    started = [await workers("sections", doc, **orders) for _ in range(processes)]
    reading = [asyncio.create_task(worker.rest()) for worker in started]

    async def count():
        return sum(len(worker.reports) for worker in started)

    async def is_more_than(before):
        return await count() > before

    while not all(worker.reports for worker in started):  # noqa: ASYNC110 - they are processes
        await asyncio.sleep(0.1)
    for victim in started[:kills]:
        victim.process.kill()
        await victim.process.wait()
        await asyncio.sleep(0.1)  # what it had reported is read
        grown = partial(is_more_than, await count())
        await until(grown, wanted=True, seconds=orders["lease"] + 5)
        await asyncio.sleep(1)
    assert [worker.process.returncode for worker in started[kills:]] == [None] * (processes - kills)
    for worker in started[kills:]:
        worker.process.kill()
    total = check_sections(await asyncio.gather(*reading))
    await asyncio.sleep(0.6)
    async with doc.lock(timeout=2):
        assert total <= doc.n <= total + processes


async def test_a_stopped_holder(clean, doc, workers):
    """Stopped beyond its lease it loses the lock to another; when it goes on, its writes of every kind are refused."""
    worker = await workers("stand_still", doc, lease=0.5)
    await worker.report()
    worker.process.send_signal(signal.SIGSTOP)
    try:
        async with doc.lock(save_at_end=True, timeout=5) as mine:
            mine.s = "mine"
    finally:
        worker.process.send_signal(signal.SIGCONT)
    before = await Doc.get(doc.key)
    await worker.tell("go on")
    assert await worker.report() == dict.fromkeys([*WRITES, "save_at_end"], "LockLost")
    assert (await Doc.get(doc.key), before.s) == (before, "mine")


async def test_a_dead_holder_costs_its_lease(clean, doc, workers):
    """Killed with the lock, its lease runs out and the next waiter has it, with nobody else asking."""
    worker = await workers("hold", doc, lease=1)
    await worker.report()

    async def wait():
        async with Doc.lock_from_key(doc.key, timeout=10):
            return time.monotonic()

    waiting = [asyncio.create_task(wait()) for _ in range(3)]
    await asyncio.sleep(0.2)
    worker.process.kill()
    killed = time.monotonic()
    entered = await asyncio.gather(*waiting)
    assert max(entered) - killed < 4
    assert entered == sorted(entered)


async def test_dead_waiters_are_passed_over(clean, doc, other, workers):
    """A killed process with a hundred waiters in the queue costs those behind it nothing."""
    entered = []
    async with doc.lock():
        worker = await workers("wait_for", doc, tasks=100)
        await worker.report()
        tickets = -(-100 // TURNS)
        await queued(clean, doc, tickets)
        behind = asyncio.create_task(enter(other, doc.key, entered))
        await queued(clean, doc, tickets + 1)
        worker.process.kill()
        await worker.process.wait()
        left = time.monotonic()
    await behind
    assert entered[0] - left < 5


async def test_order_over_processes(clean, doc, workers):
    """4 x 50 waiters: in order within a process; over all, nobody is overtaken by more than the documented bound."""
    processes = 4
    started = [await workers("in_order", doc) for _ in range(processes)]
    arrived = []
    async with doc.lock():
        for turn in range(10):
            for number, worker in enumerate(started):
                names = [f"{number}.{turn * 5 + i}" for i in range(5)]
                arrived += names
                await worker.tell(" ".join(names))
                await worker.report()
                # Their place is taken when their tickets are there: of each process one for eight, and for the rest.
                tickets = sum(-(-5 * (turn + (other <= number)) // TURNS) for other in range(processes))
                await queued(clean, doc, tickets)
    for worker in started:
        await worker.tell("")
    for worker in started:
        await worker.rest()
    entered = (await doc.load()).order
    assert sorted(entered) == sorted(arrived)
    for number in range(processes):
        own = [name for name in entered if name.startswith(f"{number}.")]
        assert own == [f"{number}.{i}" for i in range(50)]
    place = {name: index for index, name in enumerate(arrived)}
    for index, name in enumerate(entered):
        overtook = [other for other in entered[:index] if place[other] > place[name]]
        for number in range(processes):
            assert sum(other.startswith(f"{number}.") for other in overtook) <= TURNS - 1
