"""What importing costs: rapyer beside what its users import anyway, in fresh interpreters that take turns."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
from typing import Any

#: How many times as long as the other line ours may take.
REQUIRED = 1.3
_NAMES = "from redis.asyncio import Redis; from pydantic import BaseModel"
#: Pydantic and rapyer load names when they are used: so packages are compared with packages, names with names, and a
#: model with a model.
PAIRS: tuple[tuple[str, str, float | None], ...] = (
    ("import redis, pydantic", "import rapyer", REQUIRED),
    (_NAMES, "from rapyer import AtomicRedisModel, init_rapyer", REQUIRED),
    (f"{_NAMES}; type('M', (BaseModel,), {{}})", "from rapyer import init_rapyer", None),
)
_TIMED = "import time; began = time.process_time(); {}; print(time.process_time() - began)"


def run(rounds: int) -> list[dict[str, Any]]:
    """Return milliseconds of CPU of each import and the median ratios.

    Bytecode is cached, as in every installed program: one round more than is counted fills the cache.
    """
    times: dict[tuple[str, str], list[tuple[float, float]]] = {pair[:2]: [] for pair in PAIRS}
    with tempfile.TemporaryDirectory() as cache:
        for _ in range(rounds + 1):
            for (bare, ours), found in times.items():
                found.append((_milliseconds(bare, cache), _milliseconds(ours, cache)))
    return [_compared(bare, ours, times[bare, ours][1:], required) for bare, ours, required in PAIRS]


def _milliseconds(line: str, cache: str) -> float:
    environment = {**os.environ, "PYTHONPYCACHEPREFIX": cache}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    command = [sys.executable, "-c", _TIMED.format(line)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return float(done.stdout) * 1000


def _compared(bare: str, ours: str, times: list[tuple[float, float]], required: float | None) -> dict[str, Any]:
    ratio = statistics.median(mine / other for other, mine in times)
    return {
        "case": f"{ours} | {bare}",
        "bare": statistics.median(other for other, _ in times),
        "rapyer": statistics.median(mine for _, mine in times),
        "ratio": ratio,
        "required": required,
        "ok": None if required is None else ratio <= required,
    }
