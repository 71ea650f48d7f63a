"""The tiny models: the runtime computes what transformers computes, and the provider around it behaves like any other."""

from __future__ import annotations

import asyncio
import json
import shutil
from hashlib import sha256
from io import BytesIO
from typing import TYPE_CHECKING

import numpy as np
import pytest
from commandline import command
from driving import draw_images
from PIL import Image
from safetensors.numpy import load_file
from scipy.special import erf as scipy_erf
from tiny.tiny_parity import GOLDEN, asked

from unsaf_async.bundled import bundled
from unsaf_async.calls.backends.open import with_model_found
from unsaf_async.calls.backends.tiny import TinyBackend
from unsaf_async.errors import Fatal, Rejected, UserError
from unsaf_async.examine.parse import question_items
from unsaf_async.inputs.pixels import encode
from unsaf_async.inputs.policy import ImagePolicy
from unsaf_async.inputs.sources import bundled_images
from unsaf_async.prompts import load_pack
from unsaf_async.providers.resolve import resolve
from unsaf_async.records import EncodedImage, Message, Request, Sampling, Target
from unsaf_async.tiny.folders import SHIPPED, shipped
from unsaf_async.tiny.ladder import LADDER
from unsaf_async.tiny.network import Network, erf
from unsaf_async.tiny.speaker import Job, Speaker

if TYPE_CHECKING:
    from pathlib import Path

PACK = load_pack("tiny")
NAMES = ("tiny-xs", "tiny-s", "tiny-m", "tiny-l")
FOLDER = SHIPPED / "tiny-s"
SCENES = [source.path for source in bundled_images("world")]


def job(prompt: str, picture: bytes, *, most_tokens: int = 120, temperature: float = 0.0, top_p: float = 1.0) -> Job:
    rng = np.random.default_rng(len(prompt))
    return Job(prompt, picture, sha256(picture).hexdigest(), most_tokens, temperature, top_p, rng)


def speak(speaker: Speaker, jobs: list[Job]) -> list[Job]:
    speaker.speak(jobs)
    return jobs


def scene(number: int = 0) -> EncodedImage:
    return encode(SCENES[number], ImagePolicy(max_side_px=1024))[0]


def request(text: str, image: EncodedImage | None = None, draw: int = 0, **sampling: object) -> Request:
    options = {"max_output_tokens": 160, "temperature": 0.0, **sampling}
    return Request("answer", Target("tiny", "tiny-s"), (Message("user", text, image),), Sampling(**options), draw=draw)


# --- the runtime ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_greedy_replies_and_log_probabilities_are_those_of_transformers(name: str) -> None:
    golden = json.loads(GOLDEN.read_text("utf-8"))[name]
    jobs = speak(Speaker(SHIPPED / name), [job(prompt, picture) for picture, prompt in asked()])
    assert len(jobs) == len(golden) == 250
    assert [job.text for job in jobs] == [said["reply"] for said in golden]
    assert [job.logprobs[0] for job in jobs] == pytest.approx([said["first_logprob"] for said in golden], abs=2e-4)


def test_a_prompt_read_at_once_and_token_by_token_leads_to_the_same_logits() -> None:
    network = Network(FOLDER)
    ids = np.arange(7, 7 + 40)[None]
    at_once, bit_by_bit = network.cache(1), network.cache(1)
    at_once.reserve(40)
    bit_by_bit.reserve(40)
    whole = network.extend(at_once, 0, network.embed(ids), np.array([40]))
    for token in ids[0]:
        last = network.extend(bit_by_bit, 0, network.embed(np.array([[token]])), np.array([1]))
    np.testing.assert_allclose(whole, last, atol=1e-4)


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_what_is_said_does_not_depend_on_who_else_is_in_the_batch(temperature: float) -> None:
    prompts = asked(40)
    together = speak(Speaker(FOLDER), [job(prompt, picture, temperature=temperature) for picture, prompt in prompts])
    few = Speaker(FOLDER, rows=3)
    apart = speak(few, [job(prompt, picture, temperature=temperature) for picture, prompt in prompts])
    assert [job.text for job in together] == [job.text for job in apart]


