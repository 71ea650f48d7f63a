"""Controls through the engine: the same questions without what answers them, each counted, paid and kept once."""

from __future__ import annotations

import asyncio
import json
import re
from base64 import b64decode
from dataclasses import dataclass, field
from hashlib import sha256
from io import BytesIO
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from aiohttp import web
from cluster.in_process import Workers
from commandline import command
from PIL import Image
from serving import serve_requests
from truths import Measured, measure, resume, served_model

from unsaf_async.calls.ledger import read_account
from unsaf_async.errors import UserError
from unsaf_async.runs.begin import begin
from unsaf_async.runs.estimate import estimate, estimate_more
from unsaf_async.runs.folder import reopen
from unsaf_async.runs.journal import read_journal
from unsaf_async.runs.prepare import prepare
from unsaf_async.runs.runner import Runner
from unsaf_async.runs.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from unsaf_async.records import Control, Examination
    from unsaf_async.runs.findings import Findings

BOTH = ("blank", "other")
WRITES = re.compile(r"\bwrite (\d+) different questions")
DECLINES, ANSWERS = "I cannot tell: the image does not show it.", "It is blue."


@dataclass
class Onlooker:
    """A model that writes into each question which picture it is about, so that it can tell later whether that is shown.

    declines: "always", "never", or "unshown": where the question is about another picture. Its unanswerable questions are about
    none. broken: it has no reply to a question about a picture of one colour.
    """

    declines: str = "unshown"
    broken: bool = False
    bodies: list[dict[str, Any]] = field(default_factory=list)

    async def handle(self, request: web.Request) -> web.Response:
        """One chat completion."""
        body = await request.json()
        self.bodies.append(body)
        prompt = text_of(body)
        own = digest(picture_of(body))
        if wanted := WRITES.search(prompt):
            about = "nothing" if "UNANSWERABLE" in prompt else own
            texts = [f"What color is lamp {number} of {about}?" for number in range(1, int(wanted[1]) + 1)]
            return completion(json.dumps({"questions": [{"question": text} for text in texts]}))
        if self.broken and is_blank(picture_of(body)):
            return web.json_response({"error": {"message": "broken", "code": 500}}, status=500)
        unshown = own not in prompt
        declined = {"always": True, "never": False, "unshown": unshown}[self.declines]
        return completion(DECLINES if declined else ANSWERS)

    def questions(self) -> list[dict[str, Any]]:
        """The bodies that ask a question."""
        return [body for body in self.bodies if not WRITES.search(text_of(body))]


def completion(text: str) -> web.Response:
    usage = {"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 110}
    choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text}}
    return web.json_response({"id": "1", "model": "onlooker", "choices": [choice], "usage": usage})


def text_of(body: dict[str, Any]) -> str:
    return next(part["text"] for part in body["messages"][0]["content"] if part["type"] == "text")


def picture_of(body: dict[str, Any]) -> bytes:
    url = next(part["image_url"]["url"] for part in body["messages"][0]["content"] if part["type"] == "image_url")
    return b64decode(url.partition(",")[2])


def digest(picture: bytes) -> str:
    return sha256(picture).hexdigest()[:12]


def is_blank(picture: bytes) -> bool:
    with Image.open(BytesIO(picture)) as image:
        return all(low == high for low, high in image.convert("RGB").getextrema())


def pictures(folder: Path, number: int, size: tuple[int, int] = (40, 30)) -> list[Path]:
    """So many pictures in two colours, all different."""
    folder.mkdir(parents=True, exist_ok=True)
    files = [folder / f"{index:04d}.png" for index in range(number)]
    for index, file in enumerate(files):
        image = Image.new("RGB", size, (index, 40, 90))
        image.paste((250, 240, 230), (5, 5, 20, 20))
        image.save(file)
    return files


async def run_of(model: Onlooker, folder: Path, images: int = 6, **options: Any) -> Measured:
    async with serve_requests(model.handle) as url:
        served_model("onlooker", f"{url}/v1", (2.5, 10), attempts=1)
        files = pictures(folder / "images", images)
        return await measure("onlooker", files, folder / "run", judge="rules", **{"controls": BOTH, **options})


