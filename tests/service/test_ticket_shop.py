"""The example service: nothing is sold twice by thousands of buyers at once, and the page shows it live."""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest
from browser import CHROMIUM, browser

import load
from app import create_app
from load import ROWS, SEATS, Rush, served
from rapyer import AtomicRedisModel
from rapyer._dispatch import Dispatcher
from rapyer._observe import _plain
from redis_stack import free_port

if TYPE_CHECKING:
    from collections.abc import Callable

#: Where the picture for the docs goes, when it is to be made anew.
PICTURE = os.environ.get("RAPYER_PICTURE")
#: Has the page remember all it shows, however seldom somebody looks; false until it is there.
REMEMBER = """(() => {
    const names = ['sold', 'held', 'free', 'rate', 'waiting'], at = name => document.getElementById(name);
    const number = name => Number(at(name).textContent.replace(',', ''));
    if (!names.every(at) || names.map(number).some(Number.isNaN)) return false;
    globalThis.remembered = [];
    new MutationObserver(() => remembered.push(Object.fromEntries(names.map(name => [name, number(name)]))))
        .observe(at('sold').closest('dl'), {childList: true, subtree: true});
    return true;
})()"""


@pytest.fixture
async def app(client, stack):
    """The service, running on an empty server."""
    app = create_app(stack.url, rows=ROWS, seats=SEATS, hold_seconds=60)
    async with app.router.lifespan_context(app):
        yield app


@pytest.fixture
async def web(app):
    """A client of the service."""
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://shop") as web:
        yield web


async def test_nothing_is_oversold(app):
    """Each seat is one buyer's, all paid reservations became tickets, and no seat is lost."""
    outcome = await Rush(app, "shop", 400).run()
    stock = await app.state.service.shops["shop"].stock()
    assert outcome.oversold == 0
    assert len(outcome.tickets) == len(set(outcome.tickets)) == stock.sold > SEATS
    assert outcome.in_stock == ROWS * SEATS
    assert set(outcome.refused) <= {0, 409}


async def test_the_naive_shop_oversells(app):
    """Without the lock, the same rush gives seats to several buyers: what the test above proves is no accident."""
    outcome = await Rush(app, "naive", 400).run()
    assert outcome.oversold > 10


async def test_a_reservation_is_paid_once(web):
    """Paying gives the ticket for the seat; paying again, or for what never was, is too late."""
    hold = (await web.post("/shop/row-1/reserve", params={"buyer": "Ada"})).json()
    paid = await web.post(f"/shop/row-1/pay/{hold['number']}")
    assert (paid.status_code, paid.json()) == (200, {"seat": hold["seat"]})
    assert (await web.post(f"/shop/row-1/pay/{hold['number']}")).status_code == 410
    assert (await web.post("/shop/row-1/pay/nothing")).status_code == 410
    assert (await web.post("/shop/row-9/pay/nothing")).status_code == 410
    assert (await web.post("/shop/row-9/reserve", params={"buyer": "Ada"})).status_code == 404


async def test_what_nobody_pays_for_comes_back(app, web):
    """A reservation that expired cannot be paid, and its seat is free again."""
    shop = app.state.service.shops["shop"]
    shop.hold_seconds = shop.queue_seconds = 0.1
    hold = (await web.post("/shop/row-1/reserve", params={"buyer": "Ada"})).json()
    await asyncio.sleep(0.2)
    assert (await web.post(f"/shop/row-1/pay/{hold['number']}")).status_code == 410
    deadline = time.monotonic() + 5
    while (await shop.stock()).free < ROWS * SEATS:
        assert time.monotonic() < deadline
        await asyncio.sleep(0.05)


async def test_reservations_expire_after_a_bad_moment(client, stack, web, app, caplog):
    """Neither a row that stays locked nor a broken one ends the expiring: each is logged, and a later turn does it."""
    shop = app.state.service.shops["shop"]
    await web.post("/shop/row-1/reserve", params={"buyer": "Ada"})
    await web.post("/shop/row-2/reserve", params={"buyer": "Ada"})
    async with shop.model.lock_from_key("row-1", "seats", save_at_end=True) as row:
        shop.queue_seconds = 0.1
        for hold in row.held.values():
            hold.until = 0
    async with shop.model.lock_from_key("row-1", "seats"):
        await _logged(caplog, "LockTimeout")
    key = f"{shop.model.class_key_initials()}:row-2"
    text = await client.execute_command("JSON.GET", key)
    await client.execute_command("JSON.SET", key, "$.held", "1")
    await _logged(caplog, "CorruptDocument")
    await client.execute_command("JSON.SET", key, "$", text)
    deadline = time.monotonic() + 5
    while (await shop.stock()).free < ROWS * SEATS - 1:
        assert time.monotonic() < deadline
        await asyncio.sleep(0.05)


