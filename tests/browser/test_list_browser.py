"""The viewer's list of runs in a real browser: sorted, searched, kept up to date; and what axe finds on each page."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

import pytest
from reporting import examinations, report_run, write_ledger

from unsaf_async.report.viewer import Viewer

pytestmark = pytest.mark.browser

AXE = Path(__file__).parents[2] / ".venv" / "axe" / "node_modules" / "axe-core" / "axe.min.js"
"""Deque's axe-core, pinned in the Makefile."""

NAMES = (
    "[...document.querySelectorAll('#runs tbody tr:not([hidden]) a[href^=\"/run/\"]')].map((each) => each.textContent)"
)


@pytest.fixture
def runs(tmp_path):
    """A folder of three runs: two whole ones, of which the first has the higher score, and one under way."""
    for name, images, seed in (("first", 6, 3), ("second", 4, 8), ("third", 3, 5)):
        (tmp_path / name).mkdir()
        examined = examinations(tmp_path / name, images, 6, seed=seed)
        more = {"images": 9} if name == "third" else {}
        report_run(tmp_path / "runs" / name, examined, name=f"model of {name}", beside=name != "third", **more)
    write_ledger(tmp_path / "runs" / "third" / "ledger.jsonl", 30, ended=False)
    return tmp_path / "runs"


async def test_the_list_is_sorted_by_what_it_says_searched_and_compared(browser, runs):
    async with Viewer(runs) as viewer:
        await asyncio.to_thread(browser.show, viewer.url)
        await asyncio.to_thread(browser.ready)
        await asyncio.to_thread(browser.click, "thead th:nth-child(5) button")
        assert await asyncio.to_thread(browser.run, NAMES) == ["first", "second", "third"]
        assert await asyncio.to_thread(browser.text, "#runs caption") == "Sorted by images, descending"
        await asyncio.to_thread(browser.click, "thead th:nth-child(5) button")
        assert await asyncio.to_thread(browser.run, NAMES) == ["third", "second", "first"]
        assert await asyncio.to_thread(browser.run, "document.querySelectorAll('[aria-sort=ascending]').length") == 1
        assert await asyncio.to_thread(browser.run, "document.querySelector('#compare').disabled")
        await asyncio.to_thread(browser.press, "/", "of", " ", "second")
        assert await asyncio.to_thread(browser.run, NAMES) == ["second"]
        assert await asyncio.to_thread(browser.text, "#found") == "1 of 3 runs"
        for name in ("second", "first"):
            await asyncio.to_thread(browser.click, f"input[value='{name}']")
        assert await asyncio.to_thread(browser.text, "#found") == "1 of 3 runs, 2 chosen"
        await asyncio.to_thread(browser.click, "#compare")
        await asyncio.to_thread(browser.ready)
        assert "Side by side" in await asyncio.to_thread(browser.texts, "caption")
        assert await asyncio.to_thread(browser.complaints) == []


async def test_the_list_keeps_up_with_a_run_and_keeps_what_is_chosen(browser, runs):
    journal = runs / "third" / "journal.jsonl"
    lines = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(lines[0])
    cell = "document.querySelector('#runs a[href=\"/run/third\"]').closest('tr').children[4].textContent"
    async with Viewer(runs) as viewer:
        await asyncio.to_thread(browser.show, viewer.url)
        await asyncio.to_thread(browser.ready)
        assert await asyncio.to_thread(browser.run, cell) == "1 of 9"
        await asyncio.to_thread(browser.click, "input[value='third']")
        with journal.open("ab") as file:
            file.writelines(lines[1:])
        await asyncio.to_thread(browser.until, f"{cell} === '3 of 9'")
        assert await asyncio.to_thread(browser.run, "document.querySelector('input[value=third]').checked")
        shutil.copytree(runs / "first", runs / "fourth")
        await asyncio.to_thread(browser.until, "document.querySelectorAll('#runs tbody tr').length === 4")


# --- who uses a keyboard, or hears the page --------------------------------------------------------------------------


def found_by_axe(browser) -> list[str]:
    """What axe finds of WCAG 2.2 A and AA, and of what it calls best practice: rule and first element."""
    if not AXE.is_file():
        pytest.skip("axe-core is not installed; `make test-browser` does it where there is npm")
    browser.driver.execute_script(AXE.read_text("utf-8"))
    found = browser.driver.execute_async_script("axe.run().then(arguments[arguments.length - 1])")
    return [
        f"{each['id']}: {each['nodes'][0]['html'][:160]}: {each['nodes'][0]['failureSummary'][:200]}"
        for each in found["violations"]
    ]


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("name", ["one", "two", "labelled", "pope"])
def test_axe_finds_nothing_in_a_report(browser, pages, name, dark):
    browser.show((pages / f"{name}.html").as_uri(), dark=dark)
    browser.ready()
    assert found_by_axe(browser) == []


@pytest.mark.parametrize("path", ["", "live/third", "run/first"])
async def test_axe_finds_nothing_in_the_viewer(browser, runs, path):
    async with Viewer(runs) as viewer:
        await asyncio.to_thread(browser.show, f"{viewer.url}{path}", width=400)
        await asyncio.to_thread(browser.until, "document.querySelector('h1') !== null")
        assert await asyncio.to_thread(found_by_axe, browser) == []


def test_a_table_that_is_wider_than_a_phone_says_so(browser, pages):
    browser.show((pages / "one.html").as_uri(), width=400)
    browser.ready()
    wide = "[...document.querySelectorAll('.scroll')].filter((each) => each.scrollWidth > each.clientWidth + 1)"
    browser.until(f"{wide}.length > 0 && {wide}.every((each) => each.hasAttribute('data-scrolls'))")
    told = f"getComputedStyle({wide}[0], '::before').content"
    assert "scrolls sideways" in browser.run(told)
    widths = "[...document.querySelectorAll('.scroll caption')].map((each) => each.getBoundingClientRect().right)"
    assert max(browser.run(widths)) <= 400, "what a table is about is read without scrolling"
    browser.size(1280, 900)
    browser.until("document.querySelectorAll('.scroll[data-scrolls]').length === " + f"{wide}.length")


def test_on_a_phone_every_part_is_a_link_in_sight_and_badges_are_told_in_words(browser, pages):
    browser.show((pages / "two.html").as_uri(), width=400)
    browser.ready()
    inside = "[...document.querySelectorAll(arguments[0])].every((each) => each.getBoundingClientRect().right <= 400)"
    assert browser.run(inside, ".bar nav a")
    assert browser.run(inside, ".half th, .half td"), "both runs stand side by side, whatever their names"
    assert browser.texts("#questions .legend .badge") == ["TA", "FU", "TU", "FA", "open"]
    assert "FA false answerable" in browser.text("#questions .legend")
    browser.show((pages / "pope.html").as_uri(), width=400)
    browser.ready()
    assert browser.texts(".legend") == [], "where no badge is shown none is explained"


async def test_the_list_on_a_phone_says_that_it_scrolls(browser, runs):
    async with Viewer(runs) as viewer:
        await asyncio.to_thread(browser.show, viewer.url, width=400)
        await asyncio.to_thread(browser.ready)
        await asyncio.to_thread(browser.until, "document.querySelector('#runs .scroll[data-scrolls]') !== null")
        assert await asyncio.to_thread(browser.run, "document.documentElement.scrollWidth") == 400