def test_log_probabilities_are_one_a_token_with_the_closing_one() -> None:
    picture, prompt = asked(1)[0]
    (said,) = speak(Speaker(FOLDER), [job(prompt, picture)])
    assert said.finish == "stop"
    assert len(said.logprobs) == len(said.ids)
    assert all(-20 < logprob <= 0 for logprob in said.logprobs)


def test_draws_have_the_models_own_distribution() -> None:
    """The first kind in 600 lists comes as often as its probability says."""
    picture, _ = asked(1)[0]
    prompt = PACK.ask("unanswerable", 2)
    speaker = Speaker(FOLDER)
    jobs = [
        Job(prompt, picture, "one", 5, 1.0, 1.0, np.random.default_rng(seed)) for seed in range(600)
    ]  # fmt: skip
    speak(speaker, jobs)
    begun_alike = [job for job in jobs if job.ids[:2] == jobs[0].ids[:2]]  # "1."
    drawn = [job.ids[2] for job in begun_alike]
    assert len(drawn) > 500
    assert len(set(drawn)) > 4
    for token in set(drawn):
        share = np.exp(next(job.logprobs[2] for job in begun_alike if job.ids[2] == token))
        assert abs(drawn.count(token) / len(drawn) - share) < 4 * np.sqrt(share * (1 - share) / len(drawn)) + 2e-3


def test_of_the_least_share_of_probability_only_the_likeliest_token_is_left() -> None:
    picture, prompt = asked(4)[3]
    greedy, drawn = job(prompt, picture), job(prompt, picture, temperature=1.0, top_p=1e-9)
    speak(Speaker(FOLDER), [greedy, drawn])
    assert drawn.text == greedy.text


def test_a_picture_of_another_size_is_shrunk_to_the_models() -> None:
    file = BytesIO()
    Image.new("RGB", (640, 480), (200, 30, 30)).save(file, "JPEG")
    network = Network(FOLDER)
    assert network.pixels(file.getvalue()).shape == (3, 48, 48)


# --- the provider -----------------------------------------------------------------------------------------------------


async def test_concurrent_calls_are_answered_as_single_ones_are() -> None:
    questions = [
        "What is in the north cell?",
        "Who drew the star?",
        PACK.ask("answerable", 6),
        "How many circles can you see?",
    ]
    requests = [request(text, scene(number)) for number in range(12) for text in questions]
    backend = TinyBackend(FOLDER)
    try:
        together = await asyncio.gather(*(backend.complete(one) for one in requests))
        alone = [await backend.complete(one) for one in requests[:8]]
    finally:
        await backend.aclose()
    assert [reply.text for reply in alone] == [reply.text for reply in together[:8]]
    assert {reply.outcome for reply in together} == {"ok"}
    assert all(reply.usage.input_tokens > 9 and reply.usage.output_tokens > 0 for reply in together)


async def test_a_drawn_reply_is_the_same_for_the_same_seed_and_draw_and_another_for_another() -> None:
    backend = TinyBackend(FOLDER)
    ask = PACK.ask("answerable", 6)
    try:
        texts = [
            (await backend.complete(request(ask, scene(), draw, temperature=None, seed=seed))).text
            for seed, draw in ((0, 0), (0, 0), (1, 0), (0, 1))
        ]
    finally:
        await backend.aclose()
    assert texts[0] == texts[1]
    assert len(set(texts)) == 3


async def test_log_probabilities_come_where_they_are_asked_for_and_only_there() -> None:
    backend = TinyBackend(FOLDER)
    try:
        with_them = await backend.complete(request("What is in the north cell?", scene(), logprobs=True))
        without = await backend.complete(request("What is in the north cell?", scene()))
    finally:
        await backend.aclose()
    assert with_them.logprobs is not None
    assert len(with_them.logprobs) == with_them.usage.output_tokens
    assert without.logprobs is None


async def test_the_output_limit_cuts_a_reply_and_it_says_so() -> None:
    backend = TinyBackend(FOLDER)
    try:
        reply = await backend.complete(request(PACK.ask("answerable", 6), scene(), max_output_tokens=7))
    finally:
        await backend.aclose()
    assert (reply.outcome, reply.finish_reason, reply.usage.output_tokens) == ("truncated", "length", 7)


