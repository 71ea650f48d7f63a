"""How far UnF1 and the order of models hang on how they were measured: every figure against one that is worked out otherwise."""

from __future__ import annotations

import json
import tracemalloc
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from commandline import command
from driving import draw_images
from scipy import stats
from truths import measured, scripted_model

from unsaf_async.compare.pairing import lean, paired_difference
from unsaf_async.compare.robustness import BASE, _orders_of_samples, _orders_of_shares, robustness, taus
from unsaf_async.errors import UserError
from unsaf_async.prompts import load_pack
from unsaf_async.runs.saved import SavedRun
from unsaf_async.score import bootstrap
from unsaf_async.score.unf1 import BOUNDS_ALONE, cell
from unsaf_async.tiny.folders import SHIPPED

if TYPE_CHECKING:
    from collections.abc import Sequence

AWARE = {"low": 0.3, "middle": 0.6, "high": 0.95}


def runs(*names: str) -> list[SavedRun]:
    return [SavedRun(Path(name)) for name in names]


def of_all(variant: str, images: Sequence[Path], **options: object) -> list[str]:
    """A run of each model; their folders."""
    folders = []
    for name, aware in AWARE.items():
        scripted_model(name, abstain_unanswerable=aware, seed=len(name))
        measured(name, images, Path(f"{name}--{variant}"), judge="self", **options)
        folders.append(f"{name}--{variant}")
    return folders


def test_tau_is_scipys_for_every_row_with_and_without_ties() -> None:
    rng = np.random.default_rng(3)
    first, other = rng.integers(0, 4, (200, 5)).astype(float), rng.integers(0, 4, (200, 5)).astype(float)
    wanted = [stats.kendalltau(a, b).statistic for a, b in zip(first, other, strict=True)]
    np.testing.assert_allclose(taus(first, other), wanted)
    first[0, 0] = np.nan
    assert np.isnan(taus(first, other)[0])


def test_two_models_of_one_provider_are_two_models_and_no_variants_of_one() -> None:
    images = draw_images(Path("images"), 2)
    for model in ("tiny-xs", "tiny-s"):
        measured("tiny", images, Path(model), model=str(SHIPPED / model))
    found = robustness(runs("tiny-xs", "tiny-s"))
    assert [row.variant for row in found.variants] == [BASE, BASE]
    assert len({row.model for row in found.variants}) == 2


def test_variants_are_named_by_what_differs_and_held_against_the_first_run() -> None:
    images = draw_images(Path("images"), 12)
    plain = of_all("plain", images[:8])
    fewer = of_all("fewer", images[:8], questions=2)
    others = of_all("others", images[8:])
    found = robustness(runs(*plain, *fewer, *others))
    by_folder = {row.folder: row for row in found.variants}
    assert [by_folder[name].variant for name in plain] == [BASE] * 3
    assert {by_folder[name].variant for name in fewer} == {"questions 2"}
    assert all(by_folder[name].variant.startswith("images ") for name in others)
    for folder, first in zip(fewer, plain, strict=True):
        row, a, b = by_folder[folder], SavedRun(Path(folder)), SavedRun(Path(first))
        pair = paired_difference(list(a.examinations), list(b.examinations))
        assert (row.difference, row.difference_ci, row.images_shared) == (pair.difference, pair.ci, 8)
    for folder, first in zip(others, plain, strict=True):
        row, base = by_folder[folder], by_folder[first]
        assert row.images_shared == 0
        assert row.unf1 is not None
        assert base.unf1 is not None
        assert row.unf1_ci is not None
        assert base.unf1_ci is not None
        assert row.difference_ci is not None
        assert row.difference == pytest.approx(row.unf1 - base.unf1)
        widths = [ends[1] - ends[0] for ends in (row.unf1_ci, base.unf1_ci, row.difference_ci)]
        assert max(widths[:2]) < widths[2] < sum(widths[:2])
    (questions, moved, *_) = found.orders
    assert (questions.what, questions.models, moved.models) == ("questions 2", 3, 3)
    for order, folders in ((questions, fewer), (moved, others)):
        values = [[by_folder[name].unf1 or 0.0 for name in names] for names in (plain, folders)]
        assert order.kendall == pytest.approx(stats.kendalltau(*values).statistic)
        assert order.kendall_ci is not None
        assert -1 <= order.kendall_ci[0] <= order.kendall_ci[1] <= 1
    assert robustness(runs(*plain, *fewer, *others)) == found


