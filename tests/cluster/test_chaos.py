"""scripts/chaos.py: its checker finds what is wrong, and a short run finds nothing."""

import subprocess
import sys
from pathlib import Path

import pytest

import redis_stack
from _chaos_faults import Fault
from chaos import Operation, Stored, check, wrongs
from rapyer._keys import hash_slot

SCRIPT = Path(redis_stack.__file__).with_name("chaos.py")


def judged(mode, kind, outcomes, injected=(), **there):
    """What is wrong with this history and this end."""
    key = f"Doc:{kind}"
    history = [Operation(mode, kind, "d", name, outcome, 10.0, 10.1) for name, outcome in outcomes.items()]
    stored = Stored(**{"key": key, "n": 0, "twice": 0, "items": (), **there})
    found = check(history, {(mode, "d"): stored}, injected)
    return wrongs(mode, kind, found[mode, kind])


def loss(kind):
    """The loss of the primary of the document."""
    return [Fault("primary killed", 10.05, 12.0, frozenset({hash_slot(f"Doc:{kind}")}))]


@pytest.mark.parametrize("mode", ["plain", "careful"])
def test_what_is_right(mode):
    """Acknowledged is there once, unknown is there or not, refused is not there."""
    told = {"a": "done", "b": "unknown", "c": "unknown", "d": "refused"}
    assert judged(mode, "append", told, items=["a", "c"]) == []
    assert judged(mode, "increment", told, n=2) == []
    assert judged(mode, "pipeline", {"a": "done"}, n=1, twice=2, items=["a"]) == []


@pytest.mark.parametrize("mode", ["plain", "careful"])
def test_what_is_wrong(mode):
    """Lost without a reason, doubled, from nowhere, refused and yet there, and fields that disagree: each is found."""
    assert judged(mode, "append", {"a": "done"}) != []
    assert judged(mode, "append", {"a": "done"}, items=["a", "a"]) != []
    assert judged(mode, "append", {"a": "unknown"}, items=["a", "a"]) != []
    assert judged(mode, "append", {"a": "done"}, items=["a", "z"]) != []
    assert judged(mode, "append", {"a": "refused"}, items=["a"]) != []
    assert judged(mode, "increment", {"a": "done", "b": "unknown"}, n=3) != []
    assert judged(mode, "increment", {"a": "done", "b": "done"}, n=1) != []
    assert judged(mode, "lock", {"a": "done"}, n=1, twice=2) != []
    assert judged(mode, "pipeline", {"a": "done"}, n=1, twice=1, items=["a"]) != []


def test_what_replication_may_lose():
    """Around the loss of its primary a plain write may be lost, a careful one may not; elsewhere none may."""
    told = {"a": "done"}
    assert judged("plain", "append", told, injected=loss("append")) == []
    assert judged("plain", "increment", told, injected=loss("increment")) == []
    assert judged("careful", "append", told, injected=loss("append")) != []
    assert judged("plain", "append", told, injected=loss("increment")) != []


@pytest.mark.slow
def test_a_short_run():
    """A few seconds of every fault: everything that has to hold holds."""
    command = [sys.executable, str(SCRIPT), "--seconds", "10"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "careful" in done.stdout
