"""The guard of one Redis Stack: a small process that holds the server and outlives nobody.

Rules
- The starter talks to it through its standard input, one word a line, and reads one line for each
  from its standard output. The end of that input means the starter is gone, however it died.
- Whatever ends the guard ends the server: the end of its input, a signal (it cleans up), or SIGKILL
  (the kernel kills the server, by PR_SET_PDEATHSIG).
- Ctrl-C is not for the guard: it has its own session and ignores SIGINT, so that it can clean up
  after a starter that died of it.
- It starts for every server, so it imports little and runs with `python -I -S`.

Usage: _stack_guard.py FOLDER server REDIS-SERVER ARGS...
       _stack_guard.py FOLDER docker COMPOSE ARGS...
       _stack_guard.py PID command COMMAND ARGS...

FOLDER is made by the guard, holds the server's data and log, and is removed at the end. With PID, its starter's number,
there is no server: it becomes the command, which the kernel kills together with the starter.
"""

from __future__ import annotations

import ctypes
import os
import select
import signal
import sys
import time

TYPE_CHECKING = False  # the real one costs the import of typing
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import NoReturn

PR_SET_PDEATHSIG = 1
READY = (b"Ready to accept connections", b"Sentinel ID is")
START_SECONDS = 30.0
POLL_SECONDS = 0.002
PARENT_SECONDS = 1.0
LOG_LINES = 5


class Server:
    """redis-server as a child process that the kernel kills together with the guard."""

    def __init__(self, folder: str, command: list[str]) -> None:
        self.folder = folder
        self.command = command
        self.log = f"{folder}/redis.log"
        self.pid = 0
        self.prctl = _prctl()

    def start(self) -> str:
        """Start the server afresh; answer when it accepts connections, or why it does not."""
        self.kill()
        self.pid = _spawn(self.command, self.log, self._before)
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            if any(word in _read(self.log) for word in READY):
                return f"ready {self.pid}"
            if os.waitpid(self.pid, os.WNOHANG)[0]:
                self.pid = 0
                return f"failed {_tail(self.log)}"
            time.sleep(POLL_SECONDS)
        self.kill()
        return f"failed not ready after {START_SECONDS:.0f} s: {_tail(self.log)}"

    def kill(self) -> str:
        """End the server at once, with the children it may have forked to write a file."""
        if self.pid:
            _end(self.pid)
            self.pid = 0
        return "ok"

    def pause(self) -> str:
        """Freeze the server."""
        return self._signal(signal.SIGSTOP)

    def resume(self) -> str:
        """Let a frozen server go on."""
        return self._signal(signal.SIGCONT)

    def remove(self) -> None:
        """Leave nothing running."""
        self.kill()

    def _signal(self, number: signal.Signals) -> str:
        if not self.pid:
            return "failed the server does not run"
        os.kill(self.pid, number)
        return "ok"

    def _before(self) -> None:
        os.chdir(self.folder)
        # The guard may have died before the request reached the kernel: then nobody would tell.
        self.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != GUARD:
            os._exit(1)


class Compose:
    """The server as a compose project of its own."""

    def __init__(self, folder: str, command: list[str]) -> None:
        self.command = command
        self.log = f"{folder}/docker.log"
        self.pid = 0
        self.made = False

    def start(self) -> str:
        """Start the container, or start it again: what it held is gone unless it was persistent."""
        if self.made:
            self._run("kill")
        answer = self._run("up", "--detach")
        self.made = True
        return "ready 0" if answer == "ok" else answer

    def kill(self) -> str:
        """End the server at once; its container stays for the next start."""
        return self._run("kill")

    def pause(self) -> str:
        """Freeze the container."""
        return self._run("pause")

    def resume(self) -> str:
        """Let a frozen container go on."""
        return self._run("unpause")

    def remove(self) -> None:
        """Remove container, network and volumes; a docker client still at work is ended first."""
        if self.pid:
            _end(self.pid)
        self._run("down", "--volumes", "--remove-orphans", "--timeout", "0")

    def _run(self, *words: str) -> str:
        self.pid = _spawn([*self.command, *words], self.log, _nothing)
        status = os.waitpid(self.pid, 0)[1]
        self.pid = 0
        return f"failed {_tail(self.log)}" if status else "ok"


def _prctl() -> Callable[[int, int], int]:
    # Looked up before the fork: a child of fork should do as little as possible.
    prctl: Callable[[int, int], int] = ctypes.CDLL(None).prctl
    return prctl


def _nothing() -> None:
    """Stand in for a step that is not needed."""


