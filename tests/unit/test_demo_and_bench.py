"""scripts/demo.py and scripts/bench.py: they run from a checkout with no argument beyond those a person would give."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import signal
import subprocess
import sys
from datetime import datetime
from pathlib import Path

import pytest

import _bench_blocks
import _bench_cases
import _bench_latency
import _bench_operations
import _bench_peers
import _bench_server
import plot
import redis_stack
from rapyer import types
from rapyer._registry import scripts
from rapyer.types import RedisBytes

SCRIPTS = Path(redis_stack.__file__).resolve().parent
SECONDS = 100
GROUPS = (_bench_cases.CASES, _bench_blocks.CASES, _bench_operations.CASES)


def run(script: str, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a script as a person would, and return what it printed."""
    command = [sys.executable, SCRIPTS / script, *words]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=SECONDS, check=False, env={**os.environ, **environment}
    )


@pytest.mark.slow
def test_demo_loses_nothing():
    """The demo shows the tour, then that processes which hammer one document with rapyer lose no change."""
    done = run("demo.py", "--seconds", "1", "--processes", "2")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "rapyer lost 0 of " in done.stdout
    assert '"account_type":"premium"' in done.stdout
    assert "\033" not in done.stdout
    assert not done.stderr


@pytest.mark.parametrize("script", ["demo.py", "bench.py", "redis_stack.py"])
def test_ctrl_c_at_once_is_quiet(script):
    """Ctrl-C while a script still imports ends it, by that signal, without a traceback."""
    command = [sys.executable, "-X", "importtime", SCRIPTS / script]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        for line in process.stderr:
            if "argparse" in line:  # it is in the middle of it
                break
        process.send_signal(signal.SIGINT)
        output, rest = process.communicate()
    assert process.returncode == -signal.SIGINT
    assert "Traceback" not in rest
    assert not output


@pytest.mark.slow
def test_bench_runs_every_case(tmp_path):
    """The short form of the benchmark runs every case and both sides and every script, and writes what it measured."""
    file = tmp_path / "bench.json"
    done = run("bench.py", "--quick", "--json", str(file))
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(file.read_text(encoding="utf-8"))
    assert {"host", "python", "packages", "server", "method"} <= found.keys()
    assert {case.name for cases in GROUPS for case in cases} == {result["case"] for result in found["results"]}
    assert scripts().keys() == {result["script"] for result in found["server"]}
    measured = [*found["results"], *found["latency"], *found["costs"]]
    assert all(result["bare"] > 0 and result["rapyer"] > 0 for result in measured)
    drawn = set(re.findall(r">(\w+)</text>", plot.drawing(found)))
    assert drawn & {result["case"] for result in found["results"]} == {case.name for case in _bench_cases.CASES}


@pytest.mark.slow
def test_bench_tells_percentiles_of_single_calls(tmp_path):
    """The p50 is no longer than the p99 of the same calls, and only the p99 has a requirement."""
    file = tmp_path / "bench.json"
    done = run("bench.py", "--quick", "--only", "latency", "--json", str(file))
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(file.read_text(encoding="utf-8"))
    assert not found["results"]
    latency = {(each["case"], each["percent"]): each for each in found["latency"]}
    operations = ("save", "get", "aupdate", "increase", "pipeline")
    assert latency.keys() == {(case, percent) for case in operations for percent in (50, 99)}
    for case in operations:
        half, most = latency[case, 50], latency[case, 99]
        assert half["bare"] <= most["bare"]
        assert half["rapyer"] <= most["rapyer"]
        assert half["ok"] is None
        assert most["ok"] is (most["ratio"] <= 1)
        assert f"p{most['percent']}" in done.stdout


def test_bench_of_imports(tmp_path):
    """Packages, names and models are compared with their like, the first two with a requirement."""
    file = tmp_path / "bench.json"
    done = run("bench.py", "--quick", "--only", "imports", "--json", str(file))
    assert done.returncode == 0, done.stdout + done.stderr
    imports = json.loads(file.read_text(encoding="utf-8"))["imports"]
    assert [found["required"] for found in imports] == [1.3, 1.3, None]
    assert all(found["bare"] > 0 and found["rapyer"] > 0 for found in imports)
    assert all(found["ok"] is (found["ratio"] <= found["required"]) for found in imports[:2])
    assert "import rapyer | import redis, pydantic" in done.stdout


