"""Draw what `bench.py --json FILE` measured: `python scripts/plot.py FILE` writes docs/images/speed.svg.

A bar is a ratio of one interleaved run: how many times as many operations a second as bare redis-py. The picture has
the cases of `bench.py --only main`, whatever else was measured.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from _bench_cases import CASES

PICTURE = Path(__file__).resolve().parent.parent / "docs" / "images" / "speed.svg"
WIDTH, LEFT, RIGHT, BAR, GAP, TOP = 860, 150, 70, 11, 14, 46
COLORS = ("#8aa4d6", "#2a9d8f", "#3b6fd4", "#e0a03b", "#1f3f86")


def main() -> int:
    """Draw."""
    measured = json.loads(Path(sys.argv[1]).read_text("utf-8"))
    missing = {case.name for case in CASES} - {result["case"] for result in measured["results"]}
    if missing:
        print(f"{PICTURE.name} stays as it is: not measured were {', '.join(sorted(missing))}")
        return 0
    PICTURE.write_text(drawing(measured), "utf-8")
    print(PICTURE)
    return 0


def drawing(measured: dict[str, Any]) -> str:
    """Return the picture of a measurement."""
    main_cases = {case.name for case in CASES}
    cases: dict[str, list[tuple[int, float]]] = {}
    for result in (result for result in measured["results"] if result["case"] in main_cases):
        cases.setdefault(result["case"], []).append((result["tasks"], result["ratio"]))
    tasks = sorted({count for bars in cases.values() for count, _ in bars})
    longest = max(ratio for bars in cases.values() for _, ratio in bars)
    scale = (WIDTH - LEFT - RIGHT) / min(longest, 10)
    parts, y = [*_legend(tasks)], TOP
    for name, bars in cases.items():
        middle = y + len(bars) * BAR / 2 + 4
        parts.append(f'<text x="{LEFT - 10}" y="{middle:.0f}" text-anchor="end">{name}</text>')
        for count, ratio in sorted(bars):
            parts.append(_bar(y, ratio, scale, COLORS[tasks.index(count) % len(COLORS)]))
            y += BAR
        y += GAP
    one = LEFT + scale
    parts.append(f'<path d="M{one:.1f} {TOP - 8}V{y - GAP + 6}" stroke="#b42318" stroke-dasharray="4 3"/>')
    parts.append(f'<text x="{one:.1f}" y="{TOP - 12}" text-anchor="middle" fill="#b42318">bare redis-py</text>')
    style = "font: 12px system-ui, sans-serif; fill: #5b6472"
    body = "\n".join(parts)
    return f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {y}" style="{style}">\n{body}\n</svg>\n'


def _legend(tasks: list[int]) -> list[str]:
    parts = []
    for index, count in enumerate(tasks):
        x = LEFT + index * 110
        color = COLORS[index % len(COLORS)]
        parts.append(f'<rect x="{x}" y="6" width="11" height="11" fill="{color}"/>')
        parts.append(f'<text x="{x + 16}" y="16">{count} task{"s" if count > 1 else ""}</text>')
    return parts


def _bar(y: float, ratio: float, scale: float, color: str) -> str:
    width = min(ratio, 10) * scale
    more = "+" if ratio > 10 else ""  # noqa: PLR2004 - cut off, and said so
    return (
        f'<rect x="{LEFT}" y="{y}" width="{width:.1f}" height="{BAR - 1}" fill="{color}"/>'
        f'<text x="{LEFT + width + 6:.1f}" y="{y + BAR - 1.5}" font-size="10">{ratio:.2f}{more}</text>'
    )


if __name__ == "__main__":
    sys.exit(main())
