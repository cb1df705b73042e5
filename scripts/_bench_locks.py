"""What `bench.py` measures of locks beyond one task: many who want the same one, and many that are held.

Rules
- The bare side is redis-py's own lock (sleep=0.01) around JSON.GET and JSON.SET, as in the other cases.
- The sides take turns, round by round. Processes are started before anything is measured.
- Sections are counted in two ways, under the same requirement: each task does one, or each comes again and again, where
  a lock without order may stay with one task for long.
"""

from __future__ import annotations

import asyncio
import gc
import json
import resource
import statistics
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from redis.asyncio import Redis
from redis.asyncio.lock import Lock

import rapyer
from _bench_report import verdict
from _bench_sides import VALUES, Profile

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    Section = Callable[[], Awaitable[None]]
    Hold = Callable[[float], Awaitable[None]]

CROWD = 32  # tasks of one process
WAITERS, HOLD = 200, 0.001  # and seconds each of them holds the lock
PROCESSES, TASKS = 4, 8
HELD = 10_000
RENEWAL_LEASE = 6.0  # seconds; what renewal takes is told for the default lease of 30 s, in which it takes a fifth
BARE_KEY = "Bare:0"


async def bare_section(client: Any) -> None:
    """Read, change and write under redis-py's lock."""
    async with Lock(client, f"lock:{BARE_KEY}", timeout=30, sleep=0.01):
        document = json.loads(await client.execute_command("JSON.GET", BARE_KEY))
        document["age"] += 1
        await client.execute_command("JSON.SET", BARE_KEY, "$", json.dumps(document))


async def our_section(key: str) -> None:
    """Do the same with `lock_from_key(save_at_end=True)`."""
    async with Profile.lock_from_key(key, save_at_end=True) as model:
        model.age = model.age + 1


async def crowd(section: Section, tasks: int, seconds: float, *, again: bool) -> float:
    """Return the sections a second of so many tasks that want the same lock.

    Args:
        section: what is done under it.
        tasks: how many come at once.
        seconds: how long to go on.
        again: whether each task asks again at once when it is done, so that a lock without order may stay with one of
            them; else all come anew when all are done.
    """
    done = 0
    began = time.perf_counter()

    async def work() -> None:
        nonlocal done
        while True:
            await section()
            done += 1
            if not again or time.perf_counter() - began > seconds:
                return

    while time.perf_counter() - began < seconds:
        await asyncio.gather(*(work() for _ in range(tasks)))
    return done / (time.perf_counter() - began)


