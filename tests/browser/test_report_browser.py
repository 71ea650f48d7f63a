"""The report in a real browser: it works by mouse, keyboard and address, fits every window, and asks nobody for anything."""

from __future__ import annotations

import asyncio
import itertools
import json
import shutil
from urllib.parse import quote

import pytest
from reporting import HOSTILE, examinations, report_run, write_ledger

from unsaf_async.report.markup import clean
from unsaf_async.report.page import render
from unsaf_async.report.viewer import Viewer

pytestmark = pytest.mark.browser

ESCAPE, DOWN, END, HOME = "\ue00c", "\ue015", "\ue010", "\ue011"


@pytest.fixture
def one(browser, pages):
    """The report on one run, loaded."""
    browser.show((pages / "one.html").as_uri())
    browser.ready()
    return browser


def chosen(browser) -> str:
    return browser.text("#list [aria-selected='true'] .q")


# --- no harm ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["one", "two", "hostile", "labelled", "pope"])
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_a_report_asks_nobody_for_anything_and_the_console_stays_silent(browser, pages, name, dark):
    browser.show((pages / f"{name}.html").as_uri(), dark=dark)
    browser.ready()
    browser.press("j", "j", "j")
    assert (
        browser.run("performance.getEntriesByType('resource').filter((each) => !each.name.startsWith('data:'))") == []
    )
    assert [address for address in browser.requests() if not address.endswith(f"{name}.html")] == []
    assert browser.complaints() == []


def test_what_a_model_says_stays_text(browser, pages):
    browser.show((pages / "hostile.html").as_uri())
    browser.ready()
    title = browser.driver.title
    seen = []
    for _ in range(len(HOSTILE)):
        seen.append(
            (browser.text("#detail .question"), browser.text("#detail .response"), browser.text("#detail .mono"))
        )
        browser.press("j", "j", "j")
    for (text, response, image), (place, evil) in zip(seen, enumerate(HOSTILE), strict=True):
        expected = evil.replace("\x7f", "\ufffd").replace("\ud800", "\ufffd").replace("\uffff", "\ufffd")
        assert text == response == expected
        assert image == f"{place} {expected}"
    assert browser.driver.title == title
    assert browser.run("document.querySelectorAll('iframe, object, embed, link, base, form, video, audio').length") == 0
    assert browser.run("document.querySelectorAll('#detail svg, #list svg, #detail script').length") == 0
    assert browser.run("[...document.images].every((each) => each.src.startsWith('data:image/'))")
    handlers = (
        "[...document.querySelectorAll('*')].some((each) => [...each.attributes].some((a) => a.name.startsWith('on')))"
    )
    assert not browser.run(handlers)
    assert clean(HOSTILE[0]) in browser.text("h1")


def test_an_override_of_the_direction_turns_nothing_and_arabic_starts_at_the_right(browser, tmp_path):
    arabic, evil = "ما لون المظلة؟", "left \u202e right \u2067 end"
    (examined,) = examinations(tmp_path, 1, 2)
    asked = [each.model_copy(update={"text": evil, "response": f"{arabic}\n{evil}"}) for each in examined.questions]
    run = report_run(tmp_path / "run", [examined.model_copy(update={"questions": tuple(asked)})], name=evil)
    (tmp_path / "page.html").write_text(render([run]), "utf-8")
    browser.show((tmp_path / "page.html").as_uri())
    browser.ready()
    lefts = """((element) => [...element.childNodes].filter((each) => each.nodeType === 3).map((each) => {
        const range = document.createRange();
        range.selectNodeContents(each);
        return range.getBoundingClientRect().left;
    }))(document.querySelector(arguments[0]))"""
    for selector in ("#detail .question", "h1 .said"):
        first, second, third = browser.run(lefts, selector)
        assert first < second < third
        assert browser.text(selector) == evil
    first_line = "document.querySelector('#detail .response').firstChild"
    place = f"""((node, box) => {{
        const range = document.createRange();
        range.setStart(node, 0);
        range.setEnd(node, 1);
        return range.getBoundingClientRect().right > box.right - 30;
    }})({first_line}, document.querySelector('#detail .response').getBoundingClientRect())"""
    assert browser.run(place)