async def _logged(caplog, word):
    deadline = time.monotonic() + 5
    while word not in caplog.text:
        assert time.monotonic() < deadline
        await asyncio.sleep(0.05)


async def test_a_shutdown_that_fails_leaves_nothing(client, stack):
    """Whatever the body of the lifespan raises, nobody observes afterwards and connections are closed."""
    app = create_app(stack.url, rows=1, seats=1)
    with pytest.raises(ZeroDivisionError):
        async with app.router.lifespan_context(app):
            raise ZeroDivisionError
    assert Dispatcher.script is _plain
    assert AtomicRedisModel.Meta.redis is None


async def test_a_row_sells_out(client, stack):
    """Who comes when all seats are taken is told so."""
    app = create_app(stack.url, rows=1, seats=1)
    async with app.router.lifespan_context(app):
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url="http://shop") as web:
            first, second = await asyncio.gather(*[web.post("/shop/row-1/reserve?buyer=x") for _ in range(2)])
    assert sorted((first.status_code, second.status_code)) == [200, 409]


async def test_the_news(app):
    """Each event is the stock, the rate and the queue, as JSON."""
    event = await anext(app.state.service.news())
    assert event.endswith("\n\n")
    assert json.loads(event.removeprefix("data: ")).keys() == {"free", "held", "sold", "waiting", "rate"}


@pytest.mark.slow
def test_the_demo(client, stack):
    """`make demo-service` with thousands of buyers: its exit code is 0 and its line says that nothing was oversold."""
    command = [sys.executable, str(Path(load.__file__)), "--buyers", "2000"]
    env = {**os.environ, "RAPYER_URL": stack.url}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=env)
    assert (done.returncode, done.stderr) == (0, "")
    shop = done.stdout.splitlines()[-1]
    assert re.match(r"shop +2000 buyers .* oversold +0 ", shop), shop


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium: apt install chromium")
async def test_the_page_in_a_browser(client, stack, tmp_path):
    """The page shows the rush while it goes on, ends with the true numbers, and logs no error."""
    app = create_app(stack.url, rows=ROWS, seats=SEATS, hold_seconds=5)
    port = free_port()
    opened, moved = asyncio.Event(), asyncio.Event()
    tell = [partial(asyncio.get_running_loop().call_soon_threadsafe, event.set) for event in (opened, moved)]
    async with served(app, port):
        watch = asyncio.to_thread(_watch, f"http://127.0.0.1:{port}/", tmp_path / "shop.png", *tell)
        seen = asyncio.create_task(watch)
        await asyncio.wait_for(opened.wait(), 90)
        await Rush(app, "shop", 300).run()
        await asyncio.wait_for(moved.wait(), 60)  # however seldom a slow browser has its turn
        await Rush(app, "shop", 700).run()
        shown, errors = await seen
        stock = await app.state.service.shops["shop"].stock()
    sold = [row["sold"] for row in shown]
    assert errors == []
    assert sold[-1] == stock.sold > SEATS
    assert len(set(sold)) > 2  # it moved
    assert max(row["rate"] for row in shown) > 10
    assert max(row["waiting"] for row in shown) > 0
    assert (tmp_path / "shop.png").stat().st_size > 10_000


def _watch(
    url: str, picture: Path, opened: Callable[[], object], moved: Callable[[], object]
) -> tuple[list[dict[str, int]], list[object]]:
    """Look at the page until nothing has been sold for a while; return what it showed, each change of it.

    Tell when it is there, and when it showed that something was sold.
    """
    shown: list[dict[str, int]] = []
    with browser() as page:
        page.open(url)
        deadline = time.monotonic() + 60
        while not page.ask(REMEMBER):
            assert time.monotonic() < deadline
            time.sleep(0.1)
        opened()
        while time.monotonic() < deadline:
            time.sleep(0.25)
            shown += page.ask("remembered.splice(0)")
            if not shown:
                continue
            if shown[-1]["sold"] > 0:
                moved()
            if shown[-1]["waiting"] > 3 and shown[-1]["sold"] > SEATS:
                page.picture(picture)
            if len(shown) > 20 and shown[-1]["sold"] > 0 and len({row["sold"] for row in shown[-15:]}) == 1:
                break
        if not picture.exists():
            page.picture(picture)
        if PICTURE:
            Path(PICTURE).write_bytes(picture.read_bytes())
        return shown, page.errors
