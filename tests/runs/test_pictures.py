"""Pictures through a whole run: what the server receives, what a reader is told, what fails before a call."""

from __future__ import annotations

import base64
import io
import json
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from aiohttp import web
from commandline import command, serving
from icc import adobe_rgb, cmyk_profile, display_p3
from PIL import Image
from serving import serve_requests
from truths import served_model

from unsaf_async.records import CallRecord, Examination, ImageRecord
from unsaf_async.runs.begin import begin
from unsaf_async.runs.campaign import CampaignEnd
from unsaf_async.runs.image_notes import ImageNotes
from unsaf_async.runs.prepare import prepare
from unsaf_async.runs.result import Unfinished
from unsaf_async.runs.runner import Runner
from unsaf_async.runs.settings import Settings
from unsaf_async.simulate.settings import Simulation

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import pytest


@asynccontextmanager
async def recording() -> AsyncIterator[tuple[str, list[bytes]]]:
    """A server that speaks chat completions: its base URL, and the pictures that it received, as bytes."""
    received: list[bytes] = []

    async def answer(request: web.Request) -> web.Response:
        for message in (await request.json())["messages"]:
            parts = message["content"] if isinstance(message["content"], list) else ()
            urls = (part["image_url"]["url"] for part in parts if part["type"] == "image_url")
            received.extend(base64.b64decode(url.partition("base64,")[2]) for url in urls)
        choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "1. What is it?"}}
        usage = {"prompt_tokens": 9, "completion_tokens": 9, "total_tokens": 18}
        return web.json_response(
            {"id": "1", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice], "usage": usage}
        )

    async with serve_requests(answer) as url:
        yield f"{url}/v1", received


