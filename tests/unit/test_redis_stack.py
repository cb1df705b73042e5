"""scripts/redis_stack.py: a real server with one command, and nothing left behind."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
import traceback
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

import redis_stack
from rapyer.testing import _stack_fetch, _stack_private

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

REDIS_PORT = 6379
SCRIPTS = Path(redis_stack.__file__).resolve().parent
START_SECONDS = 2.0
GONE_SECONDS = 2.0
EXIT_CODE = 7
NOT_FOUND = 127

STARTER = """
import os, sys, time
sys.path.insert(0, {scripts!r})
import redis_stack
stack = redis_stack.start(private=True)
{more}
print(stack.port, stack.pid, flush=True)
time.sleep(60)
"""


def ask(port: int, *words: str, seconds: float = 5) -> Any:
    """Return the answer of the server on that port."""
    once = Retry(NoBackoff(), 0)
    with redis.Redis(port=port, decode_responses=True, socket_timeout=seconds, retry=once) as client:
        execute: Callable[..., Any] = client.execute_command
        return execute(*words)


def is_gone(pid: int) -> bool:
    """Tell whether the process has ended, waited for by its parent or not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2][1] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


def eventually(condition: Callable[[], bool]) -> bool:
    """Tell whether the condition holds within two seconds."""
    deadline = time.monotonic() + GONE_SECONDS
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def parent_of(pid: int) -> int:
    """Return the number of the process that started this one."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2]
    return int(fields.split()[1])


def folder_of(port: int) -> Path:
    """Return the folder where the server keeps its files."""
    return Path(ask(port, "CONFIG GET", "dir")["dir"])


def launch(more: str = "", **options: Any) -> subprocess.Popen[str]:
    """Return a process that started a server and tells port and pid in its first line."""
    code = STARTER.format(scripts=str(SCRIPTS), more=more)
    command = [sys.executable, "-c", code]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, **options)


def first_line(process: subprocess.Popen[str]) -> str:
    """Return the next line that the process prints."""
    assert process.stdout
    return process.stdout.readline().strip()


def run(*words: str, **options: Any) -> subprocess.Popen[str]:
    """Return the running command line."""
    command = [sys.executable, str(SCRIPTS / "redis_stack.py"), "run", "--private", *words]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, **options)


@pytest.fixture
def stack() -> Iterator[redis_stack.RedisStack]:
    """Give a private server."""
    with redis_stack.start(private=True) as server:
        yield server


# The server


def test_speaks_json(stack: redis_stack.RedisStack) -> None:
    """A server has RedisJSON, and its URL leads to it."""
    with redis.Redis.from_url(stack.url, decode_responses=True) as client:
        assert client.json().set("doc", "$", {"a": [1, 2]})
        assert client.json().get("doc", "$.a[1]") == [2]


def test_is_private(stack: redis_stack.RedisStack) -> None:
    """A server listens on 127.0.0.1 only, on a free port that is never Redis's usual one."""
    assert stack.kind == "private"
    assert (stack.host, stack.url) == ("127.0.0.1", f"redis://127.0.0.1:{stack.port}/0")
    assert ask(stack.port, "CONFIG GET", "bind")["bind"] == "127.0.0.1"
    assert REDIS_PORT not in _stack_private.PORTS


def test_keeps_nothing(stack: redis_stack.RedisStack) -> None:
    """A server that was not asked to writes no data file."""
    config = ask(stack.port, "CONFIG GET", "save", "appendonly")
    assert config == {"save": "", "appendonly": "no"}


def test_starts_fast() -> None:
    """Once its files are there, a server starts in less than two seconds."""
    redis_stack.binaries()
    began = time.monotonic()
    with redis_stack.start(private=True):
        assert time.monotonic() - began < START_SECONDS


def test_starts_many_at_once() -> None:
    """Servers started at the same time get ports of their own."""
    with ThreadPoolExecutor(8) as threads:
        stacks = list(threads.map(lambda _: redis_stack.start(private=True), range(8)))
    try:
        assert len({stack.port for stack in stacks}) == len(stacks)
        assert {ask(s.port, "INFO", "server")["process_id"] for s in stacks} == {s.pid for s in stacks}
    finally:
        for stack in stacks:
            stack.stop()


