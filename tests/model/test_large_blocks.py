"""What a block does for each of its models does not grow with their number."""

import sys
from contextlib import contextmanager
from typing import Any

import pytest

import rapyer
from rapyer import AtomicRedisModel

pytestmark = pytest.mark.one_server("the documents are in slots of their own")


class Sheet(AtomicRedisModel):
    """A document with a plain value."""

    n: int = 0
    value: Any = None


async def _saved(sheets):
    for sheet in sheets:
        await sheet.save()
        sheet.n += 1


async def _met_and_saved(sheets):
    for sheet in sheets:
        sheet.value.append(1)
        await sheet.save()


async def _saved_and_met(sheets):
    for sheet in sheets:
        await sheet.save()
        sheet.value.append(1)


async def _put_into_plain_values(sheets):
    first, *others = sheets
    for sheet in others:
        first.value.append([sheet])
        sheet.n += 1
    await first.save()


async def _put_into_plain_values_of_their_own(sheets):
    for sheet in sheets:
        sheet.value = [Sheet(n=1)]
        sheet.value[0].n += 1
        await sheet.save()


@contextmanager
def _calls():
    """Count calls of functions: unlike time, that is the same each time."""
    made = []
    sys.setprofile(lambda frame, event, _: made.append(frame) if event in ("call", "c_call") else None)
    try:
        yield made
    finally:
        sys.setprofile(None)


@pytest.mark.parametrize(
    "body",
    [_saved, _met_and_saved, _saved_and_met, _put_into_plain_values, _put_into_plain_values_of_their_own],
)
async def test_four_times_the_models(bound, body):
    """Four times as many models are four times the work, and not sixteen times."""
    work = []
    for count in (100, 400):
        sheets = [Sheet(n=i, value=[i]) for i in range(count)]
        with _calls() as made:
            async with rapyer.pipeline():
                await body(sheets)
        work.append(len(made))
        made.clear()
    assert work[1] < work[0] * 6
