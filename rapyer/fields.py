"""Markers for fields."""

from __future__ import annotations

from typing import Annotated, TypeVar

__all__ = ["Key", "KeyAnnotation"]

T = TypeVar("T")


class KeyAnnotation:
    """Marks the field whose value is the primary key: `Annotated[str, KeyAnnotation]` or `KeyAnnotation()`."""


Key = Annotated[T, KeyAnnotation]
"""`Key[str]` is short for `Annotated[str, KeyAnnotation]`."""