def test_tries_another_port(stack: redis_stack.RedisStack, monkeypatch: pytest.MonkeyPatch) -> None:
    """When another process took the port in between, the server starts on another one."""
    ports = iter([stack.port, stack.port, redis_stack.free_port()])
    monkeypatch.setattr(_stack_private, "free_port", lambda: next(ports))
    with redis_stack.start(private=True) as other:
        assert other.port != stack.port
        assert ask(other.port, "INFO", "server")["process_id"] == other.pid


def test_without_modules() -> None:
    """modules=False gives the same server without RedisJSON."""
    with redis_stack.start(modules=False) as bare:
        assert ask(bare.port, "INFO", "server")["redis_version"] == _stack_fetch.VERSION
        with pytest.raises(redis.ResponseError, match="unknown command"):
            ask(bare.port, "JSON.SET", "doc", "$", "1")


def test_takes_options(tmp_path: Path) -> None:
    """Options given by the caller reach redis-server and win over the defaults."""
    place = str(tmp_path / "redis.sock")
    with (
        redis_stack.start(args=["--unixsocket", place, "--save", "60", "1"]) as stack,
        redis.Redis(unix_socket_path=place) as client,
    ):
        assert client.ping()
        assert ask(stack.port, "CONFIG GET", "save")["save"] == "60 1"


def test_tells_why_it_does_not_start() -> None:
    """A server that refuses to start is an error with the server's own words."""
    with pytest.raises(redis_stack.StackError, match="Bad directive"):
        redis_stack.start(args=["--no-such-option", "1"])


# Its life


def test_comes_back_empty_on_the_same_port(stack: redis_stack.RedisStack) -> None:
    """A killed server comes back on its port, and what it held is lost."""
    first = stack.pid
    ask(stack.port, "SET", "key", "value")
    stack.kill()
    assert stack.pid is None
    with pytest.raises(redis.ConnectionError):
        ask(stack.port, "PING")
    stack.restart()
    assert stack.pid != first
    assert ask(stack.port, "DBSIZE") == 0


def test_restarts_while_it_runs(stack: redis_stack.RedisStack) -> None:
    """A restart of a running server replaces it, and has waited for the new one."""
    for _ in range(5):
        stack.restart()
        assert ask(stack.port, "INFO", "server")["process_id"] == stack.pid


def test_keeps_data_in_a_directory(tmp_path: Path) -> None:
    """With a directory, what was acknowledged survives kill, stop and the server itself."""
    place = tmp_path / "data"
    with redis_stack.start(directory=place) as stack:
        ask(stack.port, "SET", "key", "value")
        stack.kill()
        stack.restart()
        assert ask(stack.port, "GET", "key") == "value"
    with redis_stack.start(directory=place) as stack:
        assert ask(stack.port, "GET", "key") == "value"


def test_pauses(stack: redis_stack.RedisStack) -> None:
    """A paused server accepts connections and answers nothing until it is resumed."""
    stack.pause()
    with pytest.raises(redis.TimeoutError):
        ask(stack.port, "PING", seconds=0.1)
    stack.resume()
    assert ask(stack.port, "PING") is True


def test_stops_when_paused(stack: redis_stack.RedisStack) -> None:
    """A paused server can be stopped."""
    pid = stack.pid or 0
    stack.pause()
    stack.stop()
    assert is_gone(pid)


def test_stop_leaves_nothing(stack: redis_stack.RedisStack) -> None:
    """After stop, which may be called twice, server, guard and folder are gone."""
    pid = stack.pid or 0
    guard, folder = parent_of(pid), folder_of(stack.port)
    assert folder.is_dir()
    stack.stop()
    stack.stop()
    assert is_gone(pid)
    assert is_gone(guard)
    assert not folder.exists()


def test_lives_again_after_stop(stack: redis_stack.RedisStack) -> None:
    """A stopped server can be started again on its port, and until then is told apart."""
    stack.stop()
    assert "stopped" in repr(stack)
    with pytest.raises(redis_stack.StackError, match=r"restart\(\)"):
        stack.kill()
    stack.restart()
    assert f"pid {stack.pid}" in repr(stack)
    assert ask(stack.port, "PING") is True