def _spawn(command: list[str], log: str, before: Callable[[], None]) -> int:
    """Run a command in its own session, output to the log; subprocess is slow to import."""
    # Emptied before the fork: what an earlier run wrote must not be taken for this one's.
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o600)
    pid = os.fork()
    if pid:
        os.close(output)
        return pid
    try:
        _become(command, output, before)
    finally:
        os._exit(127)


def _become(command: list[str], output: int, before: Callable[[], None]) -> None:
    os.setsid()
    before()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGPIPE):
        signal.signal(number, signal.SIG_DFL)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(output, 1)
    os.dup2(output, 2)
    try:
        os.execvp(command[0], command)  # noqa: S606 - no shell is wanted
    except OSError as error:
        os.write(2, f"{command[0]}: {error.strerror}".encode())


def _end(pid: int) -> None:
    """Kill a child and its group and wait for it, unless that was done before a signal came."""
    try:
        _kill_group(pid)
        os.waitpid(pid, 0)
    except (ProcessLookupError, ChildProcessError):
        pass


def _kill_group(pid: int) -> None:
    try:
        os.killpg(pid, signal.SIGKILL)
    except ProcessLookupError:
        # The child has not made its group yet.
        os.kill(pid, signal.SIGKILL)


def _read(path: str) -> bytes:
    try:
        with open(path, "rb") as file:  # noqa: PTH123 - pathlib is slow to import
            return file.read()
    except FileNotFoundError:
        return b""


def _tail(path: str) -> str:
    lines = _read(path).decode(errors="replace").split("\n")
    return " | ".join([line.strip() for line in lines if line.strip()][-LOG_LINES:])


def _words(parent: int) -> Iterator[str]:
    """Yield what the starter asks for, until it is gone.

    A process forked from the starter may hold the other end of the pipe open, so the end of the
    input alone is not enough: the parent's number changes when it dies.
    """
    while os.getppid() == parent:
        if select.select([0], [], [], PARENT_SECONDS)[0]:
            line = os.read(0, 64)
            if not line:
                return
            yield line.decode().strip()


def _leave(_number: int, _frame: object) -> NoReturn:
    raise SystemExit(0)


def _handle_signals() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
        signal.signal(number, _leave)


def _remove_folder(folder: str) -> None:
    for base, folders, files in os.walk(folder, topdown=False):
        for name in files:
            os.unlink(f"{base}/{name}")  # noqa: PTH108 - pathlib is slow to import
        for name in folders:
            _remove_entry(f"{base}/{name}")
    os.rmdir(folder)  # noqa: PTH106 - pathlib is slow to import


def _remove_entry(path: str) -> None:
    # os.walk lists a link to a folder as a folder; the link goes, what it points to stays.
    if os.path.islink(path):  # noqa: PTH114 - pathlib is slow to import
        os.unlink(path)  # noqa: PTH108 - pathlib is slow to import
    else:
        os.rmdir(path)  # noqa: PTH106 - pathlib is slow to import


def _serve(subject: Server | Compose, parent: int) -> None:
    steps: dict[str, Callable[[], str]] = {
        "start": subject.start,
        "kill": subject.kill,
        "pause": subject.pause,
        "resume": subject.resume,
    }
    for word in _words(parent):
        os.write(1, f"{steps[word]()}\n".encode())


def _guard(folder: str, kind: str, *command: str) -> None:
    parent = os.getppid()
    _handle_signals()
    os.mkdir(folder, 0o700)  # noqa: PTH102 - pathlib is slow to import
    if "--sentinel" in command:
        # A sentinel wants a file of its own, in which it writes down what it learns.
        os.close(os.open(f"{folder}/sentinel.conf", os.O_CREAT | os.O_EXCL, 0o600))
    subject = (Server if kind == "server" else Compose)(folder, list(command))
    try:
        _serve(subject, parent)
    except BrokenPipeError:
        pass  # the starter died while its answer was on the way
    finally:
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
            signal.signal(number, signal.SIG_IGN)
        subject.remove()
        _remove_folder(folder)


def _tied(starter: str, *command: str) -> int:
    for number in (signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_DFL)  # Python ignores them, and a command would, too
    if sys.platform == "linux":
        _prctl()(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != int(starter):
            return 1
    try:
        os.execvp(command[0], command)  # noqa: S606 - no shell is wanted
    except OSError as error:
        os.write(2, f"redis_stack: {command[0]}: {error.strerror}\n".encode())
    return 127


GUARD = os.getpid()
if __name__ == "__main__":
    if sys.argv[2] == "command":
        sys.exit(_tied(sys.argv[1], *sys.argv[3:]))
    _guard(*sys.argv[1:])
