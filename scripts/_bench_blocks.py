"""Cases of `bench.py`: blocks of 3, 30 and 300 changes of one document, beside MULTI with the same commands."""

from __future__ import annotations

import json
from typing import ClassVar

import rapyer
from _bench_sides import Bare, Case, Ours


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


def _case(size: int, required: float | None) -> Case:
    bare = type(f"BareBlock{size}", (BareBlock,), {"size": size, "__doc__": f"MULTI with the same {size} commands."})
    ours = type(f"OurBlock{size}", (OurBlock,), {"size": size, "__doc__": f"`rapyer.pipeline()`, {size} changes."})
    return Case(f"block_{size}", {} if required is None else {1: required, 64: required}, bare, ours, (1, 64))


CASES = (_case(3, 1.0), _case(30, None), _case(300, 2.0))
