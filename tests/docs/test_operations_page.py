"""The table of calls on the page about operations: each is made, and runs the scripts that stand beside it."""

from __future__ import annotations

import inspect
import re
import textwrap
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

import rapyer
from rapyer import AtomicRedisModel, types
from rapyer._registry import scripts

PAGE = (Path(__file__).parent.parent.parent / "docs" / "operations.md").read_text("utf-8")
CALLS = re.findall(r"^\|[^|]*\| `(a[^`]*)` \| (.*) \|$", PAGE, re.MULTILINE)
NAMES = r"`(\w+\.\w+)`"


class Inner(AtomicRedisModel):
    """A nested model."""

    city: str = "Paris"


class Doc(AtomicRedisModel):
    """A field of each type."""

    number: int = 1
    real: float = 0.5
    text: str = "a"
    moment: datetime = datetime(2026, 1, 2, tzinfo=timezone.utc)
    items: list[int] = [7]
    names: dict[str, int] = {"a": 7}
    marks: set[int] = {7}
    inner: Inner = Inner()


@pytest.mark.parametrize(("call", "told"), CALLS, ids=[call for call, _ in CALLS])
async def test_a_call_runs_the_scripts_beside_it(bound, call, told):
    """Those before the first semicolon, in this order, and no other."""
    doc = await Doc().save()
    seen = []
    stop = rapyer.observe(lambda event: seen.append(event.name))
    space = {"Doc": Doc, "doc": doc, "rapyer": rapyer, "timedelta": timedelta}
    exec(f"async def run():\n{textwrap.indent(call, '    ')}", space)  # noqa: S102 - our own docs
    try:
        await space["run"]()
    finally:
        stop()
    assert [name for name in seen if name in scripts()] == re.findall(NAMES, told.partition(";")[0])


def test_every_awaited_call_is_there():
    """Of models and of types; and every script is named."""
    calls = " ".join(call for call, _ in CALLS)
    methods = vars(AtomicRedisModel).items()
    offered = {f"{name}(" for name, made in methods if inspect.iscoroutinefunction(getattr(made, "__func__", made))}
    for kind in map(types.__dict__.get, types.__all__):
        own = (name for base in kind.__mro__ if base.__module__.startswith("rapyer.") for name in vars(base))
        offered |= {f"{name}(" for name in own if re.match(r"a[a-z]|increase|save|load", name)}
    offered -= {"add(", "append("}
    assert [name for name in sorted(offered) if f".{name}" not in calls] == []
    front = PAGE.partition("## The scripts")[0]
    assert set(scripts()) - set(re.findall(NAMES, front)) == set()