async def go_on(model: Onlooker, out: Path, **more: Any) -> Measured:
    async with serve_requests(model.handle) as url:
        with reopen(out) as folder:  # the server has another address now, as a restarted one may
            manifest = folder.manifest
            subject = manifest.subject.model_copy(update={"endpoint": f"{url}/v1"})
        return await resume(out, cache="", subject=subject, **more)


def asked_again(kept: Sequence[Examination]) -> dict[tuple[str, str], Control]:
    """The controls by image and question."""
    return {(each.image.id, q.text): q.control for each in kept for q in each.questions if q.control is not None}


def told(kept: Sequence[Examination]) -> list[tuple[str, str, str, str, str]]:
    """What was asked again, about which picture, and what was said."""
    controls = asked_again(kept).items()
    return sorted((image, text, each.kind, each.image, each.response) for (image, text), each in controls)


# --- what they show ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("declines", "there", "on_image"), [("always", 1.0, 1.0), ("never", 0.0, 0.0), ("unshown", 1.0, 0.0)]
)
async def test_only_a_model_that_looks_declines_oftener_where_the_evidence_is_gone(
    declines: str, there: float, on_image: float, tmp_path: Path
) -> None:
    found = (await run_of(Onlooker(declines), tmp_path, 8)).found
    assert set(found.controls) == set(BOTH)
    for each in found.controls.values():
        assert (each.asked, each.n, each.unscored) == (8, 8, {})
        assert (each.abstention_rate, each.over_refusal_rate, each.youden) == (there, on_image, there - on_image)
        if declines == "unshown":
            assert each.youden_ci is not None
            assert each.youden_ci[0] > 0.3
        else:
            assert each.why_undefined["youden_ci"] == "the two are equal on every image"
    assert found.over_refusal_rate == on_image


async def test_a_control_is_the_answering_request_with_another_picture(tmp_path: Path) -> None:
    model = Onlooker()
    kept = (await run_of(model, tmp_path)).kept
    bodies = {(text_of(body), digest(picture_of(body))): body for body in model.questions()}
    shown: list[str] = []
    sent = {each.image.id: digest(picture_of(model_body(model, each))) for each in kept}
    for each in kept:
        for question in each.questions:
            if question.control is None:
                continue
            assert question.intended == "answerable"
            mine, others = [], []
            for (prompt, picture), body in bodies.items():
                if f"{question.text}" in prompt:
                    (mine if picture == sent[each.image.id] else others).append(body)
            (answer,), (control,) = mine, others
            assert {**answer, "messages": 0} == {**control, "messages": 0}
            assert text_of(answer) == text_of(control)
            picture = picture_of(control)
            if question.control.kind == "blank":
                assert is_blank(picture)
                with Image.open(BytesIO(picture)) as image:
                    assert image.size == (40, 30)
                    assert image.getpixel((0, 0)) == mean_of(picture_of(answer))
            else:
                assert digest(picture) == sent[question.control.image] != sent[each.image.id]
                shown.append(question.control.image)
    assert sorted(shown) == sorted(sent), "each image stands in another's place once"


def model_body(model: Onlooker, examination: Examination) -> dict[str, Any]:
    """A body with an examination's own picture."""
    first = examination.questions[0].text
    return next(body for body in model.questions() if first in text_of(body) and digest(picture_of(body)) in first)


def mean_of(picture: bytes) -> tuple[int, ...]:
    with Image.open(BytesIO(picture)) as image:
        return tuple(np.asarray(image.convert("RGB")).mean((0, 1)).round().astype(int))


async def test_a_picture_of_one_colour_is_blank_already_and_the_order_of_the_run_says_which_image_is_shown(
    tmp_path: Path,
) -> None:
    files = pictures(tmp_path / "images", 3)
    Image.new("RGB", (40, 30), (1, 2, 3)).save(files[1])
    async with serve_requests(Onlooker().handle) as url:
        served_model("onlooker", f"{url}/v1", (2.5, 10))
        run = await measure("onlooker", files, tmp_path / "run", judge="rules", controls=["blank,other"])
    controls = asked_again(run.kept)
    assert {image for (image, _), each in controls.items() if each.kind == "blank"} == {"0000.png", "0002.png"}
    assert run.found.controls["blank"].without == {"the image is of one colour as it is": 1}
    order = [source.id for source in run.runner.folder.images]
    for (image, _), each in controls.items():
        if each.kind == "other":
            assert each.image == order[(order.index(image) + 1) % 3]
    assert run.runner.unfinished is None


