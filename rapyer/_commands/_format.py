"""Text for a terminal: tables, by `rich` where that is installed, and names that move no cursor."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

#: Word at the start of a line -> how `rich` shows it.
STYLES = {"ok": "green", "note": "cyan", "warning": "yellow", "DANGER": "bold red"}


def shown(text: str) -> str:
    """Return a text of any number of lines without characters that a terminal would obey."""
    return "".join(char if char.isprintable() or char == "\n" else _escaped(char) for char in text)


def _escaped(char: str) -> str:
    return char.encode("unicode_escape").decode()


def table(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return rows under titles: aligned text, or a drawn table where a person looks and `rich` is installed."""
    cells = [[shown(cell).replace("\n", "\\n") for cell in row] for row in rows]
    if sys.stdout.isatty() and find_spec("rich"):
        return _drawn(titles, cells)
    widths = [max(map(len, column)) for column in zip(titles, *cells, strict=True)]
    lines = ("  ".join(map(str.ljust, row, widths)).rstrip() for row in (titles, *cells))
    return "\n".join(lines) + "\n"


def _drawn(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    from rich.console import Console  # noqa: PLC0415 - not required
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    drawing = Table(show_edge=False)
    for title in titles:
        drawing.add_column(title, overflow="fold")
    for row in rows:
        drawing.add_row(*(Text(cell, style=STYLES.get(cell, "")) for cell in row))
    console = Console()
    with console.capture() as capture:
        console.print(drawing)
    return capture.get()


__all__ = ["shown", "table"]
