"""What `bench.py` prints: where it ran, how, and its tables."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import rapyer

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from _bench_sides import Case

PACKAGES = ("redis", "hiredis", "pydantic", "pydantic_core", "msgspec", "redis-om", "coredis", "valkey-glide")
METHOD = (
    "both sides in one process, taking turns in up to 20 short slices of each round; the server is their own, on the "
    "same machine, and emptied before each round. In a round each side does as many operations as take it about "
    "{seconds:g} s, shared by the tasks. Operations a second are medians of {rounds} rounds, the ratio is the median "
    "of the rounds' ratios. Garbage collections leave alone what was there before a round. One "
    "block, one lock or one hundred copies count as one operation."
)


async def circumstances(client: Any, *, rounds: int, seconds: float) -> dict[str, str]:
    """Return what a reader must know to judge the numbers."""
    server = await client.info("server")
    packages = [f"{name} {found}" for name in PACKAGES if (found := _version(name))]
    return {
        "host": f"{_cpu()}, {os.cpu_count()} cores, {platform.system()} {platform.release()}",
        "load": f"{os.getloadavg()[0]:.1f} runnable processes on average in the minute before",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "packages": ", ".join([f"rapyer {rapyer.__version__}", *packages]),
        "server": f"Redis {server['redis_version']}, {await _modules(client)}",
        "method": METHOD.format(rounds=rounds, seconds=seconds),
    }


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


async def _modules(client: Any) -> str:
    # As flat lists from servers that speak RESP2, as dicts from others; bytes or text.
    listed = [_as_dict(entry) for entry in await client.execute_command("MODULE", "LIST")]
    return ", ".join(sorted(f"{entry['name']} {_dotted(int(entry['ver']))}" for entry in listed)) or "no modules"


def _as_dict(entry: Any) -> dict[str, str]:
    flat = [part for pair in entry.items() for part in pair] if isinstance(entry, dict) else entry
    words = [word.decode() if isinstance(word, bytes) else str(word) for word in flat]
    return dict(zip(words[::2], words[1::2], strict=False))


def _dotted(number: int) -> str:
    return f"{number // 10_000}.{number // 100 % 100}.{number % 100}"


def ratios(results: Iterable[Mapping[str, Any]]) -> str:
    """Return the table of both sides."""
    rows = [["case", "tasks", "bare redis-py ops/s", "rapyer ops/s", "ratio", "required", ""]]
    for found in results:
        required = found["required"]
        rows.append(
            [
                found["case"],
                str(found["tasks"]),
                f"{found['bare']:,.0f}",
                f"{found['rapyer']:,.0f}",
                f"{found['ratio']:.2f}",
                "" if required is None else f">= {required:g}",
                verdict(found["ok"]),
            ]
        )
    return table(rows)


def latencies(results: Iterable[Mapping[str, Any]]) -> str:
    """Return the table of how long single calls take."""
    rows = [["latency", "tasks", "", "bare redis-py us", "rapyer us", "ratio", "required", ""]]
    for found in results:
        numbers = (f"{found['bare']:,.0f}", f"{found['rapyer']:,.0f}", f"{found['ratio']:.2f}")
        required = "" if found["required"] is None else f"<= {found['required']:g}"
        percent = f"p{found['percent']}"
        rows.append([found["case"], str(found["tasks"]), percent, *numbers, required, verdict(found["ok"])])
    return table(rows)


def peers(results: Sequence[Mapping[str, Any]]) -> str:
    """Return the table of other libraries: operations a second, and how many times as many rapyer does."""
    names = list(results[0]["ratios"]) if results else []
    rows = [
        [
            "peers: ops/s (rapyer has)",
            "tasks",
            "rapyer",
            *("bare redis-py" if name == "bare" else name for name in names),
        ]
    ]
    for found in results:
        cells = (f"{found['speeds'][name]:,.0f} ({found['ratios'][name]:.2f}x)" for name in names)
        rows.append([found["case"], str(found["tasks"]), f"{found['speeds']['rapyer']:,.0f}", *cells])
    return table(rows)


def costs(results: Iterable[Mapping[str, Any]]) -> str:
    """Return the table of what a model costs without Redis."""
    rows = [["model of 6 fields", "Pydantic us", "rapyer us", "required", ""]]
    for found in results:
        limit = found["required"]
        required = "" if limit is None else f"<= {limit:g}"
        rows.append(
            [
                found["case"],
                f"{found['bare']:.2f}",
                f"{found['rapyer']:.2f}",
                required,
                verdict(found["ok"]),
            ]
        )
    return table(rows)


def imports(results: Iterable[Mapping[str, Any]]) -> str:
    """Return the table of what importing costs."""
    rows = [["imports: rapyer | without it", "without, CPU ms", "rapyer, CPU ms", "ratio", "required", ""]]
    for found in results:
        numbers = (f"{found['bare']:.0f}", f"{found['rapyer']:.0f}", f"{found['ratio']:.2f}")
        required = "" if found["required"] is None else f"<= {found['required']:g}"
        rows.append([found["case"], *numbers, required, verdict(found["ok"])])
    return table(rows)


def locks(results: Iterable[Mapping[str, Any]]) -> str:
    """Return the table of locks that many want, or that are many."""
    rows = [["locks", "unit", "bare redis-py", "rapyer", "ratio", "required", ""]]
    for found in results:
        numbers = ("" if found[name] is None else f"{found[name]:,.1f}" for name in ("bare", "rapyer", "ratio"))
        rows.append([found["case"], found["unit"], *numbers, found["required"], verdict(found["ok"])])
    return table(rows)


def verdict(ok: bool | None) -> str:  # noqa: FBT001 - a value that is shown
    """Return `ok` for a requirement that is met, a dash for one that is not, nothing where there is none."""
    return "" if ok is None else "ok" if ok else "—"


def server(results: Iterable[Mapping[str, Any]]) -> str:
    """Return the table of what each script costs the server."""
    rows = [["script", "us a call on the server"]]
    rows += [[found["script"], f"{found['microseconds']:.2f}"] for found in results]
    return table(rows)


def legend(cases: Iterable[Case]) -> str:
    """Tell what the cases are, from the sides' own words."""
    chosen = list({case.name: case for case in cases}.values())
    width = max((len(case.name) for case in chosen), default=0)
    return "\n".join(
        f"  {case.name.ljust(width)}  {_words(case.rapyer)} against {_words(case.bare)}; documents: "
        f"{case.bare.documents}"
        for case in chosen
    )


def _words(side: type[Any]) -> str:
    own = (side.__doc__ or "").strip().splitlines()[0].rstrip(".")
    # A side that only shares its document says so; what it does is in the class it comes from.
    return _words(side.__bases__[0]) if own.startswith("The same") else own


def table(rows: Sequence[Sequence[str]]) -> str:
    """Return rows as aligned text: the first column to the left, the others to the right; nothing for no rows."""
    if len(rows) == 1:
        return ""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        cells = [row[0].ljust(widths[0])]
        cells += [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
        lines.append("  ".join(cells).rstrip())
    lines.insert(1, "  ".join("-" * width for width in widths))
    return "\n".join(lines)
