"""Runs the Python blocks of a page of the docs, one after another, as a person would type them.

    page_runner.py PAGE URL

What a block prints is what its comments promise: `print(x)  # 3`; `…` in a promise stands for any text.
Where a callback prints, each line stands in a comment.
"""

from __future__ import annotations

import ast
import asyncio
import contextlib
import inspect
import io
import re
import sys
import types
from pathlib import Path

BLOCK = re.compile(r"^```python[^\n]*\n(.*?)^```", re.DOTALL | re.MULTILINE)
OWN_PROGRAM = re.compile(r"asyncio\.run\(|title=")
PROMISE = re.compile(r"^\s*print\(.*\)\s+# (.*)$")


def blocks(page: Path) -> list[tuple[int, str]]:
    """Return line numbers and sources of the blocks that are typed one after another."""
    text = page.read_text("utf-8")
    typed = (match for match in BLOCK.finditer(text) if not OWN_PROGRAM.search(match[0]))
    return [(text.count("\n", 0, match.start(1)), match[1]) for match in typed]


async def run(page: Path, url: str) -> None:
    """Run a page."""
    module = types.ModuleType("page")
    sys.modules["page"] = module
    for line, source in blocks(page):
        promised = [match[1] for text in source.splitlines() if (match := PROMISE.match(text))]
        # The line numbers of an error are the page's.
        padded = "\n" * line + source.replace("redis://localhost:6379", url)
        code = compile(padded, str(page), "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            result = eval(code, module.__dict__)  # noqa: S307 - our own docs
            if inspect.isawaitable(result):
                await result
        compare(page, line, promised, printed.getvalue().splitlines())
    import rapyer  # noqa: PLC0415 - a page may be about importing it

    await rapyer.teardown_rapyer()


def compare(page: Path, line: int, promised: list[str], printed: list[str]) -> None:
    """Hold the promises against what was printed; nothing is printed that is not told."""
    place = f"{page.name}:{line}"
    if promised:
        assert len(promised) == len(printed), f"{place}: promised {promised}, printed {printed}"
        for promise, text in zip(promised, printed, strict=True):
            pattern = ".*".join(map(re.escape, promise.split("…")))
            assert re.fullmatch(pattern, text), f"{place}: promised {promise!r}, printed {text!r}"
    elif printed:
        # Printed by a callback: each line stands in a comment of the block.
        source = page.read_text("utf-8")
        for text in printed:
            assert f"# {text}" in source, f"{place}: {text!r} is printed and not told"


if __name__ == "__main__":
    asyncio.run(run(Path(sys.argv[1]), sys.argv[2]))
