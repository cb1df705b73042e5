"""Cases of `bench.py`: blocks of 3, 30 and 300 changes of one document, beside MULTI with the same commands.

Changes of one field add up before rapyer sends them, so there is a block of 300 places as well, where none do.
"""

from __future__ import annotations

import json
from typing import ClassVar

import rapyer
from _bench_sides import Bare, Case, Ours

PLACES = 300


class BareBlock(Bare):
    """MULTI with the same commands."""

    size: ClassVar[int] = 3

    async def once(self, task: int, number: int) -> None:
        """Change three fields, again and again, in one transaction."""
        key = self.key(task)
        async with self.client.pipeline(transaction=True) as pipe:
            for index in range(self.size // 3):
                pipe.execute_command("JSON.NUMINCRBY", key, "$.score", "1")
                pipe.execute_command("JSON.SET", key, "$.settings.theme", json.dumps("dark"))
                pipe.execute_command("JSON.SET", key, "$.age", json.dumps(number + index))
            await pipe.execute()


class OurBlock(Ours):
    """`rapyer.pipeline()`."""

    size: ClassVar[int] = 3

    async def once(self, task: int, number: int) -> None:
        """Change three fields, again and again, in one block."""
        model = self.models[task]
        async with rapyer.pipeline():
            for index in range(self.size // 3):
                model.score += 1
                model.settings["theme"] = "dark"
                model.age = number + index


class BarePlaces(Bare):
    """MULTI with the same 300 commands."""

    async def once(self, task: int, number: int) -> None:
        """Set each entry of a dict in one transaction."""
        key = self.key(task)
        async with self.client.pipeline(transaction=True) as pipe:
            for index in range(PLACES):
                pipe.execute_command("JSON.SET", key, f"$.settings.entry{index}", json.dumps(f"value {number}"))
            await pipe.execute()


class OurPlaces(Ours):
    """`rapyer.pipeline()`, 300 changes of different places."""

    async def once(self, task: int, number: int) -> None:
        """Set each entry of a dict in one block."""
        model = self.models[task]
        async with rapyer.pipeline():
            for index in range(PLACES):
                model.settings[f"entry{index}"] = f"value {number}"


def _case(size: int, required: float | None) -> Case:
    bare = type(f"BareBlock{size}", (BareBlock,), {"size": size, "__doc__": f"MULTI with the same {size} commands."})
    ours = type(f"OurBlock{size}", (OurBlock,), {"size": size, "__doc__": f"`rapyer.pipeline()`, {size} changes."})
    return Case(f"block_{size}", {} if required is None else {1: required, 64: required}, bare, ours, (1, 64))


CASES = (
    _case(3, 1.0),
    _case(30, None),
    _case(300, 2.0),
    Case(f"block_{PLACES}_places", {1: 2.0, 64: 2.0}, BarePlaces, OurPlaces, (1, 64)),
)