def test_another_share_of_unanswerable_questions_is_what_dropping_questions_would_give_on_average() -> None:
    scripted_model("model", abstain_unanswerable=0.7, over_refuse=0.2)
    measured("model", draw_images(Path("images"), 30), Path("run"), judge="self", questions=4)
    found = robustness(runs("run"))
    cells = [cell(each) for examination in SavedRun(Path("run")).examinations for each in examination.questions]
    counts = {name: cells.count(name) for name in ("ta", "fu", "tu", "fa")}  # type: ignore[arg-type]
    recall = counts["tu"] / (counts["tu"] + counts["fa"])
    refusal = counts["fu"] / (counts["ta"] + counts["fu"])
    for row in found.shares:
        wanted = 2 * row.share * recall / (row.share * (1 + recall) + (1 - row.share) * refusal)
        assert row.unf1 == pytest.approx(wanted)
        assert row.unf1_ci is not None
        assert row.unf1_ci[0] < wanted < row.unf1_ci[1]
    (even,) = [row for row in found.shares if row.share == 0.5]
    assert even.unf1 == pytest.approx(found.variants[0].unf1, abs=0.02)
    rng = np.random.default_rng(0)
    answerable = np.repeat([0, 1], [counts["ta"], counts["fu"]])
    unanswerable = np.repeat([0, 1], [counts["fa"], counts["tu"]])
    kept = round(len(unanswerable) / 4)  # a fifth of all, with all the answerable ones
    values = []
    for _ in range(2000):
        tu = rng.permutation(unanswerable)[:kept].sum()
        values.append(2 * tu / (tu + kept + answerable.sum()))
    (fifth,) = [row for row in found.shares if row.share == 0.2]
    assert fifth.unf1 == pytest.approx(np.mean(values), abs=0.02)


def test_samples_of_fewer_images_scatter_around_the_whole_and_have_wider_intervals() -> None:
    folders = of_all("plain", draw_images(Path("images"), 24))
    found = robustness(runs(*folders), seed=1)
    for model in AWARE:
        sizes = [row for row in found.sizes if row.model == model]
        (whole,) = [row for row in found.variants if row.model == model]
        assert [row.images for row in sizes] == [18, 12, 6]
        assert whole.unf1_ci is not None
        widths = [row.width or 0 for row in sizes]
        assert whole.unf1_ci[1] - whole.unf1_ci[0] < widths[0] < widths[1] < widths[2]
        for row in sizes:
            assert row.samples == 500
            assert row.unf1_between is not None
            assert row.unf1_between[0] <= (whole.unf1 or 0) <= row.unf1_between[1]
    samples = [row for row in found.orders if row.what.endswith("of 24 images")]
    assert [row.what for row in samples] == ["18 of 24 images", "12 of 24 images", "6 of 24 images"]
    assert [row.kendall for row in samples] == sorted((row.kendall or 0 for row in samples), reverse=True)


