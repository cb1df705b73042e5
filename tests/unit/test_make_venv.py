"""scripts/make_venv.py: an environment on any machine that has Python and some pip."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import make_venv

# Like the pip of Ubuntu 22.04, it knows nothing of other environments. What it installs is itself.
OLD_PIP = """
import json, os, shutil, sys, sysconfig
if "--python" in sys.argv:
    sys.exit("no such option: --python")
here = os.path.dirname(os.path.abspath(__file__))
with open(os.environ["DIARY"], "a") as file:
    print(json.dumps([sys.prefix, here, *sys.argv[1:]]), file=file)
if sys.argv[1] == "--version":
    sys.exit(0)
if sys.argv[-1] != "pip":
    sys.exit(3)
shutil.copytree(here, sysconfig.get_path("purelib") + "/pip")
"""

RUN = "import runpy, sys; sys.path.insert(0, sys.argv.pop(1)); runpy.run_path(sys.argv.pop(1), run_name='__main__')"


def make(folder: Path, site: Path, **env: str) -> subprocess.CompletedProcess[str]:
    """Return what came of making an environment in that folder with the pip that is in `site`, if any."""
    command = [sys.executable, "-S", "-c", RUN, str(site), make_venv.__file__, str(folder)]
    return subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, **env})


def test_any_pip_will_do(tmp_path: Path) -> None:
    """The pip at hand, older than `--python` too, brings a pip, which installs the rest; its exit code is told.

    The first one would take what lies beside it, outside the new environment, for installed.
    """
    pip, diary, folder = tmp_path / "site" / "pip", tmp_path / "diary", tmp_path / "my env"
    pip.mkdir(parents=True)
    (pip / "__init__.py").write_text("", "utf-8")
    (pip / "__main__.py").write_text(OLD_PIP, "utf-8")
    done = make(folder, pip.parent, DIARY=str(diary))
    assert done.returncode == 3, done.stderr
    first, *_, then = (json.loads(line) for line in diary.read_text("utf-8").splitlines())
    assert first[:2] == [str(folder), str(pip)]
    assert first[-2:] == ["--ignore-installed", "pip"]
    assert then[0] == str(folder)
    assert Path(then[1]).is_relative_to(folder)
    assert then[then.index("-e") + 1] == str(make_venv.ROOT)
    assert {"pytest", "ruff", "redis[hiredis]"} <= set(then)


def test_tells_that_pip_is_missing(tmp_path: Path) -> None:
    """Without any pip nothing is made, and the remedy is told."""
    done = make(tmp_path / "env", tmp_path)
    assert done.returncode == 1
    assert "apt install python3-pip" in done.stderr
    assert not (tmp_path / "env").exists()