def test_a_script_that_somebody_slips_into_the_page_does_not_run(browser, pages):
    page = (pages / "one.html").read_text("utf-8")
    evil = "<script>document.title = 'broken'</script><img src='https://example.com/x.png' onerror=\"document.title='broken'\">"
    (pages / "slipped.html").write_text(page.replace("<main", f"{evil}<main"), "utf-8")
    browser.show((pages / "slipped.html").as_uri())
    browser.ready()
    assert browser.driver.title != "broken"
    assert len([line for line in browser.complaints() if "Content Security Policy" in line]) >= 2


# --- finding questions -----------------------------------------------------------------------------------------------


def test_filters_keep_what_they_say(one):
    told = json.loads(one.text("#run-0"))
    one.choose("#f-type", "false answerable")
    wanted = [text for text, code in zip(told["text"], told["type"], strict=True) if told["types"][code] == "fa"]
    assert one.text("#found") == f"{len(wanted)} of {len(told['text'])} questions"
    assert set(one.texts("#list .badge")) == {"FA"}
    one.choose("#f-kind", "temporal")
    both = [
        place
        for place, code in enumerate(told["type"])
        if told["types"][code] == "fa" and told["kinds"][told["kind"][place]] == "temporal"
    ]
    assert one.text("#found").startswith(f"{len(both)} of ")
    one.click("#clear")
    assert one.text("#found") == f"{len(told['text'])} questions"
    one.choose("#f-outcome", "truncated")
    assert one.text("#found").startswith("10 of ")
    assert set(one.texts("#list .badge")) == {"open"}
    one.click("#clear")
    one.choose("#f-decider", "panel")
    assert one.text("#detail .facts").count("the panel of judges") == 1


def test_contradicted_labels_are_one_click_away(one):
    told = json.loads(one.text("#run-0"))
    count = [told["audits"][code] for code in told["audit"]].count("contradicted")
    one.click("button[data-filter='audit=contradicted']")
    assert one.text("#found") == f"{count} of {len(told['text'])} questions"
    assert "contradicted by an auditor" in one.text("#detail .facts")
    one.choose("#f-audit", "confirmed")
    assert one.text("#found").startswith(f"{len(told['text']) - count} of ")
    assert not one.run("document.querySelector('#f-truth').checkVisibility()")


def test_right_and_wrong_can_be_told_apart_in_a_labelled_run(browser, pages):
    browser.show((pages / "labelled.html").as_uri())
    browser.ready()
    told = json.loads(browser.text("#run-0"))
    wrong = [told["truths"][code] for code in told["truth"]].count("wrong")
    browser.click("button[data-filter='truth=wrong']")
    assert browser.text("#found") == f"{wrong} of {len(told['text'])} questions"
    assert set(browser.texts("#list .mark")) == {"\u2717"}
    browser.choose("#f-type", "true answerable")
    facts = browser.text("#detail .facts")
    assert facts.startswith("Right or wrongwrongTypetrue answerableIn truthanswerable")
    assert "Accepted answers" in facts
    browser.choose("#f-truth", "right")
    assert set(browser.texts("#list .mark")) == {"\u2713"}
    assert not browser.run("document.querySelector('#f-audit').checkVisibility()")


def test_a_yes_no_question_is_right_or_wrong_and_of_no_type(browser, pages):
    browser.show((pages / "pope.html").as_uri())
    browser.ready()
    assert not browser.run("document.querySelector('#f-type').checkVisibility()")
    assert set(browser.texts("#list .mark")) == {"right", "wrong"}
    assert browser.texts("#list .badge") == []
    assert "Type" not in browser.texts("#detail dt")
    browser.choose("#f-truth", "wrong")
    assert set(browser.texts("#list .mark")) == {"wrong"}
    assert browser.run("document.querySelector('#detail .response').className.includes('wrong')")


def test_search_finds_questions_responses_and_image_names(one):
    for words, least in (("NUMBER 3 OF", 30), ("image-0007", 8), ("it is a cat", 10)):
        one.run("(document.querySelector('#search').focus(), document.querySelector('#search').value = '')")
        one.press(words)
        assert int(one.text("#found").split()[0]) >= least
        assert one.text("#found").split()[1] == "of"
    one.press(" no such words anywhere")
    assert one.text("#found") == "0 of 240 questions"
    assert one.text("#list .empty") == "No question passes the filters."
    assert one.text("#detail .empty") == "Nothing is chosen."


def test_what_the_summary_counts_is_one_click_away(one):
    count = one.text(".cell.tu b")
    one.click(".cell.tu")
    assert one.text("#found").split()[0] == count
    assert set(one.texts("#list .badge")) == {"TU"}


