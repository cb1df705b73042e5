"""Check every Lua script: its header, its error codes, luacheck, and that a real server compiles it.

    python scripts/check_lua.py             all checks; exit code 1 with a line for each fault
    python scripts/check_lua.py --readme    write the table of scripts into the pages that show it

Rules
- The ERRORS of a script are the codes that can reach its answer: those in the functions its main body uses, and in
  what these use in turn. A function whose refusal is dropped, as in `(read(key, path)) or false`, does not count.
- The codes of all scripts and those that `rapyer._refused` maps are the same.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import redis

import rapyer
import redis_stack
from _lua_codes import reachable_codes
from rapyer._refused import ERRORS
from rapyer._registry import once_scripts, scripts, sources
from rapyer._script import ScriptSourceError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rapyer._script import Script

ROOT = Path(__file__).resolve().parent.parent
# The first is part of the package, wherever that is installed.
PAGES = (Path(rapyer.__file__).parent / "lua" / "README.md", ROOT / "docs" / "operations.md")
BEGIN, END = "<!-- scripts: written by scripts/check_lua.py --readme -->", "<!-- end of scripts -->"
LUACHECK = ("luacheck", "--std", "lua51", "--no-color", "--codes", "--no-max-line-length", "--no-config")
READ_GLOBALS = ("redis", "cjson", "cmsgpack", "bit", "KEYS", "ARGV")
#: Of what an include brings: it may be unused here, and have names of the function around it.
INCLUDED = re.compile(r"\(W[234]\d\d\)")
WARNING = re.compile(r"\s+stdin:(\d+):(\d+): (\([EW]\d+\) .*)")


def header_faults(script: Script) -> Iterator[str]:
    """Yield what is wrong with a header that has all its sections."""
    if not script.header.summary.endswith("."):
        yield "its summary does not end with a full stop"
    for section in ("keys", "argv", "returns"):
        if not getattr(script.header, section).strip():
            yield f"its section {section.upper()} is empty"


def code_faults(script: Script) -> Iterator[str]:
    """Yield where ERRORS and the composed source differ."""
    declared, found = set(script.header.errors), reachable_codes(script.source.decode())
    for code in sorted(found - declared):
        yield f"it can refuse with {code}, which ERRORS does not name"
    for code in sorted(declared - found):
        yield f"ERRORS names {code}, which it never refuses with"
    for code in sorted(declared - set(ERRORS)):
        yield f"rapyer/_refused.py does not know {code}"


def unknown_codes(all_scripts: Sequence[Script]) -> Iterator[str]:
    """Yield the codes that are mapped and never sent."""
    declared = {code for script in all_scripts for code in script.header.errors}
    for code in sorted(set(ERRORS) - declared):
        yield f"rapyer/_refused.py: no script refuses with {code}"


def luacheck_faults(script: Script, text: str) -> Iterator[str]:
    """Yield luacheck's warnings of a script with this text of its own, the lenient ones for no include's lines."""
    lines = script.source.decode().splitlines()
    own = set(text.splitlines())
    # Redis takes the shebang off before Lua sees the rest.
    body = "\n".join(["", *lines[1:], ""])
    command = [*LUACHECK, "--read-globals", *READ_GLOBALS, "--", "-"]
    done = subprocess.run(command, input=body, capture_output=True, text=True, check=False)
    for match in filter(None, map(WARNING.match, done.stdout.splitlines())):
        line = int(match[1])
        if lines[line - 1] in own or not INCLUDED.search(match[3]):
            yield f"luacheck: {match[3]} in `{lines[line - 1].strip()}`"


def unused_everywhere() -> Iterator[str]:
    """Yield the functions that no script uses: they are left out of what is sent, so luacheck does not see them."""
    composed = "\n".join(sources().values())
    for name, text in sources().items():
        for function in re.findall(r"^local function ([\w]+)", text, re.MULTILINE):
            if len(re.findall(rf"\b{function}\b", composed)) == 1:
                yield f"{name}.lua: nothing uses {function}"


def compile_faults(all_scripts: Sequence[Script]) -> Iterator[str]:
    """Yield what a real server does not compile, and SHAs that differ from its own."""
    with redis_stack.start() as stack, redis.Redis.from_url(stack.url) as client:
        for script in all_scripts:
            yield from (f"{script.name}: {fault}" for fault in _loading_faults(client, script))


def _loading_faults(client: redis.Redis, script: Script) -> Iterator[str]:
    try:
        sha = client.script_load(script.source)
    except redis.ResponseError as error:
        yield str(error)
        return
    if sha not in {script.sha, script.sha.encode()}:
        yield "the server computes another SHA"


def faults(*, with_luacheck: bool) -> Iterator[str]:
    """Yield every fault of every script as one line."""
    try:
        all_scripts = list(scripts().values())
    except ScriptSourceError as error:
        yield str(error)
        return
    for script in all_scripts:
        found = [*header_faults(script), *code_faults(script)]
        if with_luacheck:
            found += luacheck_faults(script, sources()[script.name.replace(".", "/")])
        yield from (f"{script.name}: {fault}" for fault in found)
    yield from unknown_codes(all_scripts)
    yield from unused_everywhere()
    yield from compile_faults([*all_scripts, *once_scripts().values()])


def table() -> str:
    """Return the table of scripts, in Markdown."""
    rows = ["| script | what it does | KEYS | ARGV | returns | errors |", "|---|---|---|---|---|---|"]
    for name, script in sorted(scripts().items()):
        header = script.header
        cells = (header.summary, header.keys, header.argv, header.returns, " ".join(header.errors) or "-")
        rows.append(f"| `{name}` | " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(rows)


def with_table(page: str) -> str:
    """Return a page's text with the present table between its markers."""
    head, _, rest = page.partition(BEGIN)
    _, _, tail = rest.partition(END)
    return f"{head}{BEGIN}\n\n{table()}\n\n{END}{tail}"


def write_pages() -> None:
    """Bring the table in every page up to date."""
    for page in PAGES:
        page.write_text(with_table(page.read_text("utf-8")), "utf-8")
        print(f"wrote {page}")


def main(words: Sequence[str]) -> int:
    """Run the command line and return its exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--readme", action="store_true", help="write the table of scripts into its pages")
    if parser.parse_args(words).readme:
        write_pages()
        return 0
    with_luacheck = shutil.which("luacheck") is not None
    if not with_luacheck:
        print("luacheck is not on PATH: its checks are left out.")
    found = list(faults(with_luacheck=with_luacheck))
    print("\n".join(found) if found else f"{len(scripts())} scripts are in order.")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
