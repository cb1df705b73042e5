"""Combining: increments that wait for the same write are one call, and each caller gets what it would have alone."""

import asyncio
import os

import pytest
from fault_proxy import Fault
from lane_world import COUNT, increase, load, opened, until
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError

import rapyer
import redis_stack
from rapyer import AtomicRedisModel
from rapyer._combine import CROWD, MOST, TOGETHER
from rapyer._dispatch import Care, Where
from rapyer._registry import scripts
from rapyer._together import common
from rapyer.errors import KeyNotFound, OutcomeUnknown, OutOfRange, PathNotFound, ServerError, WrongType

TOP = 2**63 - 1
ONCE = Care(once=True, replicas=0)
#: A rule that holds for plain increments and for those that run exactly once.
EITHER = pytest.mark.parametrize("care", [None, ONCE], ids=["plain", "once"])


class Crowded(AtomicRedisModel):
    """A document."""

    n: int = 0


async def add(dispatcher, amount, *, key="k", ttl="", path="$.n", care=None):
    """Add to a number as the models do."""
    reply = await dispatcher.combined(common("number.increase", ttl, path), key, amount, care)
    return int(reply[0])


async def written(dispatcher, arguments, care=None):
    """Set a value of the document."""
    return await dispatcher.script("value.set", ("k",), arguments, lambda _: Where("k"), care)


async def gathered(dispatcher, *amounts, care=None):
    """Add at the same time, while another call is on its way; return what each caller got."""
    first = asyncio.create_task(load(dispatcher, "k"))
    await asyncio.sleep(0)
    results = await asyncio.gather(*(add(dispatcher, amount, care=care) for amount in amounts), return_exceptions=True)
    await first
    return results


async def cut_off(dispatcher, proxy, keys):
    """Add to each of these at the same time, and end the connection before the answer; return what callers got."""
    proxy.open.clear()
    first = asyncio.create_task(load(dispatcher, keys[0]))
    await asyncio.sleep(0)
    tasks = [asyncio.create_task(add(dispatcher, 1, key=key)) for key in keys]
    await asyncio.sleep(0.05)
    proxy.cut()
    proxy.open.set()
    got = await asyncio.gather(*tasks, return_exceptions=True)
    await first
    return got


async def calls(world):
    """Return how many scripts the server has run."""
    stats = await world.client.info("commandstats")
    return stats.get("cmdstat_evalsha", {"calls": 0})["calls"]