async def test_a_twin_is_not_shown_in_an_images_place_and_a_broken_file_is_passed_over(tmp_path: Path) -> None:
    files = pictures(tmp_path / "images", 4)
    async with serve_requests(Onlooker().handle) as url:
        served_model("onlooker", f"{url}/v1", (2.5, 10))
        prepared = await prepare(Settings("onlooker", images=files, controls="other", out=tmp_path / "plan"))
        first, second, third, _ = (tmp_path / "images" / source.id for source in prepared.images)
        second.write_bytes(first.read_bytes())
        third.write_bytes(third.read_bytes()[:60])
        run = await measure("onlooker", files, tmp_path / "run", judge="rules", controls="other")
    order = [source.id for source in prepared.images]
    shown = {image: each.image for (image, _), each in asked_again(run.kept).items()}
    assert shown == {order[0]: order[3], order[1]: order[3], order[3]: order[0]}


async def of_one_picture(folder: Path, *, spread: bool) -> tuple[Findings, list[Examination], str | None]:
    """A run of three files of one picture: its findings, its examinations, and what is unfinished."""
    files = pictures(folder / "images", 3)
    for file in files[1:]:
        file.write_bytes(files[0].read_bytes())
    async with serve_requests(Onlooker().handle) as url:
        served_model("onlooker", f"{url}/v1", (2.5, 10))
        settings = Settings(
            "onlooker", images=files, judge="rules", questions=3, cache=None, controls=BOTH, out=folder / "run"
        )
        with begin(await prepare(settings)) as opened:
            runner = Runner(opened, spread=Workers(2) if spread else None)
            found = await runner.run()
            return found, list(read_journal(opened.files.journal).values()), runner.unfinished