def test_the_keyboard_is_enough(one):
    assert "number 0" in chosen(one)
    one.press("j", "j")
    assert "number 2" in chosen(one)
    one.press("k")
    assert "number 1" in chosen(one)
    assert one.text("#detail .question") == chosen(one)
    one.press("/")
    assert one.run("document.activeElement.id") == "search"
    one.press("jk?")
    assert one.run("document.querySelector('#search').value") == "jk?"
    one.press(ESCAPE)
    assert one.run("document.activeElement.id") != "search"
    one.click("#clear")
    one.press("?")
    assert one.run("document.querySelector('#help').open")
    one.press(ESCAPE)
    assert not one.run("document.querySelector('#help').open")
    one.run("document.querySelector('#list').focus()")
    one.press(HOME, DOWN)
    assert "number 1" in chosen(one)
    one.press(END)
    assert one.text("#detail .mono") == "image-0029.png"
    assert one.run("document.querySelector('#list').getAttribute('aria-activedescendant')") == "q-239"
    one.press(DOWN)
    assert one.text("#detail .mono") == "image-0029.png"


def test_an_address_leads_to_its_question_and_follows_the_choice(one, pages):
    address = (pages / "one.html").as_uri()
    one.show(f"{address}#{quote('image-0011.png')}/4")
    one.ready()
    assert one.text("#detail .mono") == "image-0011.png"
    assert "number 3" in chosen(one)
    assert one.run("Math.abs(document.querySelector('#questions').getBoundingClientRect().top) < 200")
    one.press("j")
    assert one.run("location.hash") == "#image-0011.png/5"
    for hopeless in ("#nowhere.png/1", "#image-0011.png/99", "#%E0%A4%A/1", "#a/b/c/d"):
        one.show(address + hopeless)
        one.ready()
        assert one.text("#detail .mono") == "image-0000.png"
    assert one.complaints() == []


def test_every_hostile_image_name_has_an_address_that_works(browser, pages):
    address = (pages / "hostile.html").as_uri()
    browser.show(address)
    browser.ready()
    names = [image["id"] for image in json.loads(browser.text("#run-0"))["images"]]
    for name in names:
        browser.run("location.hash = `${encodeURIComponent(arguments[0])}/2`", name)
        browser.until("document.querySelector('#detail .mono').textContent === " + json.dumps(name))


def test_the_questions_of_each_run_can_be_chosen(browser, pages):
    browser.show((pages / "two.html").as_uri())
    browser.ready()
    assert browser.text("#found") == "240 questions"
    browser.choose("#f-run", "second model")
    assert browser.text("#found") == "60 questions"
    browser.press(ESCAPE, "j")  # a list of choices keeps letters to itself
    assert browser.run("location.hash") == "#second%20model/image-0000.png/2"
    browser.show((pages / "two.html").as_uri() + "#second%20model/image-0003.png/2")
    browser.ready()
    assert browser.text("#found") == "60 questions"
    assert browser.text("#detail .mono") == "image-0003.png"


def test_only_the_rows_in_sight_exist_and_scrolling_brings_the_others(one):
    assert one.run("document.querySelectorAll('#list .row').length") < 30
    one.run("document.querySelector('#list').scrollTop = 68 * 100")
    one.until("document.querySelector('#q-102') !== null && document.querySelector('#q-0') === null")
    assert one.run("document.querySelector('#q-102').getAttribute('aria-posinset')") == "103"


# --- looks -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["one", "two", "hostile", "labelled", "pope"])
@pytest.mark.parametrize("width", [320, 400, 768, 1280])
def test_nothing_is_wider_than_the_window(browser, pages, name, width):
    browser.show((pages / f"{name}.html").as_uri(), width=width)
    browser.ready()
    assert browser.run("document.documentElement.scrollWidth") <= width
    too_wide = """[...document.querySelectorAll('main *, footer *')].filter((each) => each.checkVisibility()
        && !each.closest('.scroll, .list, svg, .hidden, dialog')
        && each.getBoundingClientRect().right > innerWidth + 1).map((each) => each.outerHTML.slice(0, 120))"""
    assert browser.run(too_wide) == []


