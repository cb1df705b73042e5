"""One object put into two places of a document: each place has its own value, whatever is done to it first."""

from typing import Any

import pytest

from rapyer import AtomicRedisModel


class Part(AtomicRedisModel):
    """A nested model."""

    n: int = 0
    tags: list[str] = []


class Whole(AtomicRedisModel):
    """Places for the same one."""

    lead: Part = Part()
    deputy: Part = Part()
    many: list[Part] = []
    table: dict[str, Part] = {}
    words: list[str] = []
    free: Any = None


async def _changed(whole):
    """Give each place its own number, by another client."""
    other = await Whole.get(whole.key)
    parts = [other.lead, other.deputy, *other.many, *other.table.values()]
    for number, part in enumerate(parts):
        await part.aupdate(n=number)
    return [0, 1, 2, 3, 4, 5]


def _numbers(whole):
    return [part.n for part in (whole.lead, whole.deputy, *whole.many, *whole.table.values())]


async def _loaded(whole):
    await whole.load()


async def _locked(whole):
    async with whole.lock(save_at_end=True):
        whole.words.append("x")


async def _in_a_block(whole):
    async with whole.pipeline():
        whole.lead.tags.append("x")


@pytest.mark.parametrize("refresh", [_loaded, _locked, _in_a_block])
async def test_refreshed_untouched(bound, refresh):
    """A refresh gives each place its own value, though they held one object that nobody had touched yet."""
    part = Part()
    whole = await Whole(lead=part, deputy=part, many=[part, part], table={"a": part, "b": part}).save()
    wanted = await _changed(whole)
    await refresh(whole)
    assert _numbers(whole) == wanted
    await whole.save()
    assert _numbers(await Whole.get(whole.key)) == wanted


async def test_a_document_in_another(bound):
    """A document that stands in another one, too, is not changed by what becomes of that."""
    part = await Part(n=7).save()
    whole = await Whole(lead=part).save()
    await (await Whole.get(whole.key)).lead.aupdate(n=8)
    await whole.load()
    assert (whole.lead.n, part.n) == (8, 7)


async def test_a_list_at_a_free_place(bound):
    """A list that stands below `Any`, too, keeps its own content."""
    whole = await Whole(words=["a"]).save()
    whole.free = whole.words
    await whole.save()
    await (await Whole.get(whole.key)).aupdate(free=["b"])
    await whole.load()
    assert (whole.words, whole.free) == (["a"], ["b"])


async def test_a_variable_stays(bound):
    """Whoever put a model in, only once, holds the one in the document."""
    part = Part()
    whole = await Whole(lead=part).save()
    await (await Whole.get(whole.key)).lead.aupdate(n=3)
    await whole.load()
    assert whole.lead is part
    assert part.n == 3


@pytest.mark.parametrize("saved", [True, False])
@pytest.mark.parametrize("there", ["aupdate", "update", "update in a block"])
async def test_what_was_given_stays_its_own(bound, there, saved):
    """Where a nested model takes over what another one holds, neither changes with the other from then on."""
    whole = await Whole(lead=Part(), many=[Part()], table={"a": Part()}).save()
    given = [Part(n=number, tags=["t"]) for number in (1, 2, 3)]
    if saved:
        await given[0].save()
    _numbers(whole)
    values = {"lead": given[0], "many": [given[1]], "table": {"a": given[2]}}
    if there == "aupdate":
        await whole.aupdate(**values)
    elif there == "update":
        whole.update(**values)
    else:
        async with whole.pipeline():
            whole.update(**values)
    for part in given:
        part.n += 10
        part.tags.append("given")
        part.tags = [*part.tags, "anew"]
    parts = [whole.lead, whole.many[0], whole.table["a"]]
    assert [(part.n, part.tags) for part in parts] == [(1, ["t"]), (2, ["t"]), (3, ["t"])]
    for part in parts:
        part.n = 7
        part.tags.append("whole")
    assert [(part.n, part.tags) for part in given] == [(n, ["t", "given", "anew"]) for n in (11, 12, 13)]
    await whole.save()
    assert await Whole.get(whole.key) == whole