# Its end


def test_ends_with_a_killed_starter() -> None:
    """SIGKILL of the starter ends server and guard within two seconds and removes the folder."""
    with launch() as starter:
        port, pid = map(int, first_line(starter).split())
        guard, folder = parent_of(pid), folder_of(port)
        starter.kill()
    assert eventually(lambda: is_gone(pid) and is_gone(guard) and not folder.exists())


def test_ends_though_a_child_of_the_starter_lives() -> None:
    """A process forked by the starter, which holds every pipe, does not keep the server alive."""
    fork = "child = os.fork()\nif not child:\n    time.sleep(60)\nprint(child, flush=True)"
    with launch(fork) as starter:
        child = int(first_line(starter))
        pid = int(first_line(starter).split()[1])
        starter.kill()
        try:
            assert eventually(lambda: is_gone(pid))
        finally:
            os.kill(child, signal.SIGKILL)


def test_ends_with_a_killed_guard(stack: redis_stack.RedisStack) -> None:
    """SIGKILL of the guard ends the server too, and stop still removes the folder."""
    pid, folder = stack.pid or 0, folder_of(stack.port)
    os.kill(parent_of(pid), signal.SIGKILL)
    assert eventually(lambda: is_gone(pid))
    stack.stop()
    assert not folder.exists()


def test_guard_cleans_up_on_sigterm(stack: redis_stack.RedisStack) -> None:
    """SIGTERM of the guard ends the server and removes the folder."""
    pid, folder = stack.pid or 0, folder_of(stack.port)
    os.kill(parent_of(pid), signal.SIGTERM)
    assert eventually(lambda: is_gone(pid) and not folder.exists())


def test_ctrl_c_leaves_nothing() -> None:
    """Ctrl-C, which reaches the whole group, ends `run` with its server, guard and folder."""
    with run(stderr=subprocess.DEVNULL, start_new_session=True) as starter:
        port = int(first_line(starter).rpartition(":")[2].partition("/")[0])
        pid, folder = ask(port, "INFO", "server")["process_id"], folder_of(port)
        os.killpg(starter.pid, signal.SIGINT)
        assert starter.wait() == 0
    assert is_gone(pid)
    assert not folder.exists()


def shell(line: str) -> subprocess.Popen[str]:
    """Return a shell that starts `run` with these words and waits for it; the first line tells the number of `run`."""
    script = f"{sys.executable} {SCRIPTS}/redis_stack.py run --private {line} & echo $!; wait"
    return subprocess.Popen(["sh", "-c", script], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)


def test_run_ends_with_its_starter() -> None:
    """SIGKILL of the shell that started `run` ends `run` with its server."""
    with shell("") as starter:
        held = int(first_line(starter))
        port = int(first_line(starter).rpartition(":")[2].partition("/")[0])
        server = ask(port, "INFO", "server")["process_id"]
        starter.kill()
        assert eventually(lambda: is_gone(held) and is_gone(server))


def test_command_ends_with_run() -> None:
    """SIGKILL of `run` ends its command, too; what a signal and Ctrl-C do to the command stays its own business."""
    with shell("-- sh -c 'echo $$; exec sleep 60'") as starter:
        run, command = int(first_line(starter)), int(first_line(starter))
        os.kill(run, signal.SIGKILL)
        assert eventually(lambda: is_gone(command))
    with shell("-- sh -c 'echo $$; exec sleep 60'") as starter:
        run, command = int(first_line(starter)), int(first_line(starter))
        os.kill(command, signal.SIGTERM)
        assert eventually(lambda: is_gone(run) and is_gone(command))


# The command line


def test_runs_a_command() -> None:
    """`run -- COMMAND` gives the command RAPYER_URL and nothing else, and ends with its code."""
    code = "import os; print(os.environ['RAPYER_URL'], os.environ.get('RAPYER_TEST_URL'));"
    code += f"exit({EXIT_CODE})"
    env = {name: value for name, value in os.environ.items() if name != "RAPYER_TEST_URL"}
    with run("--", sys.executable, "-c", code, stderr=subprocess.PIPE, env=env) as process:
        output, told = process.communicate()
    assert process.returncode == EXIT_CODE
    assert output.startswith("redis://127.0.0.1:")
    assert output.endswith(" None\n")
    assert "Redis Stack is up" in told


