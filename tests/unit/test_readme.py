"""The README's first example does what it says."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

README = Path(__file__).parent.parent.parent / "README.md"


def test_the_first_example_runs(stack):
    """Copied into a file, with the address of a real server, it prints what its comment promises."""
    example = re.search(r"```python\n(.*?)```", README.read_text("utf-8"), re.DOTALL)[1]
    promised = re.search(r"print\(.*# (name=.*)", example)[1]
    source = example.replace("redis://localhost:6379", stack.url)
    done = subprocess.run([sys.executable, "-W", "error", "-c", source], capture_output=True, text=True, check=False)
    assert done.stderr == ""
    assert done.stdout.strip() == promised


def test_the_first_forty_lines_tell_what_it_is():
    """Promise, runnable example, what is atomic and how, what it is not, and how to install it."""
    head = "\n".join(README.read_text("utf-8").splitlines()[:40])
    for word in ("one Lua script", "```python", "**What is atomic, and how.**", "**What it is not.**", "**Install.**"):
        assert word in head
