"""Wherever a connection is cut, silenced or delayed, in either direction: nothing is lost, doubled or mixed up."""

import asyncio

from fault_proxy import Fault, FaultProxy
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from lane_world import increase, load, opened
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from rapyer._loops import close_all, dispatcher
from rapyer.errors import OutcomeUnknown

TASKS = 6
ROUNDS = 5
#: What one connection carries in a whole run, and somewhat more: faults strike anywhere, or not at all.
BYTES = {"up": 9000, "down": 3500}
NUMBER = "k" * 30


def faults_of(direction):
    """Faults of one direction."""
    return st.builds(
        Fault,
        direction=st.just(direction),
        at=st.one_of(st.integers(0, 400), st.integers(400, BYTES[direction])),
        action=st.sampled_from(["reset", "close", "delay", "reset", "close", "swallow"]),
    )


faults = st.one_of(*map(faults_of, BYTES))


class Account:
    """What one caller was told about the counter that only it changes."""

    def __init__(self, key):
        self.key = key
        self.done = 0
        self.unknown = 0

    async def work(self, caller):
        """Change and read the counter; each answer must be one that this caller can get."""
        for _ in range(ROUNDS):
            try:
                value = await increase(caller, self.key)
                self.done += 1
                assert self.done <= value <= self.done + self.unknown
            except OutcomeUnknown:
                self.unknown += 1
            text = await load(caller, self.key)
            value = int(text.decode().removeprefix(f'{{"name":"{self.key}","n":').removesuffix("}"))
            assert self.done <= value <= self.done + self.unknown


class Shared:
    """What many callers were told about a counter that all of them change, at the same time, so that they are combined.

    Some give up: before their call is written, while it is on its way, or after its answer.
    """

    def __init__(self):
        self.sums = []
        self.unknown = 0
        self.cancelled = 0

    async def work(self, caller, number):
        """Change the counter, several times at once."""
        for turn in range(ROUNDS):
            calls = [asyncio.create_task(self._increase(caller)) for _ in range(3)]
            for _ in range((number + turn) % 4):
                await asyncio.sleep(0)
            if (number + turn) % 3 == 0:
                calls[turn % 3].cancel()
            for outcome in await asyncio.gather(*calls, return_exceptions=True):
                assert outcome is None or isinstance(outcome, asyncio.CancelledError)

    async def _increase(self, caller):
        try:
            self.sums.append(await increase(caller, "shared"))
        except OutcomeUnknown:
            self.unknown += 1
        except asyncio.CancelledError:
            self.cancelled += 1

    def check(self, value):
        """Each sum was given to one caller; the counter holds what is known, and at most what is not."""
        assert len(self.sums) == len(set(self.sums))
        assert all(0 < given <= value for given in self.sums)
        assert len(self.sums) <= value <= len(self.sums) + self.unknown + self.cancelled
        assert len(self.sums) + self.unknown + self.cancelled <= TASKS * ROUNDS * 3


async def scenario(url, plan):
    """Let tasks with documents of their own and one in common work while connections fail by plan."""
    async with opened(url) as world, FaultProxy(url, *plan) as proxy:
        accounts = [Account(f"{NUMBER}{i}") for i in range(TASKS)]
        for account in accounts:
            await world.put(account.key, f'{{"name":"{account.key}","n":0}}')
        await world.put("shared")
        client = Redis.from_url(proxy.url, socket_timeout=0.4, socket_connect_timeout=0.4)
        client.connection_pool.connection_kwargs["retry"] = Retry(NoBackoff(), -1)
        caller = dispatcher(client)
        shared = Shared()
        callers = [asyncio.create_task(shared.work(caller, number)) for number in range(TASKS)]
        await asyncio.gather(*(account.work(caller) for account in accounts), *callers)
        for account in accounts:
            assert account.done <= await world.number(account.key) <= account.done + account.unknown
        shared.check(await world.number("shared"))
        unknown = shared.unknown + sum(account.unknown for account in accounts)
        broken = [passage for passage in proxy.connections if passage.struck and passage.fault.action != "delay"]
        assert broken or unknown == 0
        await close_all()
        await client.aclose()


@settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(plan=st.lists(faults, max_size=6))
@example(plan=[Fault("up", 0, "reset"), Fault("down", 1, "close")])
@example(plan=[Fault("down", 700, "swallow")])
def test_faults_anywhere(stack, plan):
    """Each caller gets answers to its own calls; what it was told happened did, what is unknown happened or did not."""
    asyncio.run(scenario(stack.url, plan))