async def test_what_the_model_cannot_read_is_rejected_and_the_others_go_on() -> None:
    backend = TinyBackend(FOLDER)
    long = request("star " * 600, scene())
    turns = (Message("user", "Hello"), Message("assistant", "Yes."), Message("user", "And?"))
    talk = Request("answer", Target("tiny", "tiny-s"), turns, Sampling(10))
    try:
        results = await asyncio.gather(
            backend.complete(long),
            backend.complete(request("What is in the north cell?", scene())),
            backend.complete(talk),
            return_exceptions=True,
        )
    finally:
        await backend.aclose()
    assert isinstance(results[0], Rejected)
    assert "the model reads 511" in str(results[0])
    assert not isinstance(results[1], BaseException)
    assert isinstance(results[2], Rejected)


async def test_a_cancelled_call_leaves_the_batch_and_closing_ends_those_that_wait() -> None:
    backend = TinyBackend(FOLDER)
    slow = [asyncio.create_task(backend.complete(request(PACK.ask("answerable", 6), scene(n)))) for n in range(30)]
    await asyncio.sleep(0)
    slow[0].cancel()
    reply = await backend.complete(request("What is in the north cell?", scene()))
    assert reply.outcome == "ok"
    late = [
        asyncio.create_task(backend.complete(request(PACK.ask("answerable", 6), scene(n % 60), seed=n)))
        for n in range(90)
    ]
    await asyncio.sleep(0)
    await backend.aclose()
    await backend.aclose()
    ended = await asyncio.gather(*slow, *late, return_exceptions=True)
    assert isinstance(ended[0], asyncio.CancelledError)
    assert any(isinstance(one, Fatal) for one in ended)


async def test_a_folder_of_damaged_weights_fails_the_call_and_does_not_hang(tmp_path: Path) -> None:
    shutil.copytree(FOLDER, tmp_path / "broken")
    (tmp_path / "broken" / "model.safetensors").write_bytes(b"not weights")
    backend = TinyBackend(tmp_path / "broken")
    with pytest.raises(Fatal, match="broken"):
        await backend.complete(request("What is in the north cell?", scene()))
    await backend.aclose()


# --- the command line -------------------------------------------------------------------------------------------------