class LockBench:
    """One run."""

    def __init__(self, url: str, rounds: int, seconds: float, *, quick: bool) -> None:
        self.url = url
        self.rounds = rounds
        self.seconds = seconds
        self.quick = quick
        self.bare: Any = Redis.from_url(url, max_connections=WAITERS + 10)
        self.key = ""

    async def prepare(self) -> None:
        """Put one document for each side into an empty database."""
        await self.bare.flushdb()
        await self.bare.execute_command("JSON.SET", BARE_KEY, "$", json.dumps(VALUES))
        self.key = (await Profile(**VALUES).save()).key

    async def one_process(self, *, again: bool) -> dict[str, Any]:
        """Many tasks of one process want one lock."""
        sides = {"bare": lambda: bare_section(self.bare), "rapyer": lambda: our_section(self.key)}
        speeds: dict[str, list[float]] = {"bare": [], "rapyer": []}
        for _ in range(self.rounds):
            for name, section in sides.items():
                speeds[name].append(await crowd(section, CROWD, self.seconds, again=again))
        return _compared(f"{CROWD} tasks{_how(again=again)}", speeds, 10.0)

    async def many_processes(self, *, again: bool) -> dict[str, Any]:
        """Many processes with many tasks want one lock."""
        speeds: dict[str, list[float]] = {"bare": [], "rapyer": []}
        workers = [await _Worker.start(self.url, self.key) for _ in range(PROCESSES)]
        try:
            for _ in range(self.rounds):
                for name, found in speeds.items():
                    parts = await asyncio.gather(*(worker.run(name, self.seconds, again=again) for worker in workers))
                    found.append(sum(parts))
        finally:
            await asyncio.gather(*(worker.stop() for worker in workers))
        return _compared(f"{PROCESSES} processes x {TASKS} tasks{_how(again=again)}", speeds, 5.0)

    async def queue(self, hold: Hold, kind: str) -> dict[str, Any]:
        """Two hundred waiters hold the lock for a millisecond each.

        Told with it, from the same rounds: what as many holds take one after the other, without any lock; and with one
        PING of redis-py's before each, which is the least a server can be asked with it.
        """
        times: dict[str, list[float]] = {"bare": [], "rapyer": [], "holds": [], "pings": []}
        for number in range(self.rounds):
            if number == 0:  # it takes seconds
                times["bare"].append(await _timed([self._hold_bare(hold) for _ in range(WAITERS)]))
            gc.collect()
            gc.freeze()  # as in the other cases
            times["rapyer"].append(await _timed([self._hold_ours(hold) for _ in range(WAITERS)]))
            times["holds"].append(await _timed([_holds(hold)]))
            times["pings"].append(await _timed([self._pings(hold)]))
            gc.unfreeze()
        ideal = WAITERS * HOLD
        ours, holds, pings = (statistics.median(times[name]) for name in ("rapyer", "holds", "pings"))
        return {
            "case": f"{WAITERS} waiters hold it 1 ms each{kind}",
            "unit": f"ms; {ideal * 1e3:.0f} ideal, holds alone {holds * 1e3:.0f}, with PINGs {pings * 1e3:.0f}",
            "bare": times["bare"][0] * 1000,
            "rapyer": ours * 1000,
            "ratio": ours / ideal,
            "required": "<= 1.3",
            "ok": ours / ideal <= 1.3,  # noqa: PLR2004 - the requirement
            "rounds": times,
        }

    async def _hold_bare(self, hold: Hold) -> None:
        async with Lock(self.bare, f"lock:{BARE_KEY}", timeout=30, sleep=0.01):
            await hold(HOLD)

    async def _hold_ours(self, hold: Hold) -> None:
        async with Profile.lock_from_key(self.key):
            await hold(HOLD)

    async def _pings(self, hold: Hold) -> None:
        for _ in range(WAITERS):
            await self.bare.ping()
            await hold(HOLD)

    async def renewal(self) -> dict[str, Any]:
        """Ten thousand locks are held at once: what their renewal takes of one core, of both process and server."""
        held, lease = (HELD // 10, RENEWAL_LEASE / 3) if self.quick else (HELD, RENEWAL_LEASE)
        copies = await Profile(**VALUES).duplicate_many(held)
        leave, entered = asyncio.Event(), 0

        async def hold(model: Any) -> None:
            nonlocal entered
            async with model.lock(lease=lease):
                entered += 1
                await leave.wait()

        holders = [asyncio.ensure_future(hold(copy)) for copy in copies]
        while entered < held:  # noqa: ASYNC110 - it is counted
            await asyncio.sleep(0.05)
        await asyncio.sleep(lease / 10)
        began, used, served = time.perf_counter(), _used(), await self._served()
        await asyncio.sleep(lease)
        took = time.perf_counter() - began
        ours, servers = (_used() - used) / took, (await self._served() - served) / took
        leave.set()
        await asyncio.gather(*holders)
        share = ours * lease / Profile.Meta.lock_lease
        return {
            "case": f"{held:,} held at once",
            "unit": "% of a core renews",
            "bare": None,
            "rapyer": share * 100,
            "ratio": None,
            "required": "< 5",
            "ok": share < 0.05,  # noqa: PLR2004 - the requirement
            "server": servers * lease / Profile.Meta.lock_lease * 100,
        }

    async def _served(self) -> float:
        info = await self.bare.info("cpu")
        return float(info["used_cpu_user"]) + float(info["used_cpu_sys"])

    async def close(self) -> None:
        """Close every connection."""
        await self.bare.aclose()


def _used() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


async def _timed(work: Sequence[Awaitable[None]]) -> float:
    began = time.perf_counter()
    await asyncio.gather(*work)
    return time.perf_counter() - began


async def _holds(hold: Hold) -> None:
    for _ in range(WAITERS):
        await hold(HOLD)


async def _by_the_clock(seconds: float) -> None:
    """Hold for so long and no longer: a sleep of 1 ms takes longer, because sleepers have to be woken."""
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:  # noqa: ASYNC110 - there is nothing else to wait for
        await asyncio.sleep(0)


def _how(*, again: bool) -> str:
    return ", each again and again" if again else ", one section each"


def _compared(case: str, speeds: dict[str, list[float]], required: float) -> dict[str, Any]:
    ratio = statistics.median(ours / bare for ours, bare in zip(speeds["rapyer"], speeds["bare"], strict=True))
    return {
        "case": case,
        "unit": "sections/s",
        **{name: statistics.median(found) for name, found in speeds.items()},
        "ratio": ratio,
        "required": f">= {required:g}",
        "ok": ratio >= required,
        "rounds": speeds,
    }


class _Worker:
    """A process that takes a side and seconds a line, and answers with sections a second."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    @classmethod
    async def start(cls, url: str, key: str) -> _Worker:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            __file__,
            url,
            key,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            cwd=Path(__file__).parent,
        )
        worker = cls(process)
        await worker.run("rapyer", 0.01, again=False)
        return worker

    async def run(self, side: str, seconds: float, *, again: bool) -> float:
        """Have it work, and return its speed."""
        if self._process.stdin is None or self._process.stdout is None:
            raise RuntimeError
        self._process.stdin.write(f"{side} {seconds} {int(again)}\n".encode())
        return float(await self._process.stdout.readline())

    async def stop(self) -> None:
        """End it."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        await self._process.wait()


async def _work(url: str, key: str) -> None:
    ours, bare = Redis.from_url(url), Redis.from_url(url)
    await rapyer.init_rapyer(ours)
    sides = {"bare": lambda: bare_section(bare), "rapyer": lambda: our_section(key)}
    while line := await asyncio.to_thread(sys.stdin.readline):
        side, seconds, again = line.split()
        print(await crowd(sides[side], TASKS, float(seconds), again=again == "1"), flush=True)
    await rapyer.teardown_rapyer()
    await bare.aclose()
    await ours.aclose()


#: Name on the command line -> what is measured.
LOCK_CASES: dict[str, Callable[[LockBench], Awaitable[dict[str, Any]]]] = {
    "lock_crowd": lambda bench: bench.one_process(again=False),
    "lock_crowd_again": lambda bench: bench.one_process(again=True),
    "lock_processes": lambda bench: bench.many_processes(again=False),
    "lock_processes_again": lambda bench: bench.many_processes(again=True),
    "lock_queue": lambda bench: bench.queue(asyncio.sleep, ", asleep"),
    "lock_queue_clock": lambda bench: bench.queue(_by_the_clock, " by the clock"),
    "lock_renewal": LockBench.renewal,
}


async def run(url: str, names: Sequence[str], rounds: int, seconds: float, *, quick: bool) -> list[dict[str, Any]]:
    """Measure these, models being bound; print as it goes."""
    bench = LockBench(url, rounds, seconds, quick=quick)
    found = []
    try:
        for name in names:
            print(f"  {name} ... ", end="", flush=True)
            await bench.prepare()
            found.append(await LOCK_CASES[name](bench))
            print(verdict(found[-1]["ok"]), flush=True)
    finally:
        await bench.close()
    return found


if __name__ == "__main__":
    asyncio.run(_work(*sys.argv[1:]))
