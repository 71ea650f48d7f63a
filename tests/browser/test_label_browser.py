"""Labelling in a real browser: by keyboard alone, blind, and each label on disk at once."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from driving import draw_images
from truths import measure, scripted_model

from unsaf_async.checks.trusted import Labelling
from unsaf_async.report.label_page import LabelPage
from unsaf_async.runs.folder import reopen
from unsaf_async.runs.saved import SavedRun
from unsaf_async.runs.trusted_labels import read_labels

pytestmark = pytest.mark.browser

BACKSPACE = "\ue003"


@pytest.fixture
async def labelling(tmp_path, monkeypatch):
    """The labelling of a run over three images."""
    monkeypatch.chdir(tmp_path)
    scripted_model("ada")
    await measure("ada", draw_images(Path("images"), 3), Path("run"), questions=3)
    with reopen(Path("run")) as folder, Labelling(folder, "Ann") as opened:
        yield opened


def lines() -> list[dict[str, str | None]]:
    return [json.loads(line) for line in Path("run/labels.jsonl").read_text("utf-8").splitlines()]


async def test_labels_are_given_and_taken_back_by_keys_alone_and_are_on_disk_at_once(browser, labelling):
    order = list(labelling.unlabelled())
    texts = [labelling.look_up(each)[1].text for each in order]
    responses = {each.response for examination in SavedRun(Path("run")).examinations for each in examination.questions}

    async def press(*keys: str) -> None:
        await asyncio.to_thread(browser.press, *keys)
        await asyncio.to_thread(browser.ready)

    async def asked() -> str:
        return await asyncio.to_thread(browser.text, "#question")

    async with LabelPage(labelling, 4) as served:
        await asyncio.to_thread(browser.show, served.url)
        await asyncio.to_thread(browser.ready)
        assert await asked() == texts[0]
        wide = await asyncio.to_thread(browser.run, "document.querySelector('#picture').naturalWidth")
        assert wide == labelling.look_up(order[0])[0].width
        page = await asyncio.to_thread(browser.run, "document.documentElement.outerHTML")
        assert not any(response and response in page for response in responses)
        assert "intended" not in page
        for key, label, number in (("1", "answerable", 1), ("u", "unanswerable", 2), ("?", "cannot-say", 3)):
            await press(key)
            assert await asked() == texts[number]
            assert (lines()[-1]["label"], lines()[-1]["question"]) == (label, texts[number - 1])
        await press(BACKSPACE)
        assert await asked() == texts[2]
        assert lines()[-1]["label"] is None
        await press(BACKSPACE)
        await press("a")
        await press("x")  # no such key
        assert await asked() == texts[2]
        assert "2 of" in await asyncio.to_thread(browser.text, "#count")
        assert [line["source"] for line in lines()] == ["Ann"] * 6
        assert await asyncio.to_thread(browser.run, "document.querySelector('#undo').disabled") is False
        assert await asyncio.to_thread(browser.complaints) == []
        assert all(address.startswith(served.url) for address in await asyncio.to_thread(browser.requests))
    kept = {key: each.label for key, each in read_labels(Path("run/labels.jsonl")).items()}
    assert kept == {order[0].key: "answerable", order[1].key: "answerable"}


def change_images() -> None:
    for file in Path("images").iterdir():
        file.write_bytes(file.read_bytes() + b"changed")


async def test_an_image_that_cannot_be_shown_leaves_only_cannot_say_and_the_end_is_told(browser, labelling):
    change_images()
    async with LabelPage(labelling, 4) as served:
        await asyncio.to_thread(browser.show, served.url)
        await asyncio.to_thread(browser.ready)
        assert "the file has changed since the run" in await asyncio.to_thread(browser.text, "#image-why")
        assert await asyncio.to_thread(browser.texts, "[data-label]:not([disabled])") == ["3 Cannot say"]
        await asyncio.to_thread(browser.press, "1")
        assert not lines()
        for _ in range(len(labelling.by_key)):
            await asyncio.to_thread(browser.press, "3")
            await asyncio.to_thread(browser.ready)
        assert await asyncio.to_thread(browser.text, "#question") == "Every question of this run has a label."
        assert len(lines()) == len(labelling.by_key)
