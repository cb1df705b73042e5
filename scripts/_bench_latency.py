"""What `bench.py` measures of single calls: how long one takes when many tasks call at once.

Rules
- The sides are those of the cases of the same names, and take turns as they do there.
- Each task calls again as soon as it is answered, so a side that answers sooner is also asked more.
- Percentiles are of all calls of a round; told is the median of the rounds. What calibration called does not count.
"""

from __future__ import annotations

import statistics
import time
from typing import TYPE_CHECKING, Any

import _bench_cases
from _bench_report import verdict

if TYPE_CHECKING:
    from _bench_sides import Compared, Side

TASKS = 64
OPERATIONS = ("save", "get", "aupdate", "increase", "pipeline")
PERCENTS: dict[int, float | None] = {50: None, 99: 1.0}  # and the most that rapyer's may be of bare redis-py's


class Timed:
    """A side that remembers how long each call took, in microseconds, by round."""

    def __init__(self, side: Side) -> None:
        self.side = side
        self.rounds: list[list[float]] = []

    async def prepare(self, tasks: int, count: int) -> None:
        """Prepare the side, and begin a round."""
        self.rounds.append([])
        await self.side.prepare(tasks, count)

    async def once(self, task: int, number: int) -> None:
        """Do the operation once, and remember its time."""
        began = time.perf_counter()
        await self.side.once(task, number)
        self.rounds[-1].append((time.perf_counter() - began) * 1e6)


async def run(compared: Compared, bare: Any, ours: Any) -> list[dict[str, Any]]:
    """Measure the percentiles of each operation; print as it goes."""
    found = []
    for case in _bench_cases.CASES:
        if case.name not in OPERATIONS:
            continue
        print(f"  latency of {case.name}, {TASKS} tasks ... ", end="", flush=True)
        sides = {"bare": Timed(case.bare(bare)), "rapyer": Timed(case.rapyer(ours))}
        rounds = len((await compared(sides, TASKS))["rapyer"])
        results = [_result(case.name, percent, sides, rounds) for percent in PERCENTS]
        print(", ".join(f"p{each['percent']} {each['ratio']:.2f} {verdict(each['ok'])}".rstrip() for each in results))
        found += results
    return found


def _result(case: str, percent: int, sides: dict[str, Timed], rounds: int) -> dict[str, Any]:
    times = {name: [percentile(times, percent) for times in side.rounds[-rounds:]] for name, side in sides.items()}
    ratio = statistics.median(ours / bare for ours, bare in zip(times["rapyer"], times["bare"], strict=True))
    limit = PERCENTS[percent]
    return {
        "case": case,
        "tasks": TASKS,
        "percent": percent,
        **{name: statistics.median(values) for name, values in times.items()},
        "ratio": ratio,
        "required": limit,
        "ok": None if limit is None else ratio <= limit,
        "rounds": times,
    }


def percentile(times: list[float], percent: int) -> float:
    """Return the time that so many percent of the calls do not exceed."""
    return sorted(times)[(len(times) * percent - 1) // 100]
