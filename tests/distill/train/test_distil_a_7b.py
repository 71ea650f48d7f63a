"""docs/distil-a-7b.md: its commands run, on a tiny random Qwen2.5-VL and a simulated teacher, and its figures are the code's."""

from __future__ import annotations

import json
import re
import shlex
from dataclasses import astuple, replace
from pathlib import Path

import numpy as np
import pytest
from commandline import Ended, command, serving
from distill.train.qwen import qwen2_5_vl
from PIL import Image

from unsaf_async.calls.batches.batches import Waits
from unsaf_async.distill.data.options import DEFAULT
from unsaf_async.distill.train import student as students
from unsaf_async.distill.train.merge_check import comparing_bytes
from unsaf_async.distill.train.merging import merge_bytes
from unsaf_async.distill.train.recipe import Recipe
from unsaf_async.distill.train.room import check_memory
from unsaf_async.simulate.settings import Simulation

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "distil-a-7b.md").read_text("utf-8")
STUDENT = "Qwen/Qwen2.5-VL-7B-Instruct"
CONFIG = {
    "model_type": "qwen2_5_vl",
    "dtype": "bfloat16",
    "tie_word_embeddings": False,
    "text_config": {
        "model_type": "qwen2_5_vl_text",
        "hidden_size": 3584,
        "intermediate_size": 18944,
        "num_hidden_layers": 28,
        "num_attention_heads": 28,
        "num_key_value_heads": 4,
        "vocab_size": 152064,
        "max_position_embeddings": 128000,
    },
    "vision_config": {
        "depth": 32,
        "hidden_size": 1280,
        "intermediate_size": 3420,
        "num_heads": 16,
        "out_hidden_size": 3584,
        "fullatt_block_indexes": [7, 15, 23, 31],
    },
}
"""Qwen2.5-VL-7B-Instruct's sizes."""


