"""What rapyer is for, in half a minute: a tour of its methods, then many processes that change one document at once.

    python scripts/demo.py
    python scripts/demo.py --processes 8 --seconds 10

It starts a Redis Stack of its own and leaves nothing behind. The exit code is 1 if rapyer lost a single change.
"""

from __future__ import annotations

import _interrupts  # first: the rest takes a moment  # isort: skip

import argparse
import asyncio
import contextlib
import json
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field
from redis.asyncio import Redis

import rapyer
import redis_stack
from _demo_worker import SUMMED, WORK, Board
from rapyer import AtomicRedisModel

if TYPE_CHECKING:
    from collections.abc import Sequence

WORKER = Path(__file__).resolve().with_name("_demo_worker.py")
FRAME_SECONDS = 0.1
PLAIN_FRAMES = 10  # without a terminal, one line for so many frames
BAR_WIDTH = 24
LABEL = 46  # columns
BOLD, DIM, RED, GREEN, CYAN, RESET = "\033[1m", "\033[2m", "\033[31m", "\033[32m", "\033[36m", "\033[0m"
BACK = "\r\033[K"


class DemoError(Exception):
    """The demo cannot go on; the text is for the person at the terminal."""


def paint(text: str, *styles: str) -> str:
    """Return text in colour where there is a terminal."""
    return f"{''.join(styles)}{text}{RESET}" if sys.stdout.isatty() else text


# -- the tour --------------------------------------------------------------------------------------------------------


class User(AtomicRedisModel):
    """The model of the tour."""

    name: str
    email: str
    age: int = 0
    tags: list[str] = Field(default_factory=list)
    settings: dict[str, str] = Field(default_factory=dict)


class Tour:
    """Shows each step as it is written, then the document it leaves in Redis."""

    def __init__(self, client: Any) -> None:
        self._client = client

    async def run(self) -> None:
        """Go through a document's life."""
        print(paint("1. A Pydantic model that lives in Redis", BOLD), end="\n\n")
        user = User(name="John", email="john@example.com", age=30)
        await user.save()
        await self._show(user.key, 'user = User(name="John", email="john@example.com", age=30)', "await user.save()")
        retrieved = await User.get(user.key)
        await self._show(
            user.key, "retrieved = await User.get(user.key)", f"retrieved == user    # {retrieved == user}"
        )
        await user.aupdate(age=31, tags=["python", "redis"])
        await self._show(user.key, 'await user.aupdate(age=31, tags=["python", "redis"])    # these two, nothing else')
        await self._blocks(user)

    async def _blocks(self, user: User) -> None:
        async with user.pipeline():
            user.age += 1
            user.tags.append("asyncio")
            user.settings["theme"] = "dark"
        await self._show(
            user.key,
            "async with user.pipeline():    # one script: all of it or nothing",
            "    user.age += 1",
            '    user.tags.append("asyncio")',
            '    user.settings["theme"] = "dark"',
        )
        async with user.lock("profile_update", save_at_end=True):
            if user.age >= 25:  # noqa: PLR2004 - an example
                user.tags.append("adult")
                user.settings["account_type"] = "premium"
        await self._show(
            user.key,
            'async with user.lock("profile_update", save_at_end=True):    # alone, over all processes and hosts',
            "    if user.age >= 25:",
            '        user.tags.append("adult")',
            '        user.settings["account_type"] = "premium"',
        )

    async def _show(self, key: str, *code: str) -> None:
        stored = (await self._client.execute_command("JSON.GET", key)).decode()
        for line in code:
            print(paint(f"    {line}", CYAN))
        print(f"    {paint('JSON.GET ->', DIM)} {stored}\n")


# -- the processes ---------------------------------------------------------------------------------------------------


