"""The documentation does what it says: every block of code on every page is run against a real server."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from page_runner import BLOCK, OWN_PROGRAM, PROMISE, blocks

import rapyer
from rapyer import errors, testing, types
from rapyer._commands._examine import CHECKS
from rapyer._commands.locks import TITLES
from rapyer._registry import scripts

ROOT = Path(__file__).parent.parent.parent
DOCS = ROOT / "docs"
PAGES = sorted(path for path in DOCS.glob("*.md"))
#: What people read besides.
TEXTS = [*PAGES, *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md"))]
#: What a block may be: run by the tests below, or nothing to run.
LANGUAGES = {"python", "sh", "text"}
RUNNER = Path(__file__).with_name("page_runner.py")
SHELL = re.compile(r"^```sh\n(.*?)^```", re.DOTALL | re.MULTILINE)
SHOWN = re.compile(r"^```text\n(.*?)^```", re.DOTALL | re.MULTILINE)
NAMES = [page.name for page in PAGES]


def _run(*words, **env):
    shell = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "RAPYER_TEST"))}
    return subprocess.run(
        [sys.executable, "-W", "error", *words], capture_output=True, text=True, check=False, env={**shell, **env}
    )


@pytest.mark.parametrize("page", [page for page in TEXTS if blocks(page)], ids=lambda page: page.name)
async def test_the_blocks_of_a_page_run(page, client, stack):
    """One after another, on an empty server; they print what their comments promise."""
    done = _run(str(RUNNER), str(page), stack.url)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""


async def test_programs_of_their_own(client, stack, tmp_path):
    """A block with `asyncio.run` is a whole program, one called `test_...` a suite of pytest."""
    seen = []
    for page in TEXTS:
        for match in BLOCK.finditer(page.read_text("utf-8")):
            title = re.search(r'title="([^"]*)"', match[0])
            if title and title[1].startswith("test_"):
                (tmp_path / title[1]).write_text(match[1], "utf-8")
                ini = tmp_path / "pytest.ini"
                ini.write_text("[pytest]\nasyncio_default_fixture_loop_scope = function\n", "utf-8")
                done = _run("-m", "pytest", "-q", "-p", "no:cacheprovider", "-c", str(ini), str(tmp_path))
                assert done.returncode == 0, done.stdout + done.stderr
            elif "asyncio.run(" in match[0]:
                done = _run("-c", match[1].replace("redis://localhost:6379", stack.url))
                promised = [found[1] for line in match[1].splitlines() if (found := PROMISE.match(line))]
                assert (done.stderr, done.stdout.splitlines()) == ("", promised)
            elif OWN_PROGRAM.search(match[0]):
                assert "--8<--" in match[1], page.name  # a part of a file that has tests
            else:
                continue
            seen.append(page.name)
    assert {"README.md", "index.md", "testing.md", "ticket-shop.md"} <= set(seen)


@pytest.mark.parametrize("page", TEXTS, ids=lambda page: page.name)
def test_no_block_is_left_out(page):
    """Code stands between fences, never just indented, and each fence says what it is in one of the known words."""
    inside, before = False, ""
    for number, line in enumerate(page.read_text("utf-8").splitlines(), 1):
        if fence := re.match(r" *(```+|~~~+)(\w*)", line):
            assert inside or fence[2] in LANGUAGES, f"{page.name}:{number}: nobody runs {line!r}"
            inside = not inside
        elif not inside and not before.strip():
            assert not line.startswith(("    ", "\t")), f"{page.name}:{number}: put {line.strip()!r} between fences"
        before = line


def test_what_commands_print():
    """The examples of the command line have the titles, subjects and numbers of today."""
    page = (DOCS / "commands.md").read_text("utf-8")
    looked_at, locks = (block.splitlines() for block in SHOWN.findall(page))
    subjects = {line.split()[1] for line in looked_at[1 : looked_at.index("")]}
    assert subjects == {check.__name__.strip("_").replace("cache", "scripts") for check in CHECKS} - {"cluster"}
    assert f"{len(scripts())} of {len(scripts())} scripts are loaded" in page
    assert tuple(re.split(r" {2,}", locks[0])) == TITLES


def test_every_error_is_explained():
    """Each name of `rapyer.errors` is on the page about errors."""
    page = (DOCS / "errors.md").read_text("utf-8")
    assert [name for name in errors.__all__ if f"`{name}`" not in page and f".{name}`" not in page] == []


def test_every_public_name_is_in_the_reference():
    """Those of the package, its types and its servers for tests; the pages of fields and errors take all names."""
    page = (DOCS / "reference.md").read_text("utf-8")
    named = set(re.findall(r"^::: (\S+)$", page, re.MULTILINE))
    for module in (rapyer, types, testing):
        assert {f"{module.__name__}.{name}" for name in module.__all__} - {"rapyer.__version__"} <= named
    assert {"rapyer.errors", "rapyer.fields", "rapyer.otel.instrument"} <= named


def test_commands_run(stack, bound_document):
    """`python -m rapyer` commands run as they stand there; make targets and extras exist."""
    makefile, project = (ROOT / "Makefile").read_text("utf-8"), (ROOT / "pyproject.toml").read_text("utf-8")
    ran = 0
    for page in TEXTS:
        lines = [line for block in SHELL.findall(page.read_text("utf-8")) for line in block.splitlines()]
        for words in (shlex.split(line, comments=True) for line in lines):
            ran += 1
            if words[:3] == ["python", "-m", "rapyer"]:
                real = [word.replace("redis://localhost:6379", stack.url) for word in words[1:]]
                done = _run(*[bound_document if word == "User:42" else word for word in real])
                assert done.stderr == "", words
                assert done.returncode in ({0, 1} if "doctor" in words else {0})
            elif words[0] == "make":
                assert re.search(rf"^{words[1]}:", makefile, re.MULTILINE), words
            else:
                assert words[:2] == ["pip", "install"], words
                assert re.search(rf"^{words[2].partition('[')[2].rstrip(']')} = ", project, re.MULTILINE), words
    assert ran > 5


@pytest.fixture
async def bound_document(client):
    """The key of a document that is there."""
    await client.json().set("User:42", "$", {"name": "Ada"})
    return "User:42"


def test_every_page_is_in_the_navigation():
    """And all that the navigation names is there; the strict build of `make docs` checks links."""
    named = re.findall(r": (\S+\.md)$", (ROOT / "mkdocs.yml").read_text("utf-8"), re.MULTILINE)
    assert sorted(named) == NAMES