def commands() -> list[list[str]]:
    """Every command of the page, in order."""
    blocks = re.findall(r"^```text\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    return [shlex.split(line) for block in blocks for line in block.replace("\\\n", " ").splitlines()]


def photos(folder: Path, number: int, seed: int, size: tuple[int, int] = (96, 72)) -> None:
    folder.mkdir()
    rng = np.random.default_rng(seed)
    for index in range(number):
        small = Image.fromarray(rng.integers(0, 256, (6, 8, 3), dtype=np.uint8))
        small.resize(size).save(folder / f"{index}.jpg")


def test_the_pages_commands_lead_from_a_teacher_to_the_proof(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("torchvision")  # Qwen-VL's processor takes videos
    monkeypatch.chdir(tmp_path)
    photos(tmp_path / "photos", 8, 1)
    photos(tmp_path / "held-out", 3, 2)
    student = qwen2_5_vl(tmp_path / "tiny")
    monkeypatch.setenv("OPENAI_API_KEY", "key")
    monkeypatch.setenv("UNSAF_PROVIDERS", str(tmp_path / "elsewhere"))
    (tmp_path / "elsewhere").mkdir()
    # the simulator's batches take no day: looking after five seconds would be half a minute of waiting
    monkeypatch.setattr(Waits.__init__, "__defaults__", astuple(replace(Waits(), quiet_s=0.2, first_look_s=0.1)))
    ran: list[str] = []
    ended: dict[str, Ended] = {}
    with serving(Simulation(any_model=True)) as simulator:
        shipped = (ROOT / "providers" / "openai.toml").read_text("utf-8")
        (tmp_path / "elsewhere" / "openai.toml").write_text(f'endpoint = "{simulator.url}/v1"\n{shipped}', "utf-8")
        for program, *words in commands():
            match program, words:
                case "unsaf-async", [name, *_]:
                    given = [word.replace("http://localhost:8000", simulator.url) for word in words]
                    if name == "distill":
                        given = [str(student) if word == STUDENT else word for word in given]
                        given += ["--device", "cpu", "--threads", "1", "--max-steps", "2", "--eval-every", "2"]
                    ended[name] = command(capsys, *given)
                    assert ended[name].code in ((0, 1) if name == "distill-eval" else (0,)), ended[name].err
                    ran.append(name)
                case "vllm", ["serve", model, *options]:
                    assert model == STUDENT
                    adapter = options[options.index("--lora-modules") + 1].partition("=")[2]
                    assert json.loads(Path(adapter, "adapter_config.json").read_text("utf-8"))["r"] == 16
                    ran.append("serve")
                case "python", ["-m", "pip", "install", extra]:
                    assert extra == ".[distill]"
                case _:
                    raise AssertionError(f"nobody knows how to run {program}")
    assert ran == ["estimate", "run", "export", "distill", "serve", "distill-eval"]
    assert "most pixels of an image: size.longest_edge 401,408, an area" in ended["distill"].err
    assert "Merged model: students/first/merged" in ended["distill"].out
    prompts: dict[str, list[float]] = {}
    for line in (tmp_path / "teacher-data" / "items.jsonl").read_text("utf-8").splitlines():
        item = json.loads(line)
        prompts.setdefault(item["kind"], []).append(len(item["prompt"].encode()) / 4)
    told = {"answer": 61, "decline": 61, "write-answerable": 139, "write-unanswerable": 266}
    assert {kind: pytest.approx(np.mean(tokens), abs=3) for kind, tokens in prompts.items()} == told
    proof = json.loads((tmp_path / "runs" / "proof" / "distill-eval.json").read_text("utf-8"))
    assert (proof["before"]["model"], proof["after"]["model"]) == (STUDENT, "student")
    assert {"unf1_own", "unf1_bank"} <= {gate["name"] for gate in proof["gates"]}


def test_the_dollars_are_estimates_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    photos(tmp_path / "photos", 100, 1, (1024, 768))

    def expected_usd(*options: str) -> float:
        found = re.search(r"^expected +\$(\S+)", command(capsys, "estimate", "--images", "photos", *options).out, re.M)
        assert found
        return float(found[1])

    for name, hundred, thousand in re.findall(r"^\| (\S+) \| \$(\S+) \| \$(\S+) \|$", PAGE, re.MULTILINE):
        assert f"{expected_usd('--provider', name, '--batch'):.4f}" == hundred
        assert f"{10 * float(hundred):.2f}" == thousand
    judged = expected_usd("--provider", "vllm", "--model", "student", "--judge", "gpt-5.4-mini")
    assert f"`estimate` expects ${judged:.4f} of 100 photos and a run, so ${8 * judged:.2f}" in PAGE.replace("\n", " ")
    assert PAGE.count(f"${8 * judged:.2f}") == 2  # in the table, too
    assert PAGE.count("$10.98") == 2


@pytest.fixture(scope="module")
def outline(tmp_path_factory: pytest.TempPathFactory) -> students.Outline:
    """The 7B model by its configuration, without weights."""
    folder = tmp_path_factory.mktemp("seven-b")
    (folder / "config.json").write_text(json.dumps(CONFIG), "utf-8")
    return students.read_outline(Recipe(data=Path("d"), student=str(folder), out=Path("o")))


def test_the_memory_is_the_preflights(outline: students.Outline) -> None:
    assert outline.parameters == 8_292_166_656
    rows = re.findall(r"^\| `(.*?)`(?:, bfloat16)? \| (\S+) \| (\S+) \| (\S+) \| (\S+) \|$", PAGE, re.MULTILINE)
    assert len(rows) == 3
    for options, *told in rows:
        asked = Recipe(
            data=Path("d"),
            student="7b",
            out=Path("o"),
            batch=int(re.findall(r"--batch (\d)", options)[0]),
            checkpointing="--checkpointing" in options,
            qlora="--qlora" in options,
        )
        _, parts = check_memory(asked, outline, 900, 10**12, weight_bytes=2, pairs=False)
        found = [*parts.values(), sum(parts.values())]
        assert [f"{number / 1e9:.1f}" for number in found] == told, options
    page = PAGE.replace("\n", " ")
    assert f"Merging takes {merge_bytes(outline) / 1e9:.1f} GB" in page
    assert f"where {comparing_bytes(outline) / 1e9:.1f} GB are free" in page


def test_the_tokens_are_the_image_processors_and_the_hours_follow_from_them() -> None:
    from types import SimpleNamespace

    from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

    from unsaf_async.distill.train.pixel_cap import set_pixel_cap

    images = Qwen2VLImageProcessorPil(patch_size=14, size={"shortest_edge": 3136, "longest_edge": 12845056})
    photo = Image.new("RGB", (1024, 768))

    def tokens() -> int:
        return int(np.prod(images(photo, return_tensors="np")["image_grid_thw"])) // 4

    without = tokens()
    set_pixel_cap(SimpleNamespace(image_processor=images), 401408, "student")  # type: ignore[arg-type]
    assert f"a photo makes {tokens()} tokens, without it {without}" in PAGE
    rows = 14_400
    write, write_unanswerable, answer, decline, replay = DEFAULT
    assert rows == 0.9 * 1_000 * 6 / (answer / (100 - replay))
    prompts = (139 * write + 266 * write_unanswerable + 61 * (answer + decline)) / (100 - replay)
    assert f"{prompts:.0f} in the\nmean of the default mix" in PAGE
    mean = 114 + tokens() + 2 + 60
    assert f"{rows:,} rows" in PAGE
    assert round(mean, -1) == 670
    assert (
        f"{rows * 670 / 1e6:.1f} million tokens / 1,000 tokens a second = {rows * 670 / 1e3 / 3600:.1f} hours" in PAGE
    )
    assert "0.6 hours at an assumed 5 a second" in PAGE.replace("\n", " ")
    assert round(4 * 200 * 14 / 5 / 3600, 1) == 0.6
