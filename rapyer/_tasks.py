"""What asyncio leaves to its users: work that a cancellation must not cut short."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Coroutine


async def to_its_end(work: Coroutine[Any, Any, None]) -> None:
    """Do work in full; a cancellation that comes meanwhile is passed on after it."""
    task = asyncio.ensure_future(work)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task])
        raise