@pytest.mark.parametrize(("percent", "expected"), [(50, 50), (99, 99), (100, 100)])
def test_percentile_is_a_time_that_so_many_do_not_exceed(percent, expected):
    """Of the times 1 to 100 in any order, exactly so many percent do not exceed the percentile."""
    assert _bench_latency.percentile([*range(51, 101), *range(1, 51)], percent) == expected
    assert _bench_latency.percentile([7.0], percent) == 7


def test_bench_has_every_operation():
    """Every awaited operation of a field type has a case."""
    builtin = {"int": int, "float": float, "str": str, "datetime": datetime, "list": list, "dict": dict, "set": set}
    of_all = {name for name in dir(RedisBytes) if not hasattr(bytes, name)}
    wanted = {
        f"{name}.{operation}"
        for name, plain in builtin.items()
        for operation in dir(getattr(types, f"Redis{name.title()}"))
        if not (operation.startswith("_") or hasattr(plain, operation) or operation in of_all)
    }
    assert {"int.increase", "set.aremove", "dict.apopitem"} <= wanted
    assert wanted <= {case.name for case in _bench_operations.CASES}


async def test_bench_has_every_script(bound):
    """Every script has a call, which is not refused: a lock that it needs is held, one that it takes is free."""
    calls = _bench_server.calls()
    assert calls.keys() == scripts().keys()
    for name, (keys, arguments) in calls.items():
        for command in _bench_server.before(name, keys):
            await bound.execute_command(*command)
        answer = await bound.execute_command("EVALSHA", scripts()[name].sha, len(keys), *keys, *arguments)
        if name.startswith("lock."):
            assert answer in (1, [1], [1, None]) or (answer[0], answer[1][0]) == (0, b"token"), name
    assert await bound.exists(_bench_server.LOCK) == 0


@pytest.mark.parametrize("case", _bench_blocks.CASES, ids=lambda case: case.name)
async def test_bench_blocks_leave_the_same(bound, case):
    """Both sides of a block leave the same document behind."""
    bare, ours = case.bare(bound), case.rapyer(bound)
    for side in (bare, ours):
        await side.prepare(1, 1)
        await side.once(0, 5)
    documents = [await bound.execute_command("JSON.GET", key) for key in ("Bare:0", ours.keys[0])]
    assert json.loads(documents[0]) == json.loads(documents[1])


@pytest.mark.slow
def test_bench_leaves_out_libraries_that_are_not_there(tmp_path):
    """A library that cannot be imported costs one line, which says how to get it; the run goes through."""
    file = tmp_path / "bench.json"
    for name, (module, _) in _bench_peers.PEERS.items():
        (tmp_path / f"{module}.py").write_text(f"raise ImportError('no {name}')", encoding="utf-8")
    done = run("bench.py", "--quick", "--only", "peers", "--json", str(file), PYTHONPATH=str(tmp_path))
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads(file.read_text(encoding="utf-8"))["peers"] == []
    for name in _bench_peers.PEERS:
        assert done.stdout.count(f"no {name} (pip install {name})\n") == 1


@pytest.mark.slow
def test_bench_measures_libraries_that_are_there(tmp_path):
    """Each library that can be imported does every operation in the same run as rapyer and bare redis-py."""
    there = {name for name, (module, _) in _bench_peers.PEERS.items() if importlib.util.find_spec(module)}
    if not there:
        pytest.skip(f"none of {', '.join(_bench_peers.PEERS)} is installed")
    file = tmp_path / "bench.json"
    done = run("bench.py", "--quick", "--only", "peers", "--json", str(file))
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(file.read_text(encoding="utf-8"))["peers"]
    assert {each["case"] for each in found} == set(_bench_peers.OPERATIONS)
    for each in found:
        assert each["speeds"].keys() == {"bare", "rapyer", *there}
        assert min(each["speeds"].values()) > 0


@pytest.mark.parametrize("side", [_bench_cases.BareSaveNew, _bench_cases.OurSaveNew])
async def test_bench_saves_new_documents(bound, side):
    """Each operation of `save_new` adds a document of its own; preparing adds none."""
    new = side(bound)
    await new.prepare(2, 5)
    assert await bound.dbsize() == 0
    for number in range(5):
        await new.once(number % 2, number)
        assert await bound.dbsize() == number + 1


@pytest.mark.parametrize("words", [("--only", "nonsense"), ("--tasks", "0"), ("--rounds", "x")])
def test_bench_refuses_what_it_does_not_know(words):
    """A mistyped option is an error before anything is started, with the option's name in it."""
    done = run("bench.py", *words)
    assert done.returncode == 2
    assert words[0] in done.stderr
