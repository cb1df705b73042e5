"""scripts/demo.py and scripts/bench.py: they run from a checkout with no argument beyond those a person would give."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

import redis_stack

SCRIPTS = Path(redis_stack.__file__).resolve().parent
SECONDS = 100


def run(script: str, *words: str) -> subprocess.CompletedProcess[str]:
    """Run a script as a person would, and return what it printed."""
    command = [sys.executable, SCRIPTS / script, *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)


@pytest.mark.slow
def test_demo_loses_nothing():
    """The demo shows the tour, then that processes which hammer one document with rapyer lose no change."""
    done = run("demo.py", "--seconds", "1", "--processes", "2")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "rapyer lost 0 of " in done.stdout
    assert '"account_type":"premium"' in done.stdout
    assert "\033" not in done.stdout
    assert not done.stderr


@pytest.mark.slow
def test_bench_runs_every_case(tmp_path):
    """The short form of the benchmark runs every case and both sides, and writes what it measured as JSON."""
    file = tmp_path / "bench.json"
    done = run("bench.py", "--quick", "--json", str(file))
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(file.read_text(encoding="utf-8"))
    assert {"host", "python", "packages", "server", "method"} <= found.keys()
    assert {"save", "get", "aupdate", "delete_by_key"} <= {result["case"] for result in found["results"]}
    assert all(result["bare"] > 0 and result["rapyer"] > 0 for result in [*found["results"], *found["costs"]])


@pytest.mark.parametrize("words", [("--only", "nonsense"), ("--tasks", "0"), ("--rounds", "x")])
def test_bench_refuses_what_it_does_not_know(words):
    """A mistyped option is an error before anything is started, with the option's name in it."""
    done = run("bench.py", *words)
    assert done.returncode == 2
    assert words[0] in done.stderr