def test_tells_an_unknown_command(capfd: pytest.CaptureFixture[str]) -> None:
    """A command that does not exist is told as a shell does: code 127."""
    assert redis_stack.main(["run", "--private", "--", "/no/such/program"]) == NOT_FOUND
    assert "/no/such/program" in capfd.readouterr().err


# RAPYER_TEST_URL


def test_uses_the_given_url(stack: redis_stack.RedisStack, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server named by RAPYER_TEST_URL is used as it is, and is not ours to stop or kill."""
    monkeypatch.setenv("RAPYER_TEST_URL", f"{stack.url[:-1]}5")
    with redis_stack.start() as given:
        assert (given.kind, given.url, given.pid) == ("url", f"{stack.url[:-1]}5", None)
        assert (given.host, given.port) == (stack.host, stack.port)
        for step in (given.kill, given.restart, given.pause, given.resume):
            with pytest.raises(redis_stack.StackError, match="private=True"):
                step()
    assert ask(stack.port, "PING") is True


def test_refuses_a_url_with_data(stack: redis_stack.RedisStack, monkeypatch: pytest.MonkeyPatch) -> None:
    """A database that holds keys is refused, because tests would flush it."""
    ask(stack.port, "SET", "precious", "1")
    monkeypatch.setenv("RAPYER_TEST_URL", stack.url)
    with pytest.raises(redis_stack.StackError, match="holds 1 keys"):
        redis_stack.start()


def test_logs_in_with_the_url(monkeypatch: pytest.MonkeyPatch) -> None:
    """The URL's password is used, and never shown when it is wrong."""
    with redis_stack.start(args=["--requirepass", "open sesame"]) as stack:
        monkeypatch.setenv("RAPYER_TEST_URL", f"redis://:open%20sesame@127.0.0.1:{stack.port}")
        assert redis_stack.start().kind == "url"
        monkeypatch.setenv("RAPYER_TEST_URL", f"redis://:secret@127.0.0.1:{stack.port}")
        with pytest.raises(redis_stack.StackError, match="WRONGPASS") as caught:
            redis_stack.start()
    assert "secret" not in str(caught.value)


def test_refuses_a_dead_url(monkeypatch: pytest.MonkeyPatch) -> None:
    """A URL where nobody answers is an error that names it."""
    monkeypatch.setenv("RAPYER_TEST_URL", f"redis://127.0.0.1:{redis_stack.free_port()}/0")
    with pytest.raises(redis_stack.StackError, match="does not answer"):
        redis_stack.start()


@pytest.mark.parametrize("mark", "/?#")
def test_shows_no_password_that_is_not_quoted(monkeypatch: pytest.MonkeyPatch, mark: str) -> None:
    """What a special character leaves of the password is shown neither by the error nor by its cause."""
    monkeypatch.setenv("RAPYER_TEST_URL", f"redis://:hush{mark}sesame@127.0.0.1:1")
    with pytest.raises(redis_stack.StackError, match="quote") as caught:
        redis_stack.start()
    text = "".join(traceback.format_exception(None, caught.value, None))
    assert "hush" not in text
    assert "sesame" not in text


def test_private_is_never_the_url(monkeypatch: pytest.MonkeyPatch) -> None:
    """private=True gives a server of one's own whatever the environment says."""
    monkeypatch.setenv("RAPYER_TEST_URL", "redis://127.0.0.1:1/0")
    with redis_stack.start(private=True) as stack:
        assert stack.kind == "private"


@pytest.fixture
def encrypted(tmp_path: Path) -> Iterator[str]:
    """Give the URL of a server that speaks TLS only, with a certificate nobody knows, and wants one of its clients."""
    if not shutil.which("openssl"):
        pytest.skip("openssl, which makes the certificate, is not on PATH")
    key, certificate, port = tmp_path / "key.pem", tmp_path / "cert.pem", redis_stack.free_port()
    request = "openssl req -x509 -newkey rsa:2048 -nodes -days 1 -subj /CN=rapyer -addext subjectAltName=IP:127.0.0.1"
    subprocess.run([*request.split(), "-keyout", key, "-out", certificate], check=True, capture_output=True)
    files = ["--tls-cert-file", str(certificate), "--tls-key-file", str(key), "--tls-ca-cert-file", str(certificate)]
    with redis_stack.start(args=["--tls-port", str(port), *files]):
        yield f"rediss://127.0.0.1:{port}/0?ssl_certfile={certificate}&ssl_keyfile={key}"


def test_speaks_tls(encrypted: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A `rediss://` URL is checked with the certificates it names, as redis-py uses them."""
    url = f"{encrypted}&ssl_ca_certs={tmp_path / 'cert.pem'}"
    monkeypatch.setenv("RAPYER_TEST_URL", url)
    stack = redis_stack.start()
    with redis.Redis.from_url(stack.url) as client:
        assert client.json().set("doc", "$", [1])
    with pytest.raises(redis_stack.StackError, match="holds 1 keys"):
        redis_stack.start()


@pytest.mark.parametrize(
    ("host", "options", "trusted"),
    [
        ("127.0.0.1", "", "no"),
        ("127.0.0.1", "&ssl_cert_reqs=none", "yes"),
        ("localhost", "&ssl_ca_certs={folder}/cert.pem", "no"),
        ("localhost", "&ssl_ca_certs={folder}/cert.pem&ssl_check_hostname=False", "yes"),
    ],
)
def test_trusts_as_the_url_says(
    encrypted: str, host: str, options: str, trusted: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A certificate that is not known, or made for another host, is refused unless the URL says otherwise."""
    monkeypatch.setenv("RAPYER_TEST_URL", encrypted.replace("127.0.0.1", host) + options.format(folder=tmp_path))
    if trusted == "yes":
        assert redis_stack.start().kind == "url"
        return
    with pytest.raises(redis_stack.StackError, match="CERTIFICATE_VERIFY_FAILED"):
        redis_stack.start()


# Docker, played by a program that keeps a diary and starts the private server


DOCKER = """#!/bin/sh
echo "$*" >> {diary}
case "$*" in
  *" up --detach") {server} --port $RAPYER_REDIS_PORT --bind 127.0.0.1 --daemonize yes \
    --save "" --pidfile {pidfile} ;;
  *" kill" | *" down "*)
    if test -e {pidfile}; then
      pid=$(cat {pidfile}); kill -9 $pid; rm -f {pidfile}
      for _ in $(seq 500); do kill -0 $pid 2>/dev/null || break; sleep 0.01; done # its port is free then
    fi ;;
esac
"""


@pytest.fixture
def diary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Put a `docker` on the path that writes down what it is asked for."""
    words = {"diary": tmp_path / "diary", "pidfile": tmp_path / "pid"}
    server = redis_stack.binaries() / "redis-server"
    program = tmp_path / "bin" / "docker"
    program.parent.mkdir()
    program.write_text(DOCKER.format(server=server, **words), encoding="utf-8")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent), prepend=os.pathsep)
    monkeypatch.delenv("RAPYER_TEST_URL", raising=False)
    monkeypatch.delenv("DOCKER_HOST", raising=False)
    redis_stack.compose.cache_clear()
    yield tmp_path / "diary"
    subprocess.run([program, "a", "down", "b"], check=True)  # where a failed test did not
    redis_stack.compose.cache_clear()


def test_prefers_docker(diary: Path) -> None:
    """Where an engine answers, the server is a compose project of its own, removed at the end."""
    with redis_stack.start() as stack:
        assert (stack.kind, stack.pid) == ("docker", None)
        ask(stack.port, "SET", "key", "value")
        stack.restart()
        assert ask(stack.port, "DBSIZE") == 0
    lines = diary.read_text(encoding="utf-8").splitlines()
    steps = [line.split("docker-compose.yml ")[1] for line in lines if "--project-name" in line]
    assert steps == [
        "up --detach",
        "kill",
        "up --detach",
        "down --volumes --remove-orphans --timeout 0",
    ]


def test_private_is_never_docker(diary: Path) -> None:
    """A server that may be killed comes from PyPI though an engine answers."""
    with redis_stack.start(private=True) as stack:
        assert stack.kind == "private"
    assert not diary.exists()
