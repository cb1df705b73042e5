"""How fast rapyer is, beside bare redis-py that sends the same commands, in one run.

    python scripts/bench.py                          everything
    python scripts/bench.py --only get,blocks --tasks 1,64,512
    python scripts/bench.py --only latency,peers     single calls, and other libraries where they are installed
    python scripts/bench.py --quick --json out.json  a few operations of each: proves that it runs

It starts a Redis of its own and leaves nothing behind. Numbers of different runs cannot be compared, ratios of one
run can. A requirement that is missed is shown (—) and is no failure: the exit code is 0 whenever the run went through.
"""

from __future__ import annotations

import _interrupts  # first: the rest takes a moment  # isort: skip

import argparse
import asyncio
import contextlib
import gc
import json
import statistics
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from redis.asyncio import Redis

import _bench_blocks
import _bench_cases
import _bench_imports
import _bench_latency
import _bench_locks
import _bench_operations
import _bench_peers
import _bench_report as report
import _bench_server
import rapyer
import redis_stack
from _bench_sides import VALUES, Plain, Profile

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from _bench_sides import Case, Side

WARM_UP = 0.2  # the part of a round that is run before, to open connections and to learn the speed
SPARE_CONNECTIONS = 16
SLICES = 20  # of a round, in which the sides take turns: what slows the machine down meets both
LEAST_IN_SLICE = 5  # operations of each task, else there are fewer slices
TASKS = [1, 64, 512]
GROUPS = {"main": _bench_cases.CASES, "blocks": _bench_blocks.CASES, "operations": _bench_operations.CASES}
#: What is measured besides cases: single calls, other libraries, locks, scripts on the server, models alone, imports.
OTHERS = ("latency", "peers", "locks", "server", "models", "imports")
_TEXT = json.dumps(VALUES)
MODEL_COSTS: tuple[tuple[str, float | None, Callable[[type[Any]], Any]], ...] = (
    ("build", 15.0, lambda cls: cls(**VALUES)),
    ("load from JSON text", 20.0, lambda cls: cls.model_validate_json(_TEXT)),
    ("load and touch every field", None, lambda cls: _touched(cls.model_validate_json(_TEXT))),
)


class Options(argparse.Namespace):
    """What the command line says."""

    rounds: int
    seconds: float
    tasks: list[int] | None
    only: list[str]
    json: Path | None
    quick: bool


async def measure(side: Side, tasks: int, numbers: range) -> float:
    """Return the seconds that many tasks need together for these operations."""
    left = iter(numbers)

    async def work(task: int) -> None:
        for number in left:  # each number is done once, by whichever task is free
            await side.once(task, number)

    began = time.perf_counter()
    await asyncio.gather(*map(work, range(tasks)))
    return time.perf_counter() - began