def test_photos_are_measured_with_a_warning_that_the_model_knows_only_its_world(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    draw_images(tmp_path / "photos", 2)
    ended = command(capsys, "run", "--images", str(tmp_path / "photos"), "--out", str(tmp_path / "run"), "--no-cache")
    assert ended.code == 0
    said = " ".join(ended.out.split())
    assert "2 of 2 images are not 48 x 48 pixels, the only ones that tiny knows" in said


def test_any_folder_of_a_tiny_model_can_be_measured_and_another_is_refused_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(FOLDER, tmp_path / "mine")
    options = ("run", "--provider", "tiny", "--limit", "2", "--no-cache", "--out", str(tmp_path / "run"), "--model")
    assert command(capsys, *options, str(tmp_path / "mine"), "--json").code == 0
    (tmp_path / "mine" / "tokenizer.json").unlink()
    ended = command(capsys, *options, str(tmp_path / "mine"))
    assert (ended.code, ended.err.count("\n")) == (2, 1)
    assert "there is no tokenizer.json in it; give a folder with the files of one, or one of tiny-" in ended.err


async def test_other_weights_in_a_folder_of_the_same_name_are_another_model(tmp_path: Path) -> None:
    shutil.copytree(FOLDER, tmp_path / "mine")
    profile = resolve("tiny", model=str(tmp_path / "mine"))
    before = (await with_model_found(profile)).extra
    assert before == (await with_model_found(profile)).extra
    weights = tmp_path / "mine" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x01")
    assert (await with_model_found(profile)).extra != before
    weights.unlink()
    with pytest.raises(UserError, match=r"no model\.safetensors"):
        await with_model_found(profile)


def test_a_run_does_not_go_on_with_other_weights_and_is_found_from_anywhere(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(FOLDER, tmp_path / "mine")
    run = str(tmp_path / "run")
    assert command(capsys, "run", "--model", "mine", "--limit", "2", "--no-cache", "--out", run, "--quiet").code == 0
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert command(capsys, "resume", run, "--quiet").code == 0
    shutil.copy(SHIPPED / "tiny-xs" / "model.safetensors", tmp_path / "mine" / "model.safetensors")
    ended = command(capsys, "resume", run, "--samples", "1", "--quiet")
    assert (ended.code, ended.err.count("\n")) == (2, 1)
    assert "its files have changed since the run began" in ended.err


# --- the models that ship ---------------------------------------------------------------------------------------------


def test_the_shipped_models_are_those_of_the_ladder_and_together_below_ten_megabytes() -> None:
    assert {path.name for path in SHIPPED.iterdir()} == set(NAMES) == {folder.name for folder in shipped()}
    assert set(NAMES) <= {rung.name for rung in LADDER}
    assert sum((folder / "model.safetensors").stat().st_size for folder in shipped()) <= 10_000_000


@pytest.mark.parametrize("name", NAMES)
def test_a_shipped_model_has_its_card_its_training_record_and_its_stated_size(name: str) -> None:
    folder = SHIPPED / name
    trained = json.loads((folder / "training.json").read_text("utf-8"))
    weights = load_file(folder / "model.safetensors")
    assert sum(weight.size for weight in weights.values()) == trained["parameters"]
    assert {weight.dtype for weight in weights.values()} == {np.dtype("float16")}
    card = (folder / "README.md").read_text("utf-8")
    assert f"{trained['parameters']:,}" in card


@pytest.mark.parametrize("label", ["answerable", "unanswerable"])
def test_a_shipped_model_writes_lists_of_questions(label: str) -> None:
    jobs = [job(PACK.ask(label, 6), path.read_bytes(), temperature=1.0) for path in SCENES[:20]]
    speak(Speaker(FOLDER), jobs)
    items = [question_items(job.text) for job in jobs]
    assert sum(len(list_) in (5, 6) for list_ in items) >= 18  # the small ones sometimes leave one out
    if label == "unanswerable":
        assert sum(item.kind is not None for list_ in items for item in list_) >= 110


def test_a_prompt_that_is_longer_than_the_model_reads_is_told_before_anything_is_sent(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """To resume could not help, and the line must not leave that to be guessed."""
    pack = tmp_path / "long"
    shutil.copytree(bundled("prompts") / "tiny", pack)
    for label in ("answerable", "unanswerable"):
        (pack / f"ask-{label}.md").write_text("star " * 600 + "$count", "utf-8")
    ended = command(
        capsys, "run", "--prompts", str(pack), "--limit", "3", "--no-cache", "--out", str(tmp_path / "run"), "--quiet"
    )
    assert ended.code == 2
    assert "a prompt has 614 tokens, and tiny-s reads 511; give prompts that are shorter, or another model" in ended.err
    assert "resume" not in ended.err
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"model_type": "qwen2_5_vl"}, "is no tiny model but a qwen2_5_vl"),
        ({"text_config": {"model_type": "qwen2"}}, "is no tiny model but a LLaVA of other parts"),
        ({"vision_config": None}, "is no tiny model but a config unknown here"),
    ],
)
def test_a_folder_of_another_architecture_is_one_line(
    change: dict[str, object], words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "other"
    shutil.copytree(SHIPPED / "tiny-xs", folder)
    config = json.loads((folder / "config.json").read_text("utf-8"))
    (folder / "config.json").write_text(json.dumps({**config, **change}), "utf-8")
    ended = command(capsys, "estimate", "--provider", "tiny", "--model", str(folder))
    assert ended.code == 2
    assert words in ended.err
    assert ended.err.endswith("serve it, and measure it there (--provider vllm)\n")


def test_the_error_function_is_scipys_in_single_precision() -> None:
    ends = np.array([0, -0.0, 4, -4, 3.9999, 40, -np.inf, np.inf])
    x = np.concatenate([ends, np.random.default_rng(0).normal(0, 2, 100_000)]).astype(np.float32)
    ours = erf(x)
    assert ours.dtype == np.float32
    # One step of single precision at 1: rounding alone takes half of it, and it depends on the machine's operations.
    assert np.abs(ours - scipy_erf(x.astype(np.float64))).max() < np.finfo(np.float32).eps