@pytest.mark.parametrize("spread", [False, True])
def test_a_run_of_one_picture_is_complete_and_counts_what_cannot_have_a_control(
    spread: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found, kept, unfinished = asyncio.run(of_one_picture(tmp_path, spread=spread))
    assert unfinished is None
    why = "the images that follow in the run are the same picture"
    assert [each.uncontrolled for each in kept] == [{"other": why}] * 3
    assert {each.kind for each in asked_again(kept).values()} == {"blank"}
    other = found.controls["other"]
    assert (other.asked, other.n, other.without) == (0, 0, {why: 3})
    assert other.why_undefined["youden"] == "no question was asked again so"
    assert (found.controls["blank"].n, found.controls["blank"].without) == (3, {})
    out = str(tmp_path / "run")
    resumed = command(capsys, "resume", out)
    assert (resumed.code, "nothing is left to ask" in resumed.err) == (0, True)
    assert f"with another image: 3 images have none: {why}" in command(capsys, "show", out).out
    assert command(capsys, "judge", out, "--judge", "rules", "--quiet").code == 0
    compared = command(capsys, "compare", out, str(tmp_path / "run" / "judged" / "rules"))
    assert f"with another image 3 images have none: {why}" in compared.out
    assert command(capsys, "report", out).code == 0
    assert f"3 images have none: {why}" in (tmp_path / "run" / "report.html").read_text("utf-8")


async def test_controls_that_earlier_versions_noted_as_failed_are_mended_by_resuming(tmp_path: Path) -> None:
    run = await run_of(Onlooker(), tmp_path, 3, controls="other")
    files = sorted((tmp_path / "images").iterdir())
    journal = tmp_path / "run" / "journal.jsonl"
    lines = [json.loads(line) for line in journal.read_text().splitlines()]
    for line in lines:
        line.pop("uncontrolled")
        line["image"] |= {
            name: lines[0]["image"][name] for name in ("bytes_sha256", "pixels_sha256", "difference_hash")
        }
        for each in line["questions"]:
            if each["control"]:
                call = {"role": "control", "outcome": "failed"}
                each["control"] = {"kind": "other", "call": call, "unscored": "failed"}
    source = next(file for file in files if file.name == lines[0]["image"]["id"])
    for file in files:
        file.write_bytes(source.read_bytes())
    journal.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert len(asked_again(run.kept)) == 3
    mended = await go_on(Onlooker(), tmp_path / "run")
    assert mended.runner.unfinished is None
    assert asked_again(mended.kept) == {}
    assert sum(mended.found.controls["other"].without.values()) == 3


# --- money, resume, workers -------------------------------------------------------------------------------------------


async def test_controls_are_counted_estimated_and_booked(tmp_path: Path) -> None:
    model = Onlooker()
    run = await run_of(model, tmp_path, controls_per_image=2)
    assert run.found.calls is not None
    assert run.found.calls.by_role["control"] == 6 * 3 == len(asked_again(run.kept)), "of three questions, each once"
    assert run.found.calls.made == len(model.bodies)
    assert run.found.cost_usd == pytest.approx(len(model.bodies) * (100 * 2.5 + 10 * 10) / 1e6)
    settings = Settings("onlooker", images=[tmp_path / "images"], judge="rules", questions=3)
    plain = estimate(await prepare(settings))
    with_controls = Settings(
        "onlooker", images=[tmp_path / "images"], judge="rules", questions=3, controls=BOTH, controls_per_image=2
    )
    more = estimate(await prepare(with_controls))
    assert more.calls - plain.calls == 18
    assert plain.worst_usd < more.worst_usd
    assert run.found.cost_usd <= more.worst_usd


async def test_what_a_finished_run_is_asked_again_later_is_what_it_would_have_been_at_once(tmp_path: Path) -> None:
    at_once = await run_of(Onlooker(), tmp_path / "at-once")
    plain = await run_of(Onlooker(), tmp_path / "later", controls=())
    out = tmp_path / "later" / "run"
    assert plain.found.controls == {}
    with reopen(out) as folder:
        wanted = folder.manifest.model_copy(update={"controls": BOTH})
        assert estimate_more(folder, wanted).calls == 12
    steps: list[tuple[dict[str, Any], int]] = [
        ({"controls": "blank"}, 6), ({"controls": ["blank", "other"]}, 6), ({"controls": "other"}, 0),
        ({"controls_per_image": 2}, 6),
    ]  # fmt: skip
    kept = plain.kept
    for more, calls in steps:
        model = Onlooker()
        gone_on = await go_on(model, out, **more)
        assert len(model.bodies) == calls, more
        before = asked_again(kept)
        assert {key: asked_again(gone_on.kept)[key] for key in before} == before
        kept = gone_on.kept
        if calls == 6 and len(before) == 6:
            assert told(kept) == told(at_once.kept)
    assert read_account(out / "ledger.jsonl").made["control"] == 18


async def test_a_run_that_its_cap_stopped_goes_on_to_the_same_controls(tmp_path: Path) -> None:
    whole = await run_of(Onlooker(), tmp_path / "whole")
    settings = Settings("onlooker", images=[tmp_path / "whole" / "images"], judge="rules", questions=3, controls=BOTH)
    worst = estimate(await prepare(settings)).per_image_worst_usd
    assert whole.found.cost_usd is not None
    cap = (
        worst + 2.5 / 6 * whole.found.cost_usd
    )  # when two images are paid, there is money for a third, and then for none
    model = Onlooker()
    first = await run_of(model, tmp_path / "stopped", max_cost=cap)
    assert len(first.kept) == 3
    assert not [call for each in first.kept for call in each.calls if call.outcome == "failed"]
    assert first.found.cost_usd is not None
    assert first.found.cost_usd <= cap
    rest = Onlooker()
    second = await go_on(rest, tmp_path / "stopped" / "run", max_cost_usd=None)
    assert told(second.kept) == told(whole.kept)
    assert len(model.bodies) + len(rest.bodies) == whole.found.calls.made  # type: ignore[union-attr]


async def test_only_controls_that_failed_are_asked_again(tmp_path: Path) -> None:
    first = await run_of(Onlooker(broken=True), tmp_path)
    assert first.found.controls["blank"].unscored == {"failed": 6}
    assert first.found.controls["blank"].why_undefined["youden"] == "no question has a scored response both times"
    assert first.found.controls["other"].n == 6
    assert first.runner.unfinished == "6 images hold calls that failed"
    mended = Onlooker()
    second = await go_on(mended, tmp_path / "run")
    assert len(mended.bodies) == 6
    assert all(map(is_blank, map(picture_of, mended.bodies)))
    assert second.found.controls["blank"].youden == 1.0
    assert asked_again(first.kept).keys() == asked_again(second.kept).keys()


@pytest.mark.parametrize("elsewhere", [False, True])
async def test_workers_ask_the_same_controls_even_where_they_cannot_read_the_files(
    elsewhere: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = await run_of(Onlooker(), tmp_path / "alone")
    if elsewhere:
        monkeypatch.setattr("unsaf_async.cluster.worker.state_of", lambda _: "not the driver's")
    async with serve_requests(Onlooker().handle) as url:
        served_model("onlooker", f"{url}/v1", (2.5, 10))
        files = pictures(tmp_path / "shared" / "images", 6)
        settings = Settings("onlooker", images=files, judge="rules", questions=3, cache=None, controls=BOTH)
        prepared = await prepare(settings)
        with begin(prepared) as folder:
            found = await Runner(folder, spread=Workers(2)).run()
            kept = list(read_journal(folder.files.journal).values())
    assert told(kept) == told(alone.kept)
    assert found.controls == alone.found.controls


# --- at the command line ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "line"),
    [
        ({"controls": "masked"}, "controls is 'masked'; give blank, other or both with a comma"),
        ({"controls": ["blank", ""]}, "controls is ''; give blank, other or both with a comma"),
        ({"controls": "blank", "controls_per_image": 0}, "controls_per_image is 0; give a whole number from 1 to 50"),
        ({"controls_per_image": 2}, "controls_per_image: is about controls; give controls='KINDS', too"),
        (
            {"controls": "other", "limit": 1},
            "controls='other': shows another image of the run, which has one; give more images, or controls='blank'",
        ),
    ],
)
def test_what_cannot_be_asked_is_one_line(given: dict[str, Any], line: str, tmp_path: Path) -> None:
    settings = Settings("scripted", images=pictures(tmp_path, 2), **given)
    with pytest.raises(UserError) as error:
        asyncio.run(prepare(settings))
    assert str(error.value) == line


def test_a_command_line_of_controls_ends_in_a_table_and_a_report(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pictures(tmp_path / "images", 4)
    out = str(tmp_path / "run")
    measured = ["run", "--provider", "scripted", "--images", str(tmp_path / "images"), "--out", out]
    assert command(capsys, *measured, "--controls", "blank,other", "--controls-per-image", "2").code == 0
    shown = command(capsys, "show", out).out
    assert "asked again with" in shown
    assert re.search(r"^a blank picture +\d\.\d{3}.* 8 +0$", shown, re.MULTILINE)
    assert re.search(r"^another image +\d\.\d{3}.* 8 +0$", shown, re.MULTILINE)
    report = (tmp_path / "run" / "report.html").read_text("utf-8")
    assert "Does it look?" in report
    assert re.search(r"Asked again with another image, it declined [\d.]+% of 8 answerable questions", report)
    again = command(capsys, "resume", out)
    assert again.code == 0
    assert "nothing is left to ask" in again.err


def test_runs_with_controls_are_compared_by_them_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = pictures(tmp_path / "images", 5)
    outs = [tmp_path / name for name in ("looks", "answers", "plain")]
    for folder, declines in zip(outs, ("unshown", "never", "unshown"), strict=True):
        asyncio.run(_measured(declines, files, folder, controls=() if folder.name == "plain" else BOTH))
    out = command(capsys, "compare", *map(str, outs)).out
    rows = [line for line in out.splitlines() if re.search(r"a blank picture|another image", line)]
    assert [row.split()[-1] for row in rows[:4]] == ["5"] * 4
    assert re.search(
        r"n/a for .*: 95 % interval of Youden's J with a blank picture.*: the two are equal on every image", out
    )
    both = command(capsys, "report", *map(str, outs), "--out", str(tmp_path / "both.html"))
    assert both.code == 0
    assert "Declined without the picture, and with it" in (tmp_path / "both.html").read_text("utf-8")


async def _measured(declines: str, files: Sequence[Path], out: Path, **options: Any) -> None:
    async with serve_requests(Onlooker(declines).handle) as url:
        served_model("onlooker", f"{url}/v1", (2.5, 10))
        await measure("onlooker", files, out, judge="rules", **options)