class Bench:
    """One run: its options and the two clients."""

    def __init__(self, url: str, options: Options) -> None:
        self.options = options
        most = max(*(options.tasks or TASKS), _bench_latency.TASKS) + SPARE_CONNECTIONS
        self.bare = Redis.from_url(url, max_connections=most)
        self.ours = Redis.from_url(url, max_connections=most)

    async def ratio(self, case: Case, tasks: int) -> dict[str, Any]:
        """Measure a case in interleaved rounds."""
        sides: dict[str, Side] = {"bare": case.bare(self.bare), "rapyer": case.rapyer(self.ours)}
        speeds = await self.compared(sides, tasks)
        pairs = zip(speeds["rapyer"], speeds["bare"], strict=True)
        ratio = statistics.median(ours / bare for ours, bare in pairs)
        required = case.required.get(tasks)
        return {
            "case": case.name,
            "tasks": tasks,
            "bare": statistics.median(speeds["bare"]),
            "rapyer": statistics.median(speeds["rapyer"]),
            "ratio": ratio,
            "required": required,
            "ok": None if required is None else ratio >= required,
            "rounds": speeds,
        }

    async def compared(self, sides: Mapping[str, Side], tasks: int) -> dict[str, list[float]]:
        """Return the operations a second of each side, by round."""
        counts = {name: await self._calibrated(side, tasks) for name, side in sides.items()}
        speeds: dict[str, list[float]] = {name: [] for name in sides}
        for _ in range(self.options.rounds):
            for name, speed in (await self._round(sides, tasks, counts)).items():
                speeds[name].append(speed)
        return speeds

    async def _calibrated(self, side: Side, tasks: int) -> int:
        """Return how many operations fill a round; runs them until the guess is good enough."""
        wanted = self.options.seconds
        count = tasks
        while True:
            await self.bare.flushdb()
            await side.prepare(tasks, count)
            took = await measure(side, tasks, range(count))
            if took >= wanted * WARM_UP:
                return max(tasks, round(count * wanted / took))
            count = max(count * 2, min(count * 20, round(count * wanted * WARM_UP / took) + 1))

    async def _round(self, sides: Mapping[str, Side], tasks: int, counts: Mapping[str, int]) -> dict[str, float]:
        """Return the operations a second of each side, which take turns in short slices."""
        await self.bare.flushdb()
        for name, side in sides.items():
            await side.prepare(tasks, counts[name])
        slices = max(1, min(SLICES, min(counts.values()) // (tasks * LEAST_IN_SLICE)))
        times = dict.fromkeys(sides, 0.0)
        gc.collect()
        gc.freeze()  # what is there by now is no part of the collections that calls bring about
        for index in range(slices):
            for name in sorted(sides, reverse=index % 2 == 1):
                numbers = range(counts[name] * index // slices, counts[name] * (index + 1) // slices)
                times[name] += await measure(sides[name], tasks, numbers)
        gc.unfreeze()
        return {name: counts[name] / took for name, took in times.items()}

    async def peers(self, url: str) -> list[dict[str, Any]]:
        """Measure other libraries."""
        tasks = self.options.tasks or _bench_peers.TASKS
        return await _bench_peers.run(self.compared, url, self.bare, self.ours, tasks)

    def costs(self) -> list[dict[str, Any]]:
        """Measure what models cost without Redis, in microseconds."""
        found = []
        for name, limit, work in MODEL_COSTS:
            times: dict[str, list[float]] = {"bare": [], "rapyer": []}
            for _ in range(self.options.rounds):
                times["bare"].append(_microseconds(work, Plain, self.options.seconds))
                times["rapyer"].append(_microseconds(work, Profile, self.options.seconds))
            medians: dict[str, Any] = {side: statistics.median(values) for side, values in times.items()}
            ok = None if limit is None else medians["rapyer"] <= limit
            found.append({"case": name, **medians, "required": limit, "ok": ok, "rounds": times})
        return found

    async def close(self) -> None:
        """Close every connection."""
        await rapyer.teardown_rapyer()
        await self.bare.aclose()
        await self.ours.aclose()


def _microseconds(work: Callable[[type[Any]], Any], cls: type[Any], seconds: float) -> float:
    """Return the median time of one call; calls are timed by the hundred."""
    times: list[float] = []
    end = time.perf_counter() + seconds
    while not times or time.perf_counter() < end:
        began = time.perf_counter()
        for _ in range(100):
            work(cls)
        times.append((time.perf_counter() - began) * 10_000)
    return statistics.median(times)


def _touched(model: Any) -> Any:
    return model.name, model.email, model.age, model.score, model.tags, model.settings


async def run(url: str, options: Options) -> dict[str, Any]:
    """Measure everything that was asked for; print as it goes."""
    bench = Bench(url, options)
    try:
        await rapyer.init_rapyer(bench.ours)
        about = await report.circumstances(bench.bare, rounds=options.rounds, seconds=options.seconds)
        print("\n".join(f"{name + ':':10}{text}" for name, text in about.items()), end="\n\n", flush=True)
        chosen = list(_chosen(options))
        results = [await _shown(bench, case, tasks) for case, tasks in chosen]
        latency = (
            await _bench_latency.run(bench.compared, bench.bare, bench.ours) if _wanted("latency", options) else []
        )
        peers = await bench.peers(url) if _wanted("peers", options) else []
        names = [name for name in _bench_locks.LOCK_CASES if _wanted("locks", options) or _wanted(name, options)]
        locks = await _bench_locks.run(url, names, options.rounds, options.seconds, quick=options.quick)
        costs = bench.costs() if _wanted("models", options) else []
        imports = _bench_imports.run(options.rounds) if _wanted("imports", options) else []
        server = await _bench_server.measure(bench.bare) if _wanted("server", options) else []
    finally:
        await bench.close()
    tables = (report.ratios(results), report.latencies(latency), report.peers(peers), report.locks(locks))
    for table in (*tables, report.costs(costs), report.imports(imports), report.server(server)):
        print(f"\n{table}" if table else "", end="\n" if table else "")
    print("\n" + report.legend(case for case, _ in chosen))
    others = {"latency": latency, "peers": peers, "locks": locks, "costs": costs, "imports": imports, "server": server}
    return {**about, "results": results, **others}


def _chosen(options: Options) -> Iterator[tuple[Case, int]]:
    for group, cases in GROUPS.items():
        for case in cases:
            if _wanted(group, options) or _wanted(case.name, options):
                yield from ((case, tasks) for tasks in options.tasks or case.tasks or TASKS)


def _wanted(name: str, options: Options) -> bool:
    return not options.only or name in options.only


async def _shown(bench: Bench, case: Case, tasks: int) -> dict[str, Any]:
    print(f"  {case.name}, {tasks} task{'s' * (tasks > 1)} ... ", end="", flush=True)
    found = await bench.ratio(case, tasks)
    print(f"{found['ratio']:.2f} {report.verdict(found['ok'])}", flush=True)
    return found


def _options(words: Sequence[str]) -> Options:
    names = [*GROUPS, *OTHERS, *_bench_locks.LOCK_CASES, *(case.name for cases in GROUPS.values() for case in cases)]
    parser = argparse.ArgumentParser(
        prog="bench.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=_positive(int), default=5, help="rounds of each case (default %(default)s)")
    parser.add_argument(
        "--seconds", type=_positive(float), default=0.5, help="seconds of each side in a round (default %(default)s)"
    )
    parser.add_argument(
        "--tasks",
        type=_listed(_positive(int)),
        default=None,
        metavar="N,...",
        help="concurrent tasks (default 1,64,512, or what the case is about)",
    )
    parser.add_argument(
        "--only", type=_listed(_one_of(names)), default=[], metavar="NAME,...", help=f"of: {', '.join(names)}"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything measured there, too")
    parser.add_argument("--quick", action="store_true", help="one short round at 1 and 4 tasks: no numbers to quote")
    options = parser.parse_args(words, Options())
    if options.quick:
        options.rounds, options.seconds, options.tasks = 1, 0.02, [1, 4]
    return options


def _positive(kind: Callable[[str], Any]) -> Callable[[str], Any]:
    def number(word: str) -> Any:
        found = kind(word)
        if not found > 0:
            msg = f"must be more than 0, not {word}"
            raise argparse.ArgumentTypeError(msg)
        return found

    return number


def _listed(kind: Callable[[str], Any]) -> Callable[[str], list[Any]]:
    return lambda words: [kind(word.strip()) for word in words.split(",")]


def _one_of(names: Sequence[str]) -> Callable[[str], str]:
    def name(word: str) -> str:
        if word not in names:
            msg = f"there is no case {word!r}; the cases are: {', '.join(names)}"
            raise argparse.ArgumentTypeError(msg)
        return word

    return name


def main(words: Sequence[str]) -> int:
    """Run the command line and return its exit code."""
    options = _options(words)
    with contextlib.ExitStack() as stack:
        try:
            server = stack.enter_context(redis_stack.start(private=True))
            found = asyncio.run(run(server.url, options))
        except redis_stack.StackError as error:
            print(f"bench: {error}", file=sys.stderr)
            return 1
        except KeyboardInterrupt:
            return 130
    if options.json:
        options.json.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    _interrupts.usual()
    sys.exit(main(sys.argv[1:]))