def test_text_in_plots_is_legible_on_a_phone(browser, pages):
    browser.show((pages / "one.html").as_uri(), width=400)
    browser.ready()
    smallest = """Math.min(...[...document.querySelectorAll('svg.plot')].filter((plot) => plot.checkVisibility()).map(
        (plot) => plot.getBoundingClientRect().width / plot.viewBox.baseVal.width * 12))"""
    assert browser.run(smallest) >= 9  # px


def test_dark_and_light_follow_the_system_until_somebody_chooses(browser, pages):
    ground = "getComputedStyle(document.body).backgroundColor"
    ink = "getComputedStyle(document.querySelector('svg.plot .f-ink')).fill"
    address = (pages / "one.html").as_uri()
    browser.show(address)
    light = (browser.run(ground), browser.run(ink))
    browser.show(address, dark=True)
    dark = (browser.run(ground), browser.run(ink))
    assert light == ("rgb(255, 255, 255)", "rgb(27, 30, 35)")
    assert dark == ("rgb(21, 23, 26)", "rgb(233, 234, 236)")
    browser.click("#theme")
    assert browser.text("#theme") == "Theme: light"
    assert browser.run(ground) == light[0]
    browser.show(address, dark=True)
    assert browser.run(ground) == light[0]
    browser.click("#theme")
    browser.click("#theme")
    assert browser.text("#theme") == "Theme: auto"
    assert browser.run(ground) == dark[0]


def test_paper_is_light_and_shows_the_figures_without_the_controls(browser, pages):
    browser.show((pages / "one.html").as_uri(), dark=True)
    browser.ready()
    browser.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    try:
        assert browser.run("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
        for hidden in (".bar", ".filters", ".explorer", "#help"):
            assert not browser.run("document.querySelector(arguments[0]).checkVisibility()", hidden)
        assert browser.run("document.querySelector('.value').checkVisibility()")
        assert browser.run("document.querySelector('.only-print').checkVisibility()")
    finally:
        browser.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})


def test_everything_to_press_has_a_name_and_shows_the_focus(one):
    nameless = """[...document.querySelectorAll('button, select, input, [role=listbox], [role=region], svg[role=img]')]
        .filter((each) => !(each.textContent.trim() || each.labels?.length || each.getAttribute('aria-label')))
        .map((each) => each.outerHTML.slice(0, 120))"""
    assert one.run(nameless) == []
    assert one.run("[...document.images].every((each) => each.hasAttribute('alt'))")
    one.press("\ue004", "\ue004")
    assert one.run("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    headings = one.run("[...document.querySelectorAll('h1, h2, h3')].map((each) => Number(each.tagName[1]))")
    assert headings[0] == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(headings))


# --- the viewer ------------------------------------------------------------------------------------------------------


async def test_the_live_page_keeps_up_with_a_run_until_it_ends(browser, pages, tmp_path):
    run = tmp_path / "runs" / "live <b>run"
    shutil.copytree(pages / "runs" / "one", run)
    journal = (run / "journal.jsonl").read_bytes().splitlines(keepends=True)
    (run / "journal.jsonl").write_bytes(b"".join(journal[:3]))
    write_ledger(run / "ledger.jsonl", 60, ended=False)
    async with Viewer(tmp_path / "runs") as viewer:
        await asyncio.to_thread(browser.show, viewer.url)
        assert await asyncio.to_thread(browser.texts, "a[href^='/live/']") == ["running"]
        await asyncio.to_thread(browser.show, f"{viewer.url}live/{quote(run.name, safe='')}")
        await asyncio.to_thread(browser.until, "document.querySelector('#images').textContent.startsWith('3 of 30')")
        with (run / "journal.jsonl").open("ab") as file:
            file.writelines(journal[3:])
        await asyncio.to_thread(browser.until, "document.querySelector('#images').textContent.startsWith('30 of 30')")
        with (run / "ledger.jsonl").open("a") as file:
            file.write('{"what": "end", "t": 1790000100}\n')
        await asyncio.to_thread(browser.until, "document.querySelector('#state').textContent === 'It has ended.'")
        assert await asyncio.to_thread(browser.complaints) == []
        asked = await asyncio.to_thread(browser.requests)
        assert all(address.startswith(viewer.url) for address in asked)
        await asyncio.to_thread(browser.show, f"{viewer.url}run/{quote(run.name, safe='')}")
        await asyncio.to_thread(browser.ready)
        assert await asyncio.to_thread(browser.text, "#found") == "240 questions"
        assert await asyncio.to_thread(browser.complaints) == []