async def test_colours_arrive_as_srgb_and_metadata_does_not(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif.get_ifd(0x8825).update({1: "N", 29: "SECRET-GPS"})
    red = (200, 30, 30)
    # Each of its own width, by which it is known again.
    expected = {200: (233, 24, 24), 210: (218, 0, 6), 220: red, 230: (78, 159, 65)}
    for width, mode, colour, options in (
        (200, "RGB", red, {"icc_profile": adobe_rgb()}),
        (210, "RGB", red, {"icc_profile": display_p3()}),
        (220, "RGB", red, {"exif": exif, "comment": "SECRET-COMMENT"}),
        (230, "CMYK", (255, 0, 0, 0), {"icc_profile": cmyk_profile((150, 88, 168))}),
    ):
        Image.new(mode, (width, 150), colour).save(tmp_path / f"{width}.jpg", quality=100, subsampling=0, **options)
    async with recording() as (url, received):
        given = Settings("vllm", model="m", api_base=url, images=[tmp_path], questions=1, out=tmp_path / "run")
        with begin(await prepare(given)) as folder:
            await Runner(folder).run()
    seen = {}
    for data in received:
        assert b"SECRET" not in data
        with Image.open(io.BytesIO(data)) as picture:
            assert not {"icc_profile", "comment", "exif"} & picture.info.keys()
            seen[picture.width] = picture.convert("RGB").getpixel((70, 70))
    assert seen.keys() == expected.keys()
    for width, colour in expected.items():
        assert max(abs(one - other) for one, other in zip(seen[width], colour, strict=True)) <= 2, width


def test_odd_pictures_are_counted_and_named_in_the_summary_and_in_show(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("images").mkdir()
    Image.linear_gradient("L").save("images/good.png")
    Image.new("RGB", (64, 64), "white").save("images/white.png")
    Image.linear_gradient("L").resize((90, 20)).save("images/thin.png")
    Image.linear_gradient("L").save("images/cut.bmp")
    Path("images/cut.bmp").write_bytes(Path("images/cut.bmp").read_bytes()[:-50])
    ended = command(
        capsys, "run", "--provider", "scripted", "--images", "images", "--out", "out", "--questions", "2", "--no-report"
    )
    assert ended.code == 0
    for text in (ended.out, command(capsys, "show", "out").out, Path("out/score.json").read_text()):
        joined = " ".join(text.split())
        assert "1 image all of one colour: white.png" in joined
        assert "1 image with a side under 28 px as sent: thin.png" in joined
        assert "1 image whose file lacks its last bytes: cut.bmp" in joined
        assert "good.png" not in joined


def test_odd_pictures_of_a_pope_set_are_told_too(capsys: pytest.CaptureFixture[str]) -> None:
    Path("images").mkdir()
    Image.new("RGB", (64, 64), "white").save("images/a.jpg")
    rows = [{"question_id": 1, "image": "a.jpg", "text": "Is there a dog in the image?", "label": "no"}]
    Path("pope.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    ended = command(
        capsys, "labelled", "--data", "pope.jsonl", "--images", "images", "--provider", "scripted", "--no-report"
    )
    assert ended.code == 0
    assert "Note: 1 image all of one colour: a.jpg" in ended.out


def test_a_line_names_five_pictures_and_counts_the_others() -> None:
    notes = ImageNotes()
    for number in range(7):
        notes.add(ImageRecord(id=f"{number}.png", path="", notes=("long",)))
    (line,) = notes.in_words()
    assert line == (
        "7 images more than 200 times as long as wide as sent: 0.png, 1.png, 2.png, 3.png, 4.png and 2 more"
    )


def test_an_image_that_the_model_refuses_fails_before_a_call(capsys: pytest.CaptureFixture[str]) -> None:
    Path("images").mkdir()
    Image.linear_gradient("L").resize((300, 20)).save("images/thin.png")
    with serving(Simulation(any_model=True)) as simulator:
        served_model("qwen", simulator.openai_base, (0, 0))
        with Path("providers/qwen.toml").open("a") as file:
            file.write("\n[image]\nmin_side_px = 28\nmax_aspect = 200\n")
        arguments = ("--provider", "qwen", "--images", "images")
        for name in ("run", "estimate"):
            alone = command(capsys, name, *arguments)
            assert alone.code == 2
            assert "thin.png: the image is 300 x 20 px as sent, and the model takes no side under 28 px" in alone.err
        Image.linear_gradient("L").save("images/good.png")
        ended = command(capsys, "run", *arguments, "--out", "out", "--questions", "1", "--no-report")
        assert ended.code == 3
        assert "thin.png: the image is 300 x 20 px as sent" in ended.out
        assert simulator.ledger.requests
        assert len(Path("out/journal.jsonl").read_text("utf-8").splitlines()) == 2
        estimated = command(capsys, "estimate", *arguments, "--json")
        assert json.loads(estimated.out)["unreadable"] == 1
        assert "1 of them cannot be used" in (plain := command(capsys, "estimate", *arguments).out)
        assert "\n  thin.png: the image is 300 x 20 px as sent" in plain


def test_a_run_ends_with_the_first_ten_failed_images_and_their_reasons(capsys: pytest.CaptureFixture[str]) -> None:
    Path("images").mkdir()
    for number in range(12):
        Path(f"images/{number:02d}.png").write_bytes(b"" if number % 2 else b"some text\n")
    Image.linear_gradient("L").save("images/good.png")
    ended = command(
        capsys, "run", "--provider", "scripted", "--images", "images", "--out", "out", "--questions", "1", "--no-report"
    )
    for out in (ended.out, command(capsys, "show", "out").out):
        assert "  00.png: the file is text, not an image\n  01.png: the file is empty\n" in out
        assert "  09.png: the file is empty\n  and 2 more" in out
        assert "  10.png" not in out
    assert ended.err.strip().endswith("mend these files, then `unsaf-async resume out` tries them again")


def test_resuming_is_not_advised_where_it_would_bring_the_same_replies() -> None:
    def unfinished(*examinations: Examination) -> Unfinished:
        tally = Unfinished()
        for each in examinations:
            tally.add(each)
        return tally

    image = ImageRecord(id="a", path="a", width=9, height=9)
    answered = Examination(image=image, failure="no question", asks=(CallRecord(role="ask", outcome="refused"),))
    failed = Examination(image=image, failure="no question", asks=(CallRecord(role="ask", outcome="failed"),))
    file = Examination(image=ImageRecord(id="b", path="b"), failure="the file is empty")
    only = [(each.only_files({}), each.only_replies({})) for each in map(unfinished, (answered, failed, file))]
    assert only == [(False, True), (False, False), (True, False)]
    both = unfinished(answered, file)
    assert (both.only_files({}), both.only_replies({})) == (True, False)
    assert not unfinished(file, failed).only_files({})
    assert not unfinished(answered).only_replies({"c": "the image has changed since"})
    assert "would bring the same" in CampaignEnd(unfinished={"a": "1 image failed"}, only_replies=True).tried_again
    assert CampaignEnd(unfinished={"a": "1 image failed"}).tried_again == "the same command tries them again"