@EITHER
async def test_callers_get_their_own_sums(world, care):
    """Of many increments at once each caller gets the sum as of its turn, in order, and few scripts did it."""
    await world.put("k")
    async with world.dispatcher() as dispatcher:
        await load(dispatcher, "k")
        await world.client.config_resetstat()
        assert await gathered(dispatcher, *range(1, 301), care=care) == [n * (n + 1) // 2 for n in range(1, 301)]
        assert await calls(world) < 30
    assert await world.number("k") == 300 * 301 // 2


@EITHER
async def test_many_more_than_one_group_takes(world, care):
    """However many wait, each call of the server has a bound, and nothing is lost."""
    await world.put("k")
    async with world.dispatcher() as dispatcher:
        values = await gathered(dispatcher, *[1] * (3 * MOST + 7), care=care)
        assert values == list(range(1, 3 * MOST + 8))


async def test_full_groups_while_there_is_no_connection(world):
    """Where nothing can be written yet, groups have their bound, too: nobody joins a full one."""
    await world.put("k")
    async with world.dispatcher() as dispatcher:
        await load(dispatcher, "k")
        await add(dispatcher, 0)
        await gathered(dispatcher, 0, 0)  # its script is there from now on
    async with world.dispatcher() as dispatcher:
        await world.client.config_resetstat()
        assert await asyncio.gather(*(add(dispatcher, 1) for _ in range(3 * MOST))) == list(range(1, 3 * MOST + 1))
        assert await calls(world) == 3


@EITHER
async def test_who_leaves_a_group_of_which_one_is_refused(world, care):
    """Who gave up after the write, whoever else of the group is refused, takes nobody's answer along."""
    await world.put("k", f'{{"n":{TOP - 9}}}')
    async with world.proxied() as (dispatcher, proxy):
        await load(dispatcher, "k")
        await gathered(dispatcher, 0, 0, care=care)
        wire = dispatcher._lane._wire
        proxy.open.clear()
        first = asyncio.create_task(load(dispatcher, "k"))
        await asyncio.sleep(0)
        tasks = [asyncio.create_task(add(dispatcher, amount, care=care)) for amount in (1, 2, TOP, 3)]
        await asyncio.sleep(0.05)
        tasks[1].cancel()
        proxy.open.set()
        await asyncio.wait_for(asyncio.gather(first, *tasks, return_exceptions=True), 5)
        assert tasks[0].result() == TOP - 8
        assert tasks[1].cancelled()
        assert isinstance(tasks[2].exception(), OutOfRange)
        assert tasks[3].result() == TOP - 3
        assert dispatcher._lane._wire is wire


@pytest.mark.parametrize("sign", [1, -1])
@EITHER
async def test_range_errors_are_their_callers_own(world, sign, care):
    """An amount that would leave 64 bits is refused to its caller alone; those before and after it count."""
    await world.put("k", f'{{"n":{sign * (TOP - 3)}}}')
    async with world.dispatcher() as dispatcher:
        got = await gathered(
            dispatcher, sign, sign * 5, sign * 2, sign * (1 + (sign < 0)), -sign * TOP, sign * 9, care=care
        )
        assert got[0] == sign * (TOP - 2)
        assert isinstance(got[1], OutOfRange)
        assert got[2] == sign * TOP
        assert isinstance(got[3], OutOfRange)
        assert got[4:] == [0, sign * 9]
        assert "k" in str(got[1])
    assert await world.number("k") == sign * 9


@EITHER
async def test_exact_beyond_doubles(world, care):
    """Sums that no double holds are exact for every caller."""
    await world.put("k", f'{{"n":{2**53}}}')
    async with world.dispatcher() as dispatcher:
        assert await gathered(dispatcher, 1, 1, -3, 2**60, care=care) == [
            2**53 + 1,
            2**53 + 2,
            2**53 - 1,
            2**53 - 1 + 2**60,
        ]


@pytest.mark.parametrize(("text", "error"), [(None, KeyNotFound), ('{"n":"x"}', WrongType), ('{"n":1.5}', WrongType)])
@EITHER
async def test_refusals_reach_every_caller(world, text, error, care):
    """Where the document or the number is not there, every caller gets an error of its own and nothing is written."""
    if text is not None:
        await world.put("k", text)
    async with world.dispatcher() as dispatcher:
        await world.put("other")
        first = asyncio.create_task(load(dispatcher, "other"))
        await asyncio.sleep(0)
        got = await asyncio.gather(*(add(dispatcher, 1, care=care) for _ in range(20)), return_exceptions=True)
        await first
        assert {type(each) for each in got} == {error}
        assert len({id(each) for each in got}) == 20
    assert await world.client.exists("k") == (text is not None)


@EITHER
async def test_cancelled_callers_take_no_part(world, care):
    """Who gives up before the write adds nothing, and the others' sums do not count it."""
    await world.put("k")
    async with world.dispatcher() as dispatcher:
        await load(dispatcher, "k")
        first = asyncio.create_task(load(dispatcher, "k"))
        tasks = [asyncio.create_task(add(dispatcher, 10**i, care=care)) for i in range(4)]
        for _ in range(2):
            tasks[1].cancel()
            tasks[2].cancel()
            await asyncio.sleep(0)
        got = await asyncio.gather(*tasks, return_exceptions=True)
        await first
        assert got[0] == 1
        assert got[3] == await world.number("k")
        assert all(isinstance(each, asyncio.CancelledError) for each in got[1:3])


@EITHER
async def test_order_of_a_document_is_kept(world, care):
    """What a caller asks for on the document between two increments happens between them."""
    await world.put("k")
    async with world.dispatcher() as dispatcher:
        await add(dispatcher, 0, care=care)  # loads its script
        first = asyncio.create_task(load(dispatcher, "k"))
        await asyncio.sleep(0)
        head = ("", "0", "$", "$.n", "100", "0")
        tasks = [
            asyncio.create_task(add(dispatcher, 1, care=care)),
            asyncio.create_task(written(dispatcher, head)),
            asyncio.create_task(add(dispatcher, 1, care=care)),
        ]
        got = await asyncio.gather(*tasks)
        await first
        assert (got[0], got[2]) == (1, 101)


@EITHER
async def test_different_places_and_expiries_do_not_mix(world, care):
    """Increments of other fields, and those with another ttl, go their own way."""
    await world.put("k", '{"n":0,"m":0}')
    async with world.dispatcher() as dispatcher:
        await add(dispatcher, 0, care=care)  # loads its script
        first = asyncio.create_task(load(dispatcher, "k"))
        await asyncio.sleep(0)
        got = await asyncio.gather(
            add(dispatcher, 1, care=care),
            add(dispatcher, 5, path="$.m", care=care),
            add(dispatcher, 1, care=care),
            add(dispatcher, 1, ttl="60000", care=care),
        )
        await first
        assert got == [1, 5, 2, 3]
    assert 0 < await world.client.pttl("k") <= 60_000


@EITHER
async def test_flushed_scripts_are_healed(world, care):
    """After SCRIPT FLUSH every caller of a group is served once, and the next group finds its script again."""
    await world.put("k")
    async with world.dispatcher() as dispatcher:
        await load(dispatcher, "k")
        await world.client.script_flush()
        assert sorted(await gathered(dispatcher, *[1] * 50, care=care)) == list(range(1, 51))
        await world.client.config_resetstat()
        assert await gathered(dispatcher, *[1] * 50, care=care) == list(range(51, 101))
        assert await calls(world) < 10


async def test_a_lost_answer_is_unknown_to_all(world):
    """When the connection ends before the answer of a group, each of its callers is told that it may have run."""
    await world.put("k")
    async with world.proxied() as (dispatcher, proxy):
        assert await increase(dispatcher, "k") == 1
        got = await cut_off(dispatcher, proxy, ["k"] * 20)
        assert {type(each) for each in got} == {OutcomeUnknown}
    assert await world.number("k") in {1, 21}


@pytest.mark.parametrize("many", [1, 5])
async def test_refusals_tell_their_cause(world, many):
    """The error of a refused call has the server's own answer as its cause, alone and among others."""
    async with world.dispatcher() as dispatcher:
        got = await asyncio.gather(*(increase(dispatcher, "none") for _ in range(many)), return_exceptions=True)
    assert all(isinstance(each, KeyNotFound) for each in got)
    assert all("RAPYER_KEY_NOT_FOUND" in str(each.__cause__) for each in got)


async def test_nobody_joins_a_call_that_goes_elsewhere(world):
    """A call that never reached its server and waits for another is not waited for by later ones."""
    await world.put("k")
    async with world.dispatcher() as dispatcher:
        dispatcher._nodes.roams = True
        failing = [asyncio.create_task(add(dispatcher, 1)) for _ in range(2)]
        await asyncio.sleep(0)
        failing[0].cancel()
        dispatcher._lane.turn_away(RedisConnectionError("no way"))
        late = dispatcher.combined(COUNT, "k", 1)
        assert (await asyncio.wait_for(late, 5))[0] == b"1"
        got = await asyncio.gather(*failing, return_exceptions=True)
    assert isinstance(got[0], asyncio.CancelledError)
    assert got[1] == 2


LONE = os.fsdecode(b"caf\xe9")  # a lone surrogate, as of a file's name: no bytes for it in UTF-8


@pytest.mark.parametrize("place", [{"key": LONE}, {"path": f'$["{LONE}"]'}])
@EITHER
async def test_words_without_bytes(world, place, care):
    """An increment of a key or a field that has no bytes in UTF-8 fails by itself; nobody else notices it."""
    await world.put("k")
    async with world.dispatcher() as dispatcher:
        await load(dispatcher, "k")
        first = asyncio.create_task(load(dispatcher, "k"))
        await asyncio.sleep(0)
        bad = [asyncio.create_task(add(dispatcher, 1, **place, care=care)) for _ in range(2)]
        assert await asyncio.wait_for(add(dispatcher, 1, care=care), 5) == 1
        assert await asyncio.wait_for(first, 5)
        assert {type(error) for error in await asyncio.gather(*bad, return_exceptions=True)} == {UnicodeEncodeError}


@EITHER
async def test_an_amount_without_bytes(world, care):
    """Whatever cannot be written fails its own group and leaves the line."""
    await world.put("k")
    async with world.dispatcher() as dispatcher:
        await load(dispatcher, "k")
        first = asyncio.create_task(load(dispatcher, "k"))
        await asyncio.sleep(0)
        bad = [asyncio.create_task(add(dispatcher, amount, care=care)) for amount in (1, LONE)]
        await asyncio.sleep(0)
        assert await asyncio.wait_for(load(dispatcher, "k"), 5) == b'{"n":0}'
        assert {type(error) for error in await asyncio.gather(*bad, return_exceptions=True)} == {UnicodeEncodeError}
        await first


@EITHER
async def test_cancelled_increments_leave_nothing(world, care):
    """What is cancelled before it was written is forgotten, whether there is a connection or not."""
    await world.put("k")
    async with world.dispatcher() as dispatcher:
        await load(dispatcher, "k")
        for connected in (True, False):
            if not connected:
                await dispatcher._lane.close()
            first = asyncio.create_task(load(dispatcher, "k"))
            await asyncio.sleep(0)
            for i in range(50):
                dispatcher.combined(COUNT, f"k{i}", 1, care).cancel()
            await first
            await load(dispatcher, "k")
            assert not {**dispatcher._groups.shared, **dispatcher._groups.single}


@pytest.mark.parametrize("care", [Care(once=True, replicas=0), Care(once=False, replicas=0)])
async def test_order_of_calls_with_care(world, care):
    """Increments do not overtake a write that is to run exactly once, nor one with another care."""
    await world.put("k")
    async with world.dispatcher() as dispatcher:
        write = ("", "0", "$", "$.n", "100", "0")
        await written(dispatcher, write, care)  # loads it
        await world.put("k")
        first = asyncio.create_task(load(dispatcher, "k"))
        await asyncio.sleep(0)
        got = await asyncio.gather(add(dispatcher, 1), written(dispatcher, write, care), add(dispatcher, 1))
        await first
        assert (got[0], got[2]) == (1, 101)


@EITHER
async def test_a_group_that_goes_out_twice(care):
    """Who is left of a group adds its own amount, also when a server that cannot write sent the call back."""
    with redis_stack.start(private=True) as server:
        async with opened(server.url) as own, own.dispatcher(retry=Retry(NoBackoff(), 20)) as dispatcher:
            await own.put("k")
            await load(dispatcher, "k")
            await own.client.replicaof("127.0.0.1", str(redis_stack.free_port()))
            first = asyncio.create_task(load(dispatcher, "k"))
            await asyncio.sleep(0)
            gone, left = (asyncio.create_task(add(dispatcher, amount, care=care)) for amount in (1, 10))
            await asyncio.sleep(0)
            gone.cancel()
            await first
            await asyncio.sleep(0.1)
            assert not left.done()
            await own.client.replicaof("NO", "ONE")
            assert await left == 10
            assert await own.number("k") == 10


@EITHER
async def test_all_refused_is_nothing_written(world, care):
    """Where each amount is refused, the document and its expiry stay as they were."""
    await world.put("k", f'{{"n":{TOP}}}')
    await world.client.pexpire("k", 60_000)
    async with world.dispatcher() as dispatcher:
        await load(dispatcher, "k")
        await world.client.config_resetstat()
        first = asyncio.create_task(load(dispatcher, "k"))
        await asyncio.sleep(0)
        many = (add(dispatcher, 1, ttl="600000", care=care) for _ in range(3))
        assert {type(error) for error in await asyncio.gather(*many, return_exceptions=True)} == {OutOfRange}
        await first
    assert await world.client.pttl("k") <= 60_000
    assert not {"cmdstat_JSON.SET", "cmdstat_json.set"} & (await world.client.info("commandstats")).keys()


async def test_late_callers_have_tries_of_their_own(world):
    """Who asks when others have been waiting for a server for some tries is tried as often as anybody."""
    faults = [Fault("down", 0, "reset")] * 8
    async with world.proxied(*faults, retry=Retry(NoBackoff(), 5)) as (dispatcher, _):
        await world.put("k")
        first = asyncio.create_task(add(dispatcher, 1))
        await until(lambda: dispatcher._lane._waiting and dispatcher._lane._waiting[0].tries == 5, pause=0)
        late = asyncio.create_task(add(dispatcher, 1))
        assert isinstance((await asyncio.gather(first, return_exceptions=True))[0], RedisConnectionError)
        assert await late == 1


async def test_a_load_that_fails(world):
    """A combined script that could not be loaded keeps nobody from going on: each caller's own script does."""
    await world.put("k")
    async with world.proxied(retry=Retry(NoBackoff(), 0)) as (dispatcher, proxy):
        await load(dispatcher, "k")
        await world.client.script_flush()
        await world.client.script_load(scripts()["document.load"].source)
        passage = proxy.connections[0]
        passage.fault = Fault("up", passage.passed("up") + 1000, "reset")  # within the combined script's source
        assert sorted(await gathered(dispatcher, 1, 1, 1)) == [1, 2, 3]
        assert passage.struck


# -- different documents ---------------------------------------------------------------------------------------------


async def at_once(dispatcher, *calls):
    """Run calls while another is on its way; return what each caller got."""
    first = asyncio.create_task(load(dispatcher, "other"))
    await asyncio.sleep(0)
    results = await asyncio.gather(*calls, return_exceptions=True)
    await first
    return results


async def test_different_documents_share_a_call(world):
    """Increments of the same field of many documents are few scripts, and each caller gets its own document's sum."""
    await world.put("other")
    for i in range(100):
        await world.put(f"k{i}", f'{{"n":{i}}}')
    async with world.dispatcher() as dispatcher:
        await at_once(dispatcher, *(add(dispatcher, 0, key=f"k{i}") for i in range(3)))
        await world.client.config_resetstat()
        got = await at_once(dispatcher, *(add(dispatcher, 1, key=f"k{i}", ttl="60000") for i in range(100)))
        assert got == [i + 1 for i in range(100)]
        assert await calls(world) <= 1 + 100 // TOGETHER + 1
    assert [await world.number(f"k{i}") for i in range(100)] == got
    assert all([0 < await world.client.pttl(f"k{i}") <= 60_000 for i in range(100)])


async def test_several_callers_of_several_documents(world):
    """Whatever the order they come in, callers of one document get its sums in order."""
    await world.put("other")
    for key in "abc":
        await world.put(key)
    async with world.dispatcher() as dispatcher:
        order = "aabcbacca"
        got = await at_once(dispatcher, *(add(dispatcher, 10**i, key=key) for i, key in enumerate(order)))
    sums = dict.fromkeys("abc", 0)
    for i, key in enumerate(order):
        sums[key] += 10**i
        assert got[i] == sums[key]


async def test_a_refusal_is_its_own_documents_alone(world):
    """A document that is gone, without the field, of another type or at its end fails its callers and nobody else's.

    Of one that is at its end, those are refused who add too much in their turn.
    """
    await world.put("other")
    await world.put("good")
    await world.put("bare", "{}")
    await world.put("text", '{"n":"x"}')
    await world.put("full", f'{{"n":{TOP}}}')
    await world.client.set("string", "no document")
    async with world.dispatcher() as dispatcher:
        keys = ["good", "gone", "bare", "text", "string", "full", "good"]
        added = [add(dispatcher, 1, key=key) for key in keys]
        got = await at_once(dispatcher, *added, *(add(dispatcher, amount, key="full") for amount in (-3, 4, 2)))
        assert [got[0], got[6]] == [1, 2]
        assert [got[7], type(got[8]), got[9]] == [TOP - 3, OutOfRange, TOP - 1]
        assert [type(each) for each in got[1:6]] == [KeyNotFound, PathNotFound, WrongType, WrongType, OutOfRange]
        assert all(repr(key) in str(error) for key, error in zip(keys[1:6], got[1:6], strict=True))
    assert not await world.client.exists("gone")
    assert await world.client.get("string") == b"no document"


async def test_who_gave_up_is_left_out(world):
    """Callers that were cancelled before the write add nothing, the others get their own sums."""
    await world.put("other")
    for key in "abcd":
        await world.put(key)
    async with world.dispatcher() as dispatcher:
        await load(dispatcher, "other")
        first = asyncio.create_task(load(dispatcher, "other"))
        await asyncio.sleep(0)
        tasks = [asyncio.create_task(add(dispatcher, 10**i, key=key)) for i, key in enumerate("abcdab")]
        await asyncio.sleep(0)
        for given_up in (0, 2, 5):
            tasks[given_up].cancel()
        got = await asyncio.gather(*tasks, return_exceptions=True)
        await first
        assert [each for each in got if isinstance(each, int)] == [10, 1000, 10000]
    assert [await world.number(key) for key in "abcd"] == [10000, 10, 0, 1000]


@pytest.mark.parametrize("care", [None, ONCE, Care(once=False, replicas=0)])
async def test_order_of_each_document_is_kept(world, care):
    """Nobody joins a group that goes out before another call on the same document."""
    await world.put("other")
    for key in "kj":
        await world.put(key)
    async with world.dispatcher() as dispatcher:
        write = ("", "0", "$", "$.n", "100", "0")
        await written(dispatcher, write, care)  # loads it
        await at_once(dispatcher, add(dispatcher, 0, key="j"), add(dispatcher, 0, key="j", care=care))
        await world.put("k")
        got = await at_once(
            dispatcher,
            add(dispatcher, 1, key="j"),
            add(dispatcher, 1, key="k"),
            written(dispatcher, write, care),
            add(dispatcher, 1, key="j"),
            add(dispatcher, 1, key="k"),
            add(dispatcher, 5, key="k", care=care),
            add(dispatcher, 1, key="j"),
            add(dispatcher, 1, key="k"),
            add(dispatcher, 5, key="k", care=care),
        )
        assert [got[i] for i in (1, 4, 5, 7, 8)] == [1, 101, 106, 107, 112]
        assert [got[i] for i in (0, 3, 6)] == [1, 2, 3]


async def test_a_user_who_may_not_touch_one_of_them(world):
    """Where the server refuses a call for one of its keys, those who ask for others get their sums."""
    await world.put("other")
    for key in ("mine:a", "mine:b", "yours"):
        await world.put(key)
    await world.client.acl_setuser("half", enabled=True, nopass=True, keys=["mine:*", "other"], commands=["+@all"])
    try:
        async with world.dispatcher(username="half", password="any") as dispatcher:  # noqa: S106 - none is asked for
            keys = ["mine:a", "yours", "mine:b", "mine:a"]
            got = await at_once(dispatcher, *(add(dispatcher, 1, key=key) for key in keys))
    finally:
        await world.client.acl_deluser("half")
    assert (got[0], got[2], got[3]) == (1, 1, 2)
    assert isinstance(got[1], ServerError)
    assert await world.number("yours") == 0


async def test_lost_answers_of_different_documents(world):
    """When the connection ends before the answer, each caller is told that its increment may have run."""
    await world.put("other")
    for i in range(5):
        await world.put(f"k{i}")
    async with world.proxied() as (dispatcher, proxy):
        await at_once(dispatcher, *(add(dispatcher, 0, key=f"k{i}") for i in range(5)))
        got = await cut_off(dispatcher, proxy, [f"k{i}" for i in range(5)])
        assert {type(each) for each in got} == {OutcomeUnknown}


async def test_a_key_without_bytes_among_others(world):
    """A key that cannot be written fails its own caller."""
    await world.put("other")
    await world.put("k")
    await world.put("é")
    async with world.dispatcher() as dispatcher:
        got = await at_once(dispatcher, *(add(dispatcher, 1, key=key) for key in ("k", LONE, "é", "k")))
        assert [got[0], got[2], got[3]] == [1, 1, 2]
        assert isinstance(got[1], UnicodeEncodeError)


async def test_order_of_different_fields_is_kept(world):
    """An increment of another field, or with another expiry, is not overtaken by a later one on its document."""
    await world.put("other")
    await world.put("j")
    await world.put("k", '{"l":[0]}')
    async with world.dispatcher() as dispatcher:
        await at_once(dispatcher, add(dispatcher, 0, key="j"), add(dispatcher, 0, key="j"))
        got = await at_once(
            dispatcher,
            add(dispatcher, 1, key="k", path="$.l[0]"),
            add(dispatcher, 1, key="k", path="$.l[-1]"),  # the same place
            add(dispatcher, 1, key="k", path="$.l[0]"),
        )
        assert got == [1, 2, 3]
        got = await at_once(
            dispatcher,
            add(dispatcher, 1, key="j", ttl="900000"),
            add(dispatcher, 1, key="k", path="$.l[0]", ttl="900000"),
            add(dispatcher, 1, key="k", path="$.l[0]", ttl="60000"),
        )
        assert got == [1, 4, 5]
    assert await world.client.pttl("k") <= 60_000


async def test_what_waits_without_a_server_is_bounded(world):
    """However many documents and fields are asked for while nothing can be written, each call costs the same."""
    async with world.dispatcher() as dispatcher:
        await world.put("k", "{}")
        first = asyncio.create_task(load(dispatcher, "k"))  # connecting
        many = [asyncio.create_task(add(dispatcher, 1, path=f"$.n{i}")) for i in range(CROWD)]
        others = [asyncio.create_task(load(dispatcher, f"k{i}")) for i in range(2 * CROWD)]
        await asyncio.sleep(0)
        assert len(dispatcher._groups._latest) <= CROWD + 1
        got = await asyncio.gather(*many, *others, return_exceptions=True)
        await first
    assert {type(each) for each in got[:CROWD]} == {PathNotFound}
    assert {type(each) for each in got[CROWD:]} == {KeyNotFound}


async def test_after_a_forbidden_document_each_has_its_own_call(world):
    """A server that refused a call for one of its keys is not asked for several documents at once any more."""
    for key in ("other", "k", "yours"):
        await world.put(key)
    await world.client.acl_setuser("half", enabled=True, nopass=True, keys=["k", "other"], commands=["+@all"])
    try:
        async with world.dispatcher(username="half", password="any") as dispatcher:  # noqa: S106 - none is asked for
            write = ("", "0", "$", "$.n", "100", "0")
            await written(dispatcher, write)
            await at_once(dispatcher, add(dispatcher, 1), add(dispatcher, 1, key="yours"))
            got = await at_once(
                dispatcher, add(dispatcher, 1), add(dispatcher, 1, key="yours"), written(dispatcher, write)
            )
            assert got[0] == 102
            assert isinstance(got[1], ServerError)
            assert await world.number("k") == 100
    finally:
        await world.client.acl_deluser("half")


async def test_a_lock_on_another_document_keeps_nobody_apart(world):
    """Inside a lock's block the increments of other documents are combined as anywhere else."""
    await rapyer.init_rapyer(world.client)
    mine, shared = await Crowded().save(), await Crowded().save()
    copies = [await Crowded.get(shared.key) for _ in range(100)]
    async with mine.lock():
        await asyncio.gather(*(copy.n.increase() for copy in copies))
        before = await calls(world)
        got = await asyncio.gather(*(copy.n.increase() for copy in copies))
        assert await calls(world) - before < 10
    assert sorted(got) == list(range(101, 201))
    await rapyer.teardown_rapyer()