def test_blocks_of_draws_are_the_rows_that_one_table_has_and_so_are_all_figures(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folders = of_all("plain", draw_images(Path("images"), 12))
    whole, found = bootstrap.draws(12, 50, seed=3), robustness(runs(*folders))
    monkeypatch.setattr(bootstrap, "BLOCK_BYTES", 12 * 8 * 7)
    blocks = list(bootstrap.blocks_of_draws(12, 50, seed=3))
    assert [len(block) for block in blocks] == [7] * 7 + [1]
    np.testing.assert_array_equal(np.vstack(blocks), whole)
    assert robustness(runs(*folders)) == found


def test_memory_does_not_grow_with_the_number_of_draws_times_images(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bootstrap, "BLOCK_BYTES", 500_000)
    rng = np.random.default_rng(0)
    firsts = {
        name: {key: (3, 1, int(tu), 4 - int(tu)) for key, tu in enumerate(rng.binomial(4, aware, 3_000))}
        for name, aware in AWARE.items()
    }
    tracemalloc.start()
    shares, samples = list(_orders_of_shares(firsts, 0)), list(_orders_of_samples(firsts, 0))
    peak_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (len(shares), len(samples)) == (4, 3)
    assert peak_bytes < 5_000_000  # 2,000 draws of 3,000 images are 48 MB


def test_examinations_are_read_one_by_one_and_none_keeps_its_texts() -> None:
    scripted_model("model")
    measured("model", draw_images(Path("images"), 3), Path("run"), judge="self")
    (run,) = runs("run")
    found = robustness([run])
    assert "examinations" not in vars(run)
    assert found.variants[0].images == 3
    assert len({id(question) for each in lean(run.kept.values()) for question in each.questions}) <= 5


def test_what_cannot_be_said_has_its_reason() -> None:
    images = draw_images(Path("images"), 4)
    scripted_model("model", hedge=0.9)
    measured("model", images, Path("first"), judge="self")
    measured("model", images, Path("rules"), judge="rules")
    found = robustness(runs("first", "rules"))
    assert found.orders == []
    assert found.sizes == []
    row = found.variants[1]
    assert (row.variant, row.unf1, row.difference) == ("judge rules", None, None)
    assert "bounds" in row.undefined["unf1"]
    assert "bounds" in row.undefined["difference"]
    open_ = robustness(runs("rules"))
    assert [(each.unf1, each.unf1_ci) for each in open_.shares] == [(None, None)] * 5
    assert {why for each in open_.shares for why in each.undefined.values()} == {BOUNDS_ALONE}
    measured("model", images, Path("again"), judge="self")
    measured("model", images, Path("together"), judge="self", judge_together=3)
    assert robustness(runs("first", "together")).variants[1].variant == "judge self, 3 together"
    with pytest.raises(UserError, match="first: was made like first, of model"):
        robustness(runs("first", "first"))
    with pytest.raises(UserError, match="again: was made like first, of model"):
        robustness(runs("first", "again"))


def test_the_command_takes_folders_of_runs_and_says_why_figures_are_missing(
    capsys: pytest.CaptureFixture[str],
) -> None:
    images = draw_images(Path("images"), 3)
    scripted_model("model")
    Path("suite").mkdir()
    measured("model", images, Path("suite/one"), judge="self")
    measured("model", images, Path("suite/two"), judge="self", prompts="unsaf-b")
    ended = command(capsys, "robustness", "suite")
    assert ended.code == 0, ended.err
    assert "prompts unsaf-b 1" in ended.out
    assert "it needs three models" in ended.out
    assert "80%" in ended.out
    first = f"n/a for model, {BASE}: the difference from the first, the difference's 95 % interval, the images shared: it is"
    assert first in " ".join(ended.out.split())
    assert "shares no image" not in ended.out
    assert "six characters" not in ended.out
    found = json.loads(command(capsys, "robustness", "suite", "--json").out)
    assert [row["variant"] for row in found["variants"]] == [BASE, "prompts unsaf-b 1"]
    assert [row["images_shared"] for row in found["variants"]] == [None, 3]
    assert "images_shared" in found["variants"][0]["undefined"]
    measured("model", draw_images(Path("images"), 6)[3:], Path("others-run"), judge="self")
    ended = command(capsys, "robustness", "suite/one", "others-run")
    (line,) = [line for line in ended.out.splitlines() if "(3 images, list " in line]
    assert line.split()[-1] == "0"
    assert "A variant that shares no image" in ended.out
    assert "six characters" in ended.out
    for arguments in (("robustness", "images"), ("robustness", "suite", "--seed", "-1")):
        ended = command(capsys, *arguments)
        assert (ended.code, ended.out, len(ended.err.splitlines())) == (2, "", 1)


def test_a_run_whose_bounds_are_the_headline_has_a_place_in_no_order_and_no_samples() -> None:
    images = draw_images(Path("images"), 8)
    plain, fewer = of_all("plain", images), of_all("fewer", images, questions=2)
    scripted_model("open", hedge=0.9)
    measured("open", images, Path("open--plain"), judge="rules")
    found = robustness(runs(*plain, "open--plain", *fewer))
    assert {each.model for each in found.shares if each.unf1 is None} == {"open"}
    of_open = [each for each in found.sizes if each.model == "open"]
    assert [(each.images, each.unf1_between, each.width, each.undefined["width"]) for each in of_open] == [
        (6, None, None, BOUNDS_ALONE)
    ]
    assert {each.models for each in found.orders} == {3}
    assert found.orders == robustness(runs(*plain, *fewer)).orders
    two = robustness(runs(*plain[:2], "open--plain"))
    assert two.orders == []


@pytest.mark.parametrize("name", ["unsaf-b", "unsaf-c", "unsaf-d"])
def test_a_paraphrase_asks_and_answers_in_other_words_and_judges_in_the_same(name: str) -> None:
    ours, theirs = load_pack(name), load_pack("unsaf")
    changed = {stem for stem, text in ours.texts.items() if theirs.texts[stem] != text}
    assert changed == {"ask-answerable", "ask-unanswerable", "answer"}
    scripted_model("model")
    run = measured("model", draw_images(Path("images"), 2), Path("run"), judge="self", questions=4, prompts=name)
    assert run.found.questions.asked == 16
    assert run.found.questions.malformed == run.found.questions.missing == 0


def test_a_base_that_is_no_shipped_pack_is_refused() -> None:
    Path("mine").mkdir()
    Path("mine/pack.toml").write_text('name = "mine"\nversion = "1"\nbase = "nobodys"\n')
    with pytest.raises(UserError, match=r"pack\.toml: base is 'nobodys'; give a shipped pack"):
        load_pack("mine")
