"""Wherever a connection is cut, silenced or delayed, in either direction: nothing is lost, doubled or mixed up."""

import asyncio

from fault_proxy import Fault, FaultProxy
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from lane_world import increase, load, opened
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from rapyer._dispatch import close_all, dispatcher
from rapyer.errors import OutcomeUnknown

TASKS = 6
ROUNDS = 5
#: What one connection carries each way in a whole run, and somewhat more: faults strike anywhere, or not at all.
BYTES = 9000
NUMBER = "k" * 30

faults = st.builds(
    Fault,
    direction=st.sampled_from(["up", "down"]),
    at=st.one_of(st.integers(0, 400), st.integers(400, BYTES)),
    action=st.sampled_from(["reset", "close", "delay", "reset", "close", "swallow"]),
)


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
        shared = [asyncio.create_task(_shared(caller)) for _ in range(TASKS)]
        await asyncio.gather(*(account.work(caller) for account in accounts))
        done, unknown = map(sum, zip(*await asyncio.gather(*shared), strict=True))
        for account in accounts:
            assert account.done <= await world.number(account.key) <= account.done + account.unknown
        assert done <= await world.number("shared") <= done + unknown
        assert done + unknown == TASKS * ROUNDS
        broken = [passage for passage in proxy.connections if passage.struck and passage.fault.action != "delay"]
        assert broken or unknown == 0
        await close_all()
        await client.aclose()


async def _shared(caller):
    done = unknown = 0
    for _ in range(ROUNDS):
        try:
            await increase(caller, "shared")
            done += 1
        except OutcomeUnknown:
            unknown += 1
    return done, unknown


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