class Worker:
    """A process that works on the document."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self.counts: dict[str, int] = {}
        self.operations = 0

    @classmethod
    async def start(cls, url: str, name: str) -> Worker:
        """Start one, in a session of its own: Ctrl-C reaches the demo alone, which ends its workers."""
        pipe = asyncio.subprocess.PIPE
        command = (sys.executable, str(WORKER), url, name)
        return cls(await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe, start_new_session=True))

    async def until(self, word: str) -> None:
        """Follow what it tells until it says this word."""
        assert self._process.stdout  # noqa: S101 - for the type checker
        while line := await self._process.stdout.readline():
            told = json.loads(line)
            self.counts = told.get("counts", {})
            self.operations = told.get("operations", 0)
            if told.get(word):
                return
        msg = f"a worker process ended with exit code {await self._process.wait()}"
        raise DemoError(msg)

    async def work(self, way: str, key: str, seconds: float) -> None:
        """Have it work for some seconds."""
        assert self._process.stdin  # noqa: S101 - for the type checker
        self.counts, self.operations = {}, 0
        self._process.stdin.write(json.dumps({"way": way, "key": key, "seconds": seconds}).encode() + b"\n")
        await self.until("done")

    async def stop(self) -> None:
        """End it; return when it is gone."""
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()
        await self._process.wait()


@dataclass(frozen=True)
class Outcome:
    """What one way of working came to: changes by field, those that were acknowledged and those in Redis."""

    expected: dict[str, int]
    found: dict[str, int]
    strangers: int  # items in Redis that nobody appended, or that are there twice
    per_second: float

    def lost(self, field: str) -> int:
        """Return how many changes of a field are not in Redis."""
        return self.expected[field] - self.found[field]

    def is_exact(self) -> bool:
        """Whether every change is there, once."""
        return not self.strangers and not any(map(self.lost, WORK))


class Race:
    """The same work by the same processes, first with rapyer, then the naive way."""

    def __init__(self, client: Any, url: str, processes: int, seconds: float) -> None:
        self._client = client
        self._url = url
        self._processes = processes
        self._seconds = seconds / 2
        self._workers: list[Worker] = []

    async def run(self) -> tuple[Outcome, Outcome]:
        """Start the processes, run both parts, end the processes."""
        try:
            for number in range(self._processes):
                self._workers.append(await Worker.start(self._url, str(number)))
            await asyncio.gather(*(worker.until("ready") for worker in self._workers))
            return await self._part("rapyer"), await self._part("naive")
        finally:
            await asyncio.gather(*(worker.stop() for worker in self._workers))

    async def _part(self, way: str) -> Outcome:
        board = await Board().save()
        began = time.monotonic()
        display = asyncio.create_task(self._display(way, board.key, began))
        try:
            await asyncio.gather(*(worker.work(way, board.key, self._seconds) for worker in self._workers))
            took = time.monotonic() - began
        finally:
            display.cancel()
            await asyncio.gather(display, return_exceptions=True)
        self._draw(way, 1.0, await self._changes(board.key))
        if sys.stdout.isatty():
            print()
        return await self._outcome(board.key, took)

    async def _outcome(self, key: str, took: float) -> Outcome:
        """Compare with what is in Redis: numbers by value, items one by one."""
        stored = json.loads(await self._client.execute_command("JSON.GET", key))
        expected = {field: sum(worker.counts[field] for worker in self._workers) for field in WORK}
        workers = enumerate(self._workers)
        wanted = {f"{name}-{number}" for name, worker in workers for number in range(worker.counts["items"])}
        present = wanted.intersection(stored["items"])
        found = {**{field: stored[field] for field in SUMMED}, "items": len(present)}
        operations = sum(worker.operations for worker in self._workers)
        return Outcome(expected, found, len(stored["items"]) - len(present), operations / took)

    async def _display(self, way: str, key: str, began: float) -> None:
        frame = 0
        while True:
            part = min(1.0, (time.monotonic() - began) / self._seconds)
            if sys.stdout.isatty() or frame % PLAIN_FRAMES == 0:
                self._draw(way, part, await self._changes(key))
            frame += 1
            await asyncio.sleep(FRAME_SECONDS)

    async def _changes(self, key: str) -> int:
        paths = [f"$.{field}" for field in SUMMED]
        stored = json.loads(await self._client.execute_command("JSON.GET", key, *paths))
        return sum(number for numbers in stored.values() for number in numbers)

    def _draw(self, way: str, part: float, stored: int) -> None:
        """Draw the line of progress over the last one; without a terminal, below it."""
        live = sys.stdout.isatty()
        done = sum(worker.counts.get(field, 0) for worker in self._workers for field in SUMMED)
        full = round(part * BAR_WIDTH)
        bar = "#" * full + "." * (BAR_WIDTH - full)
        text = f"    {way:7} [{bar}] {done:8,} changes acknowledged, {stored:8,} in Redis"
        print(f"{BACK}{text}" if live else text, end="" if live else "\n", flush=True)


# -- the result ------------------------------------------------------------------------------------------------------


def show(ours: Outcome, naive: Outcome) -> None:
    """Print what was lost, and whether anything was that must not be."""
    titles = "".join(f"{title:>10}" for title in ("expected", "in Redis", "lost"))
    print(paint(f"\n    {'':{LABEL}}{'rapyer':>30}  {'read, change, write':>30}", BOLD))
    print(f"    {'field: changed by':{LABEL}}{titles}  {titles}")
    for field, how in WORK.items():
        print(f"    {f'{field}: {how}':{LABEL}}{_cells(ours, field)}  {_cells(naive, field)}")
    print(f"    {'operations per second':{LABEL}}{ours.per_second:>30,.0f}  {naive.per_second:>30,.0f}")
    print(f"    {'of them still there at the end':{LABEL}}{_kept(ours):>30,.0f}  {_kept(naive):>30,.0f}\n")
    print(f"    {_verdict(ours, naive)}")


def _cells(outcome: Outcome, field: str) -> str:
    lost = paint(f"{outcome.lost(field):>10,}", BOLD, RED if outcome.lost(field) else GREEN)
    return f"{outcome.expected[field]:>10,}{outcome.found[field]:>10,}{lost}"


def _kept(outcome: Outcome) -> float:
    return outcome.per_second * sum(outcome.found.values()) / max(1, sum(outcome.expected.values()))


def _verdict(ours: Outcome, naive: Outcome) -> str:
    if ours.is_exact():
        lost = paint(f"{sum(map(naive.lost, WORK)):,}", BOLD, RED)
        first = f"rapyer lost {paint('0', BOLD, GREEN)} of {sum(ours.expected.values()):,} changes"
        return f"{first}, reading, changing and writing lost {lost} of {sum(naive.expected.values()):,}."
    missing = sum(max(0, ours.lost(field)) for field in WORK)
    surplus = ours.strangers + sum(max(0, -ours.lost(field)) for field in WORK)
    return paint(f"rapyer lost {missing:,} changes and made {surplus:,} that nobody asked for: a bug.", BOLD, RED)


async def run(url: str, processes: int, seconds: float) -> int:
    """Show everything; return the exit code."""
    client = Redis.from_url(url)
    try:
        await rapyer.init_rapyer(client)
        await Tour(client).run()
        print(
            paint(f"2. {processes} processes change one document at once, all fields at the same time", BOLD),
            end="\n\n",
        )
        ours, naive = await Race(client, url, processes, seconds).run()
    finally:
        await rapyer.teardown_rapyer()
        await client.aclose()
    show(ours, naive)
    return 0 if ours.is_exact() else 1


def _options(words: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="demo.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--processes", type=int, default=4, help="how many work at once (default %(default)s)")
    parser.add_argument("--seconds", type=float, default=6.0, help="how long, one half each way (default %(default)s)")
    options = parser.parse_args(words)
    if options.processes < 1 or not 0 < options.seconds < float("inf"):
        parser.error("--processes and --seconds must be more than 0")
    return options


def main(words: Sequence[str]) -> int:
    """Run the command line and return its exit code."""
    options = _options(words)
    try:
        with redis_stack.start(private=True) as server:
            return asyncio.run(run(server.url, options.processes, options.seconds))
    except (DemoError, redis_stack.StackError) as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nStopped; the server and the processes are gone.")
        return 130


if __name__ == "__main__":
    _interrupts.usual()
    sys.exit(main(sys.argv[1:]))
