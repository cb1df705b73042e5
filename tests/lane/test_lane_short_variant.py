"""The lane on redis-py's own parser, in short; `make variants` runs the whole suite on it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from rapyer._pack import pack, pack_slowly

HERE = Path(__file__).parent


@pytest.mark.slow
@pytest.mark.skipif(os.environ.get("RAPYER_TEST_HIREDIS") == "0", reason="that is what is running")
@pytest.mark.parametrize("protocol", ["2", "3"])
def test_without_hiredis(protocol):
    """Flow, cancellation, losses and combining are the same where hiredis is not installed."""
    files = [
        HERE / f"test_lane_{name}.py" for name in ("flow", "cancelled", "losses", "combining", "combining_once", "cuts")
    ]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", "not slow", *map(str, files)],
        env={
            **os.environ,
            "RAPYER_TEST_CONNECTION": "tcp",
            "RAPYER_TEST_HIREDIS": "0",
            "RAPYER_TEST_PROTOCOL": protocol,
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("arguments", [["PING"], ["ECHO", "é€😀"], ["SET", b"\xff\x00", ""], ["ECHO", "x" * 100_000]])
def test_packing(arguments):
    """A command is the same bytes, packed with hiredis or without."""
    arguments = tuple(arguments)
    slowly = pack_slowly(arguments)
    assert pack(arguments) == slowly
    assert slowly.startswith(b"*%d\r\n$%d\r\n" % (len(arguments), len(arguments[0])))
