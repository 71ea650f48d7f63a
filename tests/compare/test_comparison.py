"""Comparing runs: which images two runs share, the difference and its uncertainty, and what is said about the runs themselves."""

from __future__ import annotations

import asyncio
import csv
import io
import itertools
import json
import math
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import typer
from doubles import in_memory
from driving import draw_images
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from unsaf_async import evaluate
from unsaf_async.cli.compare import compare as compare_command
from unsaf_async.cli.compare import draw_plane
from unsaf_async.cli.compare_tables import print_comparison
from unsaf_async.cli.spelling import spelled
from unsaf_async.compare.comparison import compare, load_runs, run_names, size_of
from unsaf_async.compare.pairing import PAIRED, match, pair_of, paired_difference
from unsaf_async.compare.settings_diff import differences_in_setting
from unsaf_async.compare.tables import csv_of, escaped, to_csv, to_json, to_latex
from unsaf_async.errors import UserError
from unsaf_async.records import Act, CallRecord, Examination, GivenQuestion, ImageRecord, Label, Question
from unsaf_async.runs.folder import Source
from unsaf_async.runs.saved import SavedRun
from unsaf_async.score.unf1 import BOUNDS_ALONE, latest_by_id

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

CALL = CallRecord(role="answer", outcome="ok")
FAST = settings(max_examples=60, deadline=None)


def asked(intended: Label, act: Act, number: int) -> list[Question]:
    return [Question(text="What?", intended=intended, answer=CALL, act=act)] * number


def examination(
    name: str,
    *,
    ta: int = 0,
    fu: int = 0,
    tu: int = 0,
    fa: int = 0,
    pixels: str | None = None,
    file: str | None = None,
    failure: str | None = None,
) -> Examination:
    questions = (
        *asked("answerable", "answered", ta),
        *asked("answerable", "abstained", fu),
        *asked("unanswerable", "abstained", tu),
        *asked("unanswerable", "answered", fa),
    )
    image = ImageRecord(id=name, path=name, pixels_sha256=pixels, bytes_sha256=file)
    return Examination(image=image, questions=questions, failure=failure)


def examinations(rows: NDArray[np.int64], k: int) -> list[Examination]:
    """rows: [images, 2], TU and FU of k questions each."""
    return [
        examination(f"{i:04}", ta=k - int(fu), fu=int(fu), tu=int(tu), fa=k - int(tu))
        for i, (tu, fu) in enumerate(rows)
    ]


def a_model(
    rng: np.random.Generator, images: NDArray[np.float64], k: int, recall: float, refusal: float
) -> NDArray[np.int64]:
    """[images, 2]: TU and FU. images: [images, 2] in (0, 1), how hard each one is, the same for every model."""
    own = stats.norm.cdf(0.84 * stats.norm.ppf(images) + 0.55 * rng.normal(size=images.shape))
    tu = rng.binomial(k, stats.beta.ppf(own[:, 0], 4 * recall, 4 * (1 - recall)))
    fu = rng.binomial(k, stats.beta.ppf(own[:, 1], 4 * refusal, 4 * (1 - refusal)))
    return np.stack([tu, fu], axis=1)


# --- which images two runs share --------------------------------------------------------------------------------------


def matched(a: list[Examination], b: list[Examination]) -> list[tuple[str, str]]:
    return [(one.image.id, other.image.id) for one, other in match(a, b)]


def test_images_with_the_same_pixels_are_one_whatever_they_are_called() -> None:
    a = [examination("x", pixels="1"), examination("y", pixels="2")]
    b = [examination("y", pixels="1"), examination("z", pixels="2")]
    assert matched(a, b) == [("x", "y"), ("y", "z")]


def test_a_file_that_was_sent_at_two_sizes_is_one_image() -> None:
    assert matched([examination("x", pixels="1", file="f")], [examination("y", pixels="2", file="f")]) == [("x", "y")]


def test_without_hashes_the_id_decides() -> None:
    assert matched([examination("x"), examination("y")], [examination("y"), examination("z")]) == [("y", "y")]
    assert matched([examination("x", pixels="1")], [examination("x")]) == [("x", "x")]


def test_two_pictures_of_the_same_name_are_not_one() -> None:
    a, b = [examination("x", pixels="1", file="f")], [examination("x", pixels="2", file="g")]
    assert matched(a, b) == []


def test_of_several_with_the_same_pixels_those_with_the_same_id_belong_together() -> None:
    a = [examination("x", pixels="1"), examination("y", pixels="1"), examination("v", pixels="1")]
    b = [examination("y", pixels="1"), examination("x", pixels="1"), examination("w", pixels="1")]
    assert matched(a, b) == [("x", "x"), ("y", "y"), ("v", "w")]


an_image = st.builds(
    lambda name, pixels, file: examination(name, tu=1, pixels=pixels, file=file),
    st.sampled_from("abcdef"),
    st.sampled_from([None, "1", "2", "3"]),
    st.sampled_from([None, "f", "g"]),
)
some_images = st.lists(an_image, max_size=6, unique_by=lambda each: each.image.id)


@FAST
@given(some_images, some_images)
def test_each_image_is_matched_once_and_both_ways_alike(a: list[Examination], b: list[Examination]) -> None:
    found = matched(a, b)
    assert len({one for one, _ in found}) == len({other for _, other in found}) == len(found)
    assert sorted((other, one) for one, other in found) == sorted(matched(b, a))


def test_a_run_matches_itself_image_by_image() -> None:
    a = [examination(name, pixels=pixels) for name, pixels in (("x", "1"), ("y", "1"), ("z", None), ("w", "2"))]
    assert matched(a, a) == [(name, name) for name in "xyzw"]


# --- the difference ---------------------------------------------------------------------------------------------------


def test_the_difference_is_that_on_the_images_both_runs_hold() -> None:
    a = [examination("x", tu=3, fa=1), examination("y", tu=1, fu=1), examination("only", fa=9)]
    b = [examination("y", tu=2), examination("x", tu=1, fa=3), examination("p", tu=1), examination("q", tu=1)]
    found = paired_difference(a, b)
    assert found.unf1_a == pytest.approx(2 * 4 / (2 * 4 + 1 + 1))
    assert found.unf1_b == pytest.approx(2 * 3 / (2 * 3 + 3))
    assert found.difference == pytest.approx(0.8 - 6 / 9)
    assert (found.images_shared, found.images_only_a, found.images_only_b) == (2, 1, 2)


def test_failed_and_empty_images_are_not_held_and_of_an_image_examined_twice_the_last_counts() -> None:
    a = [examination("x", fa=5), examination("x", tu=2), examination("y", failure="broken"), examination("z", tu=1)]
    b = [examination("x", tu=1, fa=1), examination("y", tu=1), examination("z")]
    found = paired_difference(a, b)
    assert (found.images_shared, found.images_only_a, found.images_only_b) == (1, 1, 1)
    assert found.unf1_a == 1.0


@pytest.mark.parametrize(
    ("a", "b", "field", "why"),
    [
        ([], [], "difference", "the runs share no image"),
        ([examination("x", tu=1)], [examination("y", tu=1)], "p", "the runs share no image"),
        ([examination("x", tu=1)], [examination("x", fa=1)], "ci", "pairing needs at least 2 shared images; there is 1"),
        (
            [examination("x", ta=1), examination("y", ta=1)],
            [examination("x", tu=1), examination("y", tu=1)],
            "unf1_a",
            "no shared image holds a response that counts",
        ),
    ],
)  # fmt: skip
def test_what_cannot_be_paired_is_none_with_its_reason(
    a: list[Examination], b: list[Examination], field: str, why: str
) -> None:
    found = paired_difference(a, b)
    assert getattr(found, field) is None
    assert found.undefined[field] == why
    assert found.p is None
    assert set(found.undefined) == {
        name for name in ("unf1_a", "unf1_b", "difference", *PAIRED) if getattr(found, name) is None
    }


def test_a_run_does_not_differ_from_itself() -> None:
    a = examinations(np.array([[3, 0], [1, 1], [2, 2], [0, 0]]), 3)
    found = paired_difference(a, a)
    assert (found.difference, found.p, found.p_method) == (0.0, 1.0, "all swaps")
    assert "every resample has the same difference" in found.undefined["ci_percentile"]
    assert found.ci is not None, "no difference on 4 images leaves open what three fifths of all images would show"
    assert -found.ci[0] == found.ci[1] > 0.6


@pytest.mark.parametrize("wrong", [0, 3, 5, 6])
def test_equal_runs_are_as_different_at_most_as_the_images_that_were_not_seen_would_make_them(wrong: int) -> None:
    kind = {"tu": 6 - wrong, "fa": wrong, "ta": 5, "fu": 1}
    a = [examination(str(number), **kind) for number in range(99)]
    found = paired_difference(a, a)
    assert found.ci is not None
    assert "ci" not in found.undefined
    # (1 - p)^99 = .025 at p = .0366: of 2733 images 100 may be of another kind.
    right, none = examination("right", tu=6, ta=6), examination("none", fa=6, fu=6)

    def unf1(other: Examination) -> float:
        rows = [pair_of(each) for each in [a[0]] * 2633 + [other] * 100]
        return sum(above for above, _ in rows) / sum(below for _, below in rows)

    assert found.ci[1] == pytest.approx(unf1(right) - unf1(none), abs=0.001)
    assert found.ci[0] == -found.ci[1]


def test_equal_runs_of_images_of_unequal_size_are_as_sure_as_so_many_of_equal_size() -> None:
    def reach(sizes: list[int]) -> float:
        run = [examination(f"{n}", ta=9 * k, fu=k, tu=9 * k, fa=k) for n, k in enumerate(sizes)]
        found = paired_difference(run, run, resamples=10).ci
        assert found is not None
        assert found[0] == -found[1]
        return found[1]

    assert reach([6] * 20) == pytest.approx(reach([1] * 20))
    # 1 of 16 and 15 of 1 are as sure as 31^2 / (16^2 + 15) = 3.5 images.
    assert reach([1] * 4) < reach([16] + [1] * 15) < reach([1] * 3)


def test_runs_that_differ_alike_on_every_image_have_the_smallest_p_there_is() -> None:
    """One always declines, one always answers: without any spread, only swapping none and swapping all are as extreme."""
    a = [examination(str(i), ta=3, tu=3) for i in range(10)]
    b = [examination(str(i), ta=3, fa=3) for i in range(10)]
    found = paired_difference(a, b)
    assert (found.difference, found.p) == (1.0, 2 / 2**10)
    assert (found.images_differing, found.least_p) == (10, 2 / 2**10)
    assert (found.sd, found.detectable) == (0.0, None)
    assert found.undefined["detectable"] == "every image contributes the same to the difference"


def test_the_least_p_is_that_of_the_images_that_differ() -> None:
    better, worse = np.array([[5, 0], [4, 1], [6, 0], [5, 1], [6, 0], [5, 0]]), np.array([[2, 1]] * 6)
    for images, least in ((5, 0.0625), (6, 0.03125)):
        found = paired_difference(examinations(better[:images], 6), examinations(worse[:images], 6))
        assert (found.least_p, found.images_differing) == (least, images)
        if least > 0.05:
            assert found.p is None
            assert found.undefined["p"].startswith(
                "the interval leaves 0 out, but the test of swapped runs has p = 0.062"
            )
        else:
            assert found.p == least
        assert (found.detectable is None) == (images == 5)
    # Images on which the two runs do the same have no say.
    same = [examination(f"same-{i}", ta=3, tu=3) for i in range(20)]
    found = paired_difference([*examinations(better[:5], 6), *same], [*examinations(worse[:5], 6), *same])
    assert (found.images_shared, found.images_differing, found.least_p) == (25, 5, 0.0625)
    many = paired_difference(*(examinations(np.tile(rows, (5, 1)), 6) for rows in (better, worse)), resamples=999)
    assert (many.least_p, many.p_method) == (0.001, "random swaps")


def test_what_an_image_contributes_is_the_linearised_influence_and_tells_the_standard_error() -> None:
    rng = np.random.default_rng(3)
    hardness = rng.random((400, 2))
    a, b = (a_model(rng, hardness, 6, recall, 0.15) for recall in (0.7, 0.6))
    found = paired_difference(examinations(a, 6), examinations(b, 6), resamples=2000)
    assert found.ci is not None
    assert found.sd is not None
    # The interval's width is 2 x 1.96 standard errors.
    assert found.sd / np.sqrt(400) == pytest.approx((found.ci[1] - found.ci[0]) / (2 * 1.96), rel=0.06)
    # With a power of .8, a difference of (1.96 + .84) standard errors is found.
    assert found.detectable == pytest.approx(2.8016 * found.sd / np.sqrt(400), rel=0.01)


def t_of(a: NDArray[np.int64], b: NDArray[np.int64]) -> float:
    """|t| by its definition. a, b: [images, 2]."""
    (above, below), (above_b, below_b) = a.sum(axis=0), b.sum(axis=0)
    if not below or not below_b:
        return math.inf
    ours, theirs = above / below, above_b / below_b
    influence = (a[:, 0] - ours * a[:, 1]) / below - (b[:, 0] - theirs * b[:, 1]) / below_b
    spread = math.sqrt((influence**2).sum())
    if abs(ours - theirs) < 1e-12:
        return 0.0
    return math.inf if spread < 1e-9 else round(abs(ours - theirs) / spread, 9)


rows = st.lists(
    st.tuples(*[st.integers(0, 2)] * 8), min_size=2, max_size=7
)  # TA, FU, TU and FA of either run, image by image


def two_runs(found: list[tuple[int, ...]]) -> tuple[list[Examination], list[Examination]]:
    both: tuple[list[Examination], list[Examination]] = ([], [])
    for i, row in enumerate(found):
        for run, (ta, fu, tu, fa) in zip(both, (row[:4], row[4:]), strict=True):
            run.append(examination(str(i), ta=ta + 1, fu=fu, tu=tu, fa=fa))
    return both


@FAST
@given(rows)
def test_with_few_images_p_is_the_share_of_all_swaps_that_are_as_large(found: list[tuple[int, ...]]) -> None:
    a, b = two_runs(found)
    result = paired_difference(a, b, resamples=200)
    if result.p is None:
        return
    ours, theirs = np.array([pair_of(each) for each in a]), np.array([pair_of(each) for each in b])
    observed = t_of(ours, theirs)
    swaps = [np.array(swap)[:, None] for swap in itertools.product((False, True), repeat=len(a))]
    as_large = [t_of(np.where(swap, theirs, ours), np.where(swap, ours, theirs)) >= observed for swap in swaps]
    assert result.p_method == "all swaps"
    assert result.p == pytest.approx(np.mean(as_large))


@FAST
@given(rows)
def test_the_difference_the_other_way_round_is_the_same_with_its_sign_turned(found: list[tuple[int, ...]]) -> None:
    a, b = two_runs(found)
    one, other = paired_difference(a, b, resamples=200), paired_difference(b, a, resamples=200)
    assert (one.p, one.undefined.keys()) == (
        other.p,
        {{"unf1_a": "unf1_b", "unf1_b": "unf1_a"}.get(name, name) for name in other.undefined},
    )
    if one.difference is not None:
        assert one.difference == -(other.difference or 0.0)
    if one.ci is not None:
        assert other.ci == (pytest.approx(-one.ci[1]), pytest.approx(-one.ci[0]))


def test_random_swaps_and_draws_are_the_same_whichever_run_is_named_first() -> None:
    rng = np.random.default_rng(5)
    a, b = two_runs([tuple(row) for row in rng.integers(0, 3, (24, 8)).tolist()])
    one, other = paired_difference(a, b, resamples=500), paired_difference(b[::-1], a, resamples=500)
    assert one.p_method == "random swaps"
    assert one.p == other.p
    assert one.ci_percentile is not None
    assert other.ci_percentile is not None
    assert one.ci_percentile == pytest.approx((-other.ci_percentile[1], -other.ci_percentile[0]))
    assert (one.sd, one.detectable) == pytest.approx((other.sd, other.detectable))


def test_p_and_interval_agree_with_scipy_on_many_images() -> None:
    rng = np.random.default_rng(5)
    images = rng.uniform(size=(60, 2))
    a, b = (examinations(a_model(rng, images, 4, recall, 0.1), 4) for recall in (0.75, 0.68))
    found = paired_difference(a, b, resamples=10_000)
    ours, theirs = np.array([pair_of(each) for each in a]), np.array([pair_of(each) for each in b])
    both = np.concatenate([ours, theirs])

    def statistic(one: NDArray[np.int64], other: NDArray[np.int64]) -> float:
        return t_of(both[one], both[other])

    permuted = stats.permutation_test(
        (np.arange(60), np.arange(60) + 60),
        statistic,
        permutation_type="samples",
        alternative="greater",
        n_resamples=4_000,
        rng=np.random.default_rng(1),
    )
    assert 0.01 < permuted.pvalue < 0.8
    assert found.p_method == "random swaps"
    assert found.p == pytest.approx(permuted.pvalue, abs=4 * math.sqrt(permuted.pvalue / 4_000))

    def difference(one: NDArray[np.int64], other: NDArray[np.int64], third: NDArray[np.int64], fourth: NDArray[np.int64],
                   axis: int = -1) -> NDArray[np.float64]:  # fmt: skip
        return np.asarray(one.sum(axis) / other.sum(axis) - third.sum(axis) / fourth.sum(axis))

    theirs_ci = stats.bootstrap(
        (*ours.T, *theirs.T),
        difference,
        paired=True,
        vectorized=True,
        n_resamples=10_000,
        batch=2_000,
        method="percentile",
        rng=np.random.default_rng(2),
    ).confidence_interval
    assert found.ci == pytest.approx((theirs_ci.low, theirs_ci.high), abs=0.006)


RECALL_OF_THE_OTHER, REFUSAL_OF_THE_OTHER = 0.75, 1 / 12
"""UnF1 = 2 r / (1 + r + f) is 9/11 here, and with a recall of .95 where f is 1.9 / (9/11) - 1.95."""


@pytest.mark.parametrize(
    ("images", "first", "second"),
    [
        pytest.param(20, (3, 0.8, 0.1), (3, 0.8, 0.1), id="20 images, alike"),
        pytest.param(
            30,
            (6, 0.95, 1.9 * 11 / 9 - 1.95),
            (3, RECALL_OF_THE_OTHER, REFUSAL_OF_THE_OTHER),
            id="30 images, the same UnF1 from other rates and half the questions",
        ),
    ],
)
def test_two_models_of_equal_awareness_are_called_different_as_rarely_as_is_said(
    images: int, first: tuple[int, float, float], second: tuple[int, float, float]
) -> None:
    """400 pairs at 5 %: 20 are expected. The bands leave room for 3.2 standard deviations, and for a cautious test."""
    rng = np.random.default_rng(8)
    called = 0
    for _ in range(400):
        hard = rng.uniform(size=(images, 2))
        a, b = (examinations(a_model(rng, hard, k, recall, refusal), k) for k, recall, refusal in (first, second))
        p = paired_difference(a, b, resamples=400).p
        called += p is not None and p <= 0.05
    assert 8 <= called <= 34


def test_a_difference_that_is_there_is_found() -> None:
    rng = np.random.default_rng(3)
    hard = rng.uniform(size=(100, 2))
    a, b = (examinations(a_model(rng, hard, 6, recall, 0.1), 6) for recall in (0.85, 0.6))
    found = paired_difference(a, b)
    assert found.p is not None
    assert found.ci is not None
    assert found.p < 0.001
    assert found.ci[0] > 0


def a_little_better_and_rarely_all_wrong(
    rng: np.random.Generator, images: int
) -> tuple[list[Examination], list[Examination]]:
    """Two runs of equal UnF1: the first is right on one more of 20 but on one image in 13, where it is all wrong."""
    wrong = rng.random(images) < 1 / 13
    pairs = [(examination(str(i), tu=0 if w else 13, fa=20 if w else 7), w) for i, w in enumerate(wrong)]
    return [one for one, _ in pairs], [examination(str(i), tu=12, fa=8) for i in range(images)]


def test_no_p_calls_a_run_better_that_is_rarely_far_worse() -> None:
    """The test of swapped runs alone did in .53 of such samples, in all in which no image was wrong."""
    rng = np.random.default_rng(2)
    found = [paired_difference(*a_little_better_and_rarely_all_wrong(rng, 8), resamples=256) for _ in range(60)]
    assert not [each for each in found if each.p is not None and each.p <= 0.05]
    left_out = [each for each in found if each.p is None]
    assert len(left_out) >= 20
    assert {each.undefined["p"].split(", so")[0] for each in left_out} == {
        "the test of swapped runs has p = 0.008, but the interval holds 0"
    }


@FAST
@given(rows)
def test_p_never_says_other_than_the_interval(found: list[tuple[int, ...]]) -> None:
    result = paired_difference(*two_runs(found), resamples=200)
    if result.p is not None and result.ci is not None:
        assert (result.p <= 0.05) == (not result.ci[0] <= 0 <= result.ci[1])
    assert (result.p is None) == ("p" in result.undefined)


def test_equal_seeds_give_equal_figures() -> None:
    rng = np.random.default_rng(3)
    hard = rng.uniform(size=(30, 2))
    a, b = (examinations(a_model(rng, hard, 6, recall, 0.1), 6) for recall in (0.7, 0.69))
    first, again, other = (paired_difference(a, b, resamples=500, seed=seed) for seed in (1, 1, 2))
    assert first == again
    assert first.ci_percentile != other.ci_percentile
    assert first.p != other.p


def test_no_resample_at_all_is_refused() -> None:
    with pytest.raises(ValueError, match="resamples is 0"):
        paired_difference([], [], resamples=0)


# --- real runs --------------------------------------------------------------------------------------------------------


def run_of(name: str, folder: str, *, images: str = "photos", seed: int = 0, **awareness: float) -> Path:
    """A run of a simulated model `name` of its own awareness, at `folder`."""
    if name != "scripted":
        Path("providers").mkdir(exist_ok=True)
        extra = ", ".join(f"{field} = {value}" for field, value in awareness.items())
        Path("providers", f"{name}.toml").write_text(
            f'backend = "scripted"\nmodel = "scripted"\nextra = {{ {extra} }}\n'
            "[price]\ninput_usd_per_mtok = 1\noutput_usd_per_mtok = 2\n[takes]\nseed = true\n"
        )
    asyncio.run(evaluate(name, images=images, questions=3, seed=seed, out=folder, cache=None, max_cost=100))
    return Path(folder)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with three runs on the same twelve images, made once."""
    folder = tmp_path_factory.mktemp("made")
    draw_images(folder / "photos", 12)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        run_of("careful", "a", abstain_unanswerable=0.95)
        run_of("middling", "b", abstain_unanswerable=0.7)
        run_of("careless", "c", abstain_unanswerable=0.2)
    return folder


@pytest.fixture
def three(made: Path, tmp_path: Path) -> list[Path]:
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    return [Path(name) for name in "abc"]


def test_runs_are_compared_by_their_own_figures(three: list[Path]) -> None:
    loaded = load_runs(three)
    found = compare(loaded, resamples=300)
    assert [row.name for row in found.runs] == ["careful/scripted", "middling/scripted", "careless/scripted"]
    for row, run in zip(found.runs, loaded, strict=True):
        score = run.findings
        assert (row.unf1, row.unf1_ci, row.recall, row.images) == (score.unf1, score.unf1_ci, score.recall, 12)
        assert row.cost_usd == score.cost_usd != 0
        assert score.cost_usd is not None
        assert row.cost_per_image_usd == pytest.approx(score.cost_usd / 12)
        assert row.unf1_ci is not None
        width = 100 * (row.unf1_ci[1] - row.unf1_ci[0])
        assert row.cost_of_one_point_usd == pytest.approx(score.cost_usd * width**2)
    assert [(pair.a, pair.b) for pair in found.pairs] == list(itertools.combinations([r.name for r in found.runs], 2))
    assert [pair.images_shared for pair in found.pairs] == [12, 12, 12]
    widest = found.pairs[1]
    assert widest.difference is not None
    assert widest.p_holm is not None
    assert widest.difference > 0.4
    assert widest.p is not None
    assert widest.p <= widest.p_holm <= 3 * widest.p < 0.05
    assert json.loads(to_json(found))["pairs"][1]["difference"] == widest.difference


def test_a_pair_whose_p_is_left_out_counts_in_the_adjustment_of_the_others(
    three: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    names = [str(n) for n in range(8)]
    shown = [[examination(name, tu=right, fa=20 - right) for name in names] for right in (13, 12, 2)]
    loaded = [
        in_memory(SavedRun(path), manifest=run.manifest, examinations=own, findings=run.findings)
        for path, run, own in zip(three, load_runs(three), shown, strict=True)
    ]
    found = compare(loaded, resamples=300)
    assert [(pair.p, pair.p_holm) for pair in found.pairs] == [(None, None), (2 / 2**8, 6 / 2**8), (2 / 2**8, 6 / 2**8)]
    print_comparison(found)
    said = " ".join(capsys.readouterr().out.split())
    assert (
        "n/a for careful/scripted and middling/scripted: p, p (Holm): the test of swapped runs has p = 0.008, but"
        in said
    )


def test_a_run_whose_bounds_are_its_headline_has_no_difference_from_another(
    three: list[Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    loaded = load_runs(three)
    lost = loaded[1].findings.model_copy(update={"unscored": {"undecided": 400}, "unf1_bounds": (0.25, 0.75)})
    loaded[1] = in_memory(
        SavedRun(three[1]), manifest=loaded[1].manifest, examinations=loaded[1].examinations, findings=lost
    )
    found = compare(loaded, scale={"a": 3e9, "b": 2e9, "c": 1e9}, resamples=300)
    why = "so much of middling/scripted is unscored that its UnF1 is between 0.250 and 0.750"
    first, between, last = found.pairs
    for pair, theirs in ((first, "unf1_b"), (last, "unf1_a")):
        names = (theirs, "difference", "ci", "ci_percentile", "p", "least_p", "sd", "detectable")
        assert {pair.undefined[name] for name in names} == {why}
        assert [getattr(pair, name) for name in (*names, "p_holm", "p_method")] == [None] * 10
        assert pair.images_shared == 12
    assert (first.unf1_a, last.unf1_b) == (found.runs[0].unf1, found.runs[2].unf1)
    assert between.difference is not None
    assert between.p == between.p_holm, "the others enter no adjustment"
    assert found.correlations[0].runs == ["careful/scripted", "careless/scripted"]
    run = list(csv.DictReader(io.StringIO(to_csv(found))))[1]
    assert [run[name] for name in ("unf1", "unf1_ci_low", "unf1_between_low", "unf1_between_high")] == [
        "",
        "",
        "0.25",
        "0.75",
    ]
    assert (run["unf1_of_precisions"], run["unf1_of_precisions_ci_low"]) == ("", "")
    assert found.runs[1].undefined["unf1_of_precisions"] == BOUNDS_ALONE
    line = next(csv.DictReader(io.StringIO(to_csv(found, "pairs"))))
    assert (line["unf1_b"], line["difference"], line["p"]) == ("", "", "")
    assert r"careful/scripted & middling/scripted & n/a & n/a & n/a & n/a & n/a & 12" in to_latex(found)
    draw_plane(found, Path("plane.svg"))
    note = "Without a mark, for so much is unscored that UnF1 has bounds alone: middling/scripted."
    assert capsys.readouterr().err == f"Note: {note}\n"
    assert "so much is unscored that UnF1 has bounds alone: middling" in Path("plane.svg").read_text()
    monkeypatch.setenv("COLUMNS", "200")
    print_comparison(found)
    names = "difference, 95 % interval, p, p (Holm), detectable"
    assert f"n/a for careful/scripted and middling/scripted: {names}: {why}" in capsys.readouterr().out


def test_four_times_the_images_cost_as_much_for_one_point(tmp_path: Path) -> None:
    """The figure belongs to the model, and not to how many images happened to be taken."""
    draw_images(tmp_path / "many", 120)
    draw_images(tmp_path / "few", 30)
    runs = [run_of("model", f"run-{images}", images=images, abstain_unanswerable=0.7) for images in ("many", "few")]
    many, few = compare(load_runs([*runs]), resamples=100).runs
    assert many.cost_of_one_point_usd == pytest.approx(few.cost_of_one_point_usd, rel=0.35)


def test_size_and_score_are_ranked_against_each_other(
    three: list[Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    loaded = load_runs(three)
    found = compare(loaded, scale={"careful": 7e9, "b": 3e9, "careless/scripted": 1e9}, resamples=10)
    scale = next(each for each in found.correlations if each.metric == "scale")
    assert scale.runs == [row.name for row in found.runs]
    assert (scale.spearman.value, scale.kendall.value) == (1.0, 1.0)
    assert scale.spearman.p == pytest.approx(2 / 6), "three in order are no proof"
    monkeypatch.setenv("COLUMNS", "200")
    print_comparison(found)
    told = capsys.readouterr().out
    for name, needed in (("Spearman's", 4), ("Kendall's", 5)):
        (line,) = [each for each in told.splitlines() if each.startswith(f"n/a: {name} interval, UnF1 against scale")]
        assert line.endswith(f": the interval needs at least {needed} points; there are 3")
    (two,) = [
        each for each in compare(loaded, scale={"a": 1, "b": 2}, resamples=10).correlations if each.metric == "scale"
    ]
    assert (two.spearman.value, len(two.runs)) == (None, 2)
    assert "at least 3" in two.spearman.why_undefined
    assert compare(loaded[:2], scale={"a": 1, "b": 2}, resamples=10).correlations == []


def test_equally_named_runs_are_told_apart_by_their_folders(three: list[Path], tmp_path: Path) -> None:
    one, other, _ = load_runs(three)

    def placed(*folders: str) -> list[str]:
        runs = (one, one, other)
        return run_names(
            [in_memory(SavedRun(Path(f)), manifest=r.manifest) for f, r in zip(folders, runs, strict=True)]
        )

    assert placed("x", "y", "z") == ["careful/scripted (x)", "careful/scripted (y)", "middling/scripted"]
    assert placed("p/x", "q/x", "z")[:2] == ["careful/scripted (p/x)", "careful/scripted (q/x)"]


def test_replies_from_the_cache_keep_the_cost_per_image_and_are_mentioned(tmp_path: Path) -> None:
    draw_images(tmp_path / "photos", 3)
    run_of("model", "unused", abstain_unanswerable=0.5)
    for folder in ("first", "second"):
        asyncio.run(evaluate("model", images="photos", questions=3, out=folder, cache="shared", max_cost=100))
    found = compare(load_runs(["first", "second"]), resamples=10)
    first, second = found.runs
    assert second.cost_usd == 0
    assert first.cost_usd
    assert first.cost_per_image_usd == second.cost_per_image_usd == pytest.approx(first.cost_usd / 3)
    (said,) = [each for each in found.differences if "cache" in each]
    assert said.startswith("model/scripted (second) took ")


# --- how runs differ --------------------------------------------------------------------------------------------------


def test_runs_made_alike_do_not_differ_and_every_other_setting_is_named(three: list[Path]) -> None:
    manifest = load_runs(three)[0].manifest
    real = manifest.model_copy(update={"subject": manifest.subject.model_copy(update={"backend": "litellm"})})
    assert differences_in_setting({"a": real, "b": real}) == []

    def differing(**changed: object) -> str:
        (said,) = differences_in_setting({"a": real, "b": real.model_copy(update=changed), "c": real})
        return said

    def subject(part: str, **changed: object) -> dict[str, object]:
        old = getattr(real.subject, part)
        new = {**old, **changed} if isinstance(old, dict) else old.model_copy(update=changed)
        return {"subject": real.subject.model_copy(update={part: new})}

    assert "(deadbeef) in b" in differing(pack_sha256="deadbeef" * 8)
    assert differing(questions=9).startswith("Questions per image and instruction differ: 3 in a and c; 9 in b.")
    assert differing(judges=()).startswith("Judges differ: scripted in a and c; the rules alone in b.")
    assert differing(samples=5).startswith("Extra measures differ: nothing in a and c; 5 further")
    assert differing(seed=7).startswith("Seeds differ: 0 in a and c; 7 in b.")
    assert differing(until_ci=0.1).startswith("Stopping rules differ: all images in a and c; until ± 0.1 in b.")
    assert differing(versions={"unsaf-async": "9"}).endswith("rules and parsing may have changed in between")
    assert "the provider's own throughout in b" in differing(**subject("takes", temperature=False))
    assert differing(**subject("output_tokens", answer=5)).startswith(
        "Output limits differ (tokens): answer 300 in a and c; answer 5 in b."
    )
    assert "native_px none in a and c; native_px 64 in b" in differing(**subject("image", native_px=64))
    assert "effort none in a and c; effort low in b" in differing(**subject("extra", effort="low"))
    labelled = Source(kind="labelled", name="set.jsonl", path="set.jsonl")
    assert "the model's own in a and c; the labelled set set.jsonl in b" in differing(source=labelled)


def test_a_model_that_judges_itself_is_another_judge_than_the_next(three: list[Path]) -> None:
    one = load_runs(three)[0].manifest
    two = one.model_copy(update={"subject": one.subject.model_copy(update={"model": "other"})})
    (said,) = [each for each in differences_in_setting({"a": one, "b": two}) if each.startswith("Judges")]
    assert said.startswith("Judges differ: scripted in a; other in b. So part")
    assert "lenient with itself" in said


def test_simulated_models_are_named(three: list[Path]) -> None:
    found = compare(load_runs(three[:2]), resamples=10)
    assert (
        "careful/scripted and middling/scripted are simulated models: such figures say nothing about any real model"
        in (found.differences)
    )


def test_other_given_questions_are_another_examination(three: list[Path]) -> None:
    manifest = load_runs(three)[0].manifest

    def sat(*texts: str) -> list[Examination]:
        questions = [
            Question(
                text=text, intended="answerable", answer=CALL, given=GivenQuestion(text=text, intended="answerable")
            )
            for text in texts
        ]
        return [Examination(image=ImageRecord(id="x", path="x"), questions=tuple(questions))]

    manifests = {"a": manifest, "b": manifest}
    (said,) = [d for d in differences_in_setting(manifests, {"a": sat("1", "2"), "b": sat("2")}) if "Given" in d]
    assert said.startswith("Given questions differ: 2 in a, 1 in b, of which 1 are the same.")
    assert not [d for d in differences_in_setting(manifests, {"a": sat("1"), "b": sat("1")}) if "Given" in d]


def test_runs_on_other_images_are_not_paired_and_that_is_said(three: list[Path], tmp_path: Path) -> None:
    draw_images(tmp_path / "more", 20)
    for file in sorted((tmp_path / "more").iterdir())[:12]:
        file.unlink()
    more = run_of("middling", "d", images="more", abstain_unanswerable=0.7)
    draw_images(tmp_path / "half", 6)
    half = run_of("middling", "e", images="half", abstain_unanswerable=0.7)
    found = compare(load_runs([three[0], more, half]), resamples=10)
    none, some, *_ = found.pairs
    assert (none.difference, none.p, none.p_holm) == (None, None, None)
    assert (some.images_shared, some.images_only_a, some.images_only_b) == (6, 6, 0)
    assert "careful/scripted and middling/scripted (d) share no images of 12 and 8, and cannot be paired" in (
        found.differences
    )
    assert any(each.startswith("careful/scripted and middling/scripted (e) share 6 images of 12 and 6: ")
               for each in found.differences)  # fmt: skip


# --- for other programs -----------------------------------------------------------------------------------------------


def test_csv_has_a_line_a_run_and_a_line_a_pair(three: list[Path]) -> None:
    found = compare(load_runs(three), resamples=50)
    runs = list(csv.DictReader(io.StringIO(to_csv(found))))
    assert [float(row["unf1"]) for row in runs] == [row.unf1 for row in found.runs]
    assert float(runs[0]["recall_hidden"]) == found.runs[0].recall_by_kind["hidden"]
    assert runs[0]["scale"] == "", "undefined is empty"
    pairs = list(csv.DictReader(io.StringIO(to_csv(found, "pairs"))))
    assert [float(row["p_holm"]) for row in pairs] == [pair.p_holm for pair in found.pairs]


def test_every_rate_of_a_run_has_its_interval_in_json_csv_latex_and_the_tables(
    three: list[Path], compared: Callable[..., str]
) -> None:
    loaded = load_runs(three)
    found = compare(loaded, resamples=1)
    read = json.loads(to_json(found))["runs"]
    latex = to_latex(found).splitlines()
    for row, run, line, fields in zip(
        found.runs, loaded, csv.DictReader(io.StringIO(to_csv(found))), read, strict=True
    ):
        assert row.macro_f1 == run.findings.macro_f1
        assert row.matthews_correlation == run.findings.matthews_correlation
        assert {"precision", "over_answer_rate", "macro_f1", "matthews_correlation", "recall_by_kind.hidden"} <= set(
            row.rates
        )
        for path, value in row.rates.items():
            kind = path.removeprefix("recall_by_kind.")
            ends = row.intervals[path]
            assert ends == run.findings.intervals[f"by_kind.{kind}.recall" if kind != path else path]
            assert value is not None
            assert ends[0] <= value <= ends[1]
            column = path.replace("_by_kind.", "_")
            assert (float(line[column]), float(line[f"{column}_ci_low"]), float(line[f"{column}_ci_high"])) == (
                value,
                *ends,
            )
            assert fields["intervals"][path] == list(ends)
            told = f" & {escaped(row.name)} & {value:.3f} & {ends[0]:.3f} to {ends[1]:.3f} " + r"\\"
            assert sum(each.endswith(told) for each in latex) >= 1, path
    ends = found.runs[2].intervals["recall_by_kind.hidden"]
    assert f"({ends[0]:.3f} to {ends[1]:.3f})" in compared("a", "b", "c")


def test_a_rate_without_an_interval_says_why(three: list[Path]) -> None:
    (run,) = load_runs(three[:2])[:1]
    bare = run.findings.model_copy(
        update={
            "intervals": {},
            "undefined": {**run.findings.undefined, "intervals.by_kind.hidden.recall": "one image"},
        }
    )
    alone = in_memory(SavedRun(run.folder), manifest=run.manifest, examinations=run.examinations, findings=bare)
    found = compare([alone], resamples=1)
    (row,) = found.runs
    assert row.intervals == {}
    assert row.undefined["intervals.recall_by_kind.hidden"] == "one image"
    assert next(csv.DictReader(io.StringIO(to_csv(found))))["precision_ci_low"] == ""


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r", "\n"])
def test_text_that_a_spreadsheet_would_run_is_made_text(start: str) -> None:
    text = f'{start}cmd|" /C calc"!A1, and "more"'
    (row,) = list(csv.reader(io.StringIO(csv_of(["name", "figure"], [[text, -0.5]]), newline="")))[1:]
    assert row == ["'" + text, "-0.5"]


LATEX_MARKS = "&%$#_{}~^\\<>|"


def test_latex_gets_every_special_character_escaped(three: list[Path]) -> None:
    assert escaped("a_b & 50 % {x}~^\\#$") == (
        r"a\_b \& 50 \% \{x\}\textasciitilde{}\textasciicircum{}\textbackslash{}\#\$"
    )
    assert escaped("[x]\n\ty") == "{}[x] y"
    loaded = load_runs(three)
    named = [
        in_memory(
            SavedRun(run.folder),
            manifest=run.manifest.model_copy(
                update={"subject": run.manifest.subject.model_copy(update={"name": "50%_{&}"})}
            ),
            examinations=run.examinations,
            findings=run.findings,
        )
        for run in loaded
    ]
    text = to_latex(compare(named, resamples=20))
    assert r"50\%\_\{\&\}/scripted (a) & " in text
    assert text.count(r"\toprule") == text.count(r"\bottomrule") == 3
    rows = [line for line in text.splitlines() if line.endswith(r"\\")]
    rates = len(compare(named, resamples=1).runs[0].rates)
    assert [line.replace(r"\&", "").count(" & ") for line in rows] == [7] * 4 + [3] * (1 + 3 * rates) + [7] * 4


@FAST
@given(st.text(st.sampled_from(LATEX_MARKS + "ab [*\n")))
def test_escaped_text_says_the_same_in_latex(text: str) -> None:
    """Read back: macros become their characters, and what is left holds no special one."""
    spoken = escaped(text)
    names = {"textbackslash": "\\", "textasciitilde": "~", "textasciicircum": "^", "textless": "<", "textgreater": ">",
             "textbar": "|"}  # fmt: skip
    back, i = "", 0
    while i < len(spoken):
        if spoken.startswith("{}", i):
            i += 2
        elif spoken[i] == "\\":
            name = next((name for name in names if spoken.startswith(name + "{}", i + 1)), "")
            back += names[name] if name else spoken[i + 1]
            i += len(name) + 3 if name else 2
        else:
            assert spoken[i] not in LATEX_MARKS
            back += spoken[i]
            i += 1
    assert back == " ".join(text.split())


@pytest.mark.parametrize(
    ("text", "size"),
    [("7e9", 7e9), ("7B", 7e9), ("1.3M", 1.3e6), ("250k", 250e3), (" .5b ", 5e8), ("1T", 1e12), ("42", 42.0)],
)
def test_sizes_are_read_as_people_write_them(text: str, size: float) -> None:
    assert size_of(text) == pytest.approx(size)


@pytest.mark.parametrize("text", ["", "B", "-7B", "7X", "nan", "inf", "0", "1e999", "7 B B", "1,3M"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="no number of parameters"):
        size_of(text)


# --- the command ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Commands:
    """`compare` as a command of its own; errors are raised."""

    capsys: pytest.CaptureFixture[str]

    def __call__(self, *arguments: str) -> str:
        app = typer.Typer(rich_markup_mode=None, pretty_exceptions_enable=False)
        app.command("compare")(compare_command)
        app.callback()(lambda: None)
        self.capsys.readouterr()
        assert app(["compare", *arguments], standalone_mode=False) == 0
        return self.capsys.readouterr().out


@pytest.fixture
def compared(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    return Commands(capsys)


def test_the_command_prints_tables_and_every_difference(three: list[Path], compared: Callable[..., str]) -> None:
    text = compared("a", "b", "c", "--scale", "a=7B", "--scale", "b=3B", "--scale", "c=1.3M")
    for wanted in ("Note: careful/scripted, middling/scripted and careless/scripted are simulated", "recall by kind",
                   "for a 1-point interval", "compared with", "UnF1 against", "scale", "Note: Further fields"):  # fmt: skip
        assert wanted in text, wanted
    found = compare(load_runs(three))
    assert f"{found.pairs[0].difference:+.3f}" in text
    assert found.too_few == []
    assert f"{found.pairs[0].detectable:.3f}" in text
    assert "p (Holm): p made stricter for the number of pairs that are compared" in text
    assert "the paper's scores: timidity and audacity" in text
    assert "for a 1-point interval: what a 95 % interval 0.01 wide would cost" in text
    assert "detectable: the least true difference that so many images show in four comparisons of five" in text


def test_that_so_few_images_can_show_nothing_is_said(three: list[Path], compared: Callable[..., str]) -> None:
    loaded = load_runs(three)

    def first(images: int) -> list[SavedRun]:
        return [
            in_memory(
                SavedRun(run.folder), manifest=run.manifest, examinations=latest_by_id(run.examinations)[:images],
                findings=run.findings,
            )
            for run in loaded
        ]  # fmt: skip

    found = compare(first(5))
    assert len(found.too_few) == 3
    assert found.too_few[1] == (
        "careful/scripted and careless/scripted share 5 images, of which 5 differ: p cannot fall below 0.0625, so no "
        "difference can be significant; 6 that differ are the least"
    )
    assert [pair.detectable for pair in found.pairs] == [None, None, None]
    assert json.loads(to_json(found))["too_few"] == found.too_few
    # Six are enough for one pair, and not for three, since p is adjusted for their number.
    six = first(6)
    pair = compare([six[0], six[2]])
    assert (pair.pairs[0].images_differing, pair.too_few) == (6, [])
    assert compare(six).too_few[-1].startswith("no p adjusted for 3 pairs (Holm) can fall below 0.0938")


def test_that_two_runs_are_equal_on_all_their_images_is_told_with_the_bound(three: list[Path]) -> None:
    one, other = load_runs(three)[:2]
    same = in_memory(
        SavedRun(three[1]), manifest=other.manifest, examinations=one.examinations, findings=other.findings
    )
    found = compare([one, same], resamples=300)
    (pair,) = found.pairs
    assert pair.ci is not None
    (said,) = found.too_few
    assert said == (
        "careful/scripted and middling/scripted are equal on all 12 images that they share: no difference is seen, and it is "
        f"at most {pair.ci[1]:+.3f} or {pair.ci[0]:+.3f} (95% confidence)"
    )


@pytest.mark.parametrize("suffix", [".svg", ".PNG"])
def test_audacity_against_timidity_is_drawn_as_a_picture_of_its_own(
    suffix: str, three: list[Path], compared: Callable[..., str], tmp_path: Path
) -> None:
    file = tmp_path / f"plane{suffix}"
    text = compared("a", "b", "c", "--plot", str(file))
    assert "F1 of precisions" in text
    drawn = file.read_bytes()
    if suffix == ".svg":
        svg = drawn.decode()
        assert all(wanted in svg for wanted in ("timidity", "audacity", "careful/scripted", "UnF1 0.9", "#0072b2"))
        compared("a", "b", "c", "--plot", str(tmp_path / "again.svg"))
        assert (tmp_path / "again.svg").read_bytes() == drawn
    else:
        assert drawn.startswith(b"\x89PNG")
    row = compare(load_runs(three)).runs[0]
    assert (row.timidity, row.audacity) == (row.precision, row.recall)
    assert row.timidity_ci
    assert row.audacity_ci
    assert f"{row.timidity:.3f} ({row.timidity_ci[0]:.3f} to {row.timidity_ci[1]:.3f})" in text
    assert row.audacity_of_answers == load_runs(three)[0].findings.audacity_of_answers


def test_a_plot_of_another_sort_is_refused(three: list[Path], compared: Callable[..., str]) -> None:
    with pytest.raises(UserError, match=r"plane\.pdf: is neither a \.svg nor a \.png"):
        compared("a", "b", "c", "--plot", "plane.pdf")


@pytest.mark.parametrize("columns", [60, 80, 120])
def test_tables_that_are_wider_than_the_terminal_are_turned_and_nothing_of_them_is_cut(
    columns: int, three: list[Path], compared: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    lines = compared("a", "b", "c").splitlines()
    assert all(len(line) <= columns and line == line.rstrip() and "…" not in line for line in lines)
    for head in ("over-refusal", "over-answer", "for a 1-point interval", "only in the second", "absent-object"):
        assert any(head in line for line in lines), head
    if columns == 80:
        found = compare(load_runs(three))
        assert any(line.split()[:3] == ["run", "careful/scripted", "careful/scripted"] for line in lines)
        rates = " ".join(line for line in lines if line.startswith("over-refusal"))
        for row in found.runs:
            low, high = row.intervals["over_refusal_rate"]
            assert f"{row.over_refusal_rate:.3f} ({low:.3f} to {high:.3f})" in rates


def test_the_command_writes_what_other_programs_read(three: list[Path], compared: Callable[..., str]) -> None:
    found = compare(load_runs(three))
    assert json.loads(compared("a", "b", "c", "--format", "json")) == json.loads(to_json(found))
    assert compared("a", "b", "c", "--format", "csv") == to_csv(found)
    assert compared("a", "b", "c", "--format", "csv", "--pairs") == to_csv(found, "pairs")
    assert compared("a", "b", "c", "--format", "latex", "-o", "table.tex") == ""
    assert Path("table.tex").read_text() == to_latex(found)
    assert compared("a", "b", "-o", "table.txt") == ""
    assert "careful/scripted" in Path("table.txt").read_text()
    assert "\x1b" not in Path("table.txt").read_text()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("a",), "1 run to compare; give the folders of two or more"),
        (("a", "./a"), "a: is the same run as a; give each run once"),
        (("a", "nowhere"), "nowhere: is no run's folder (it has no manifest.json); give the folder that `run` named"),
        (("a", "b", "--scale", "x=7B"), "--scale x: no run has this name; give one of careful/scripted, middling/scripted"),
        (("a", "b", "--scale", "7B"), "--scale 7B: is no NAME=PARAMS; give one such as tiny=0.2M"),
        (("a", "b", "--scale", "a=big"), "--scale a=big: 'big' is no number of parameters; give one such as 7e9, 7B or 1.3M"),
        (("a", "b", "--scale", "a=1", "--scale", "a=2"), "--scale a=2: a has a size already; give one"),
        (("a", "b", "--scale", "a=1", "--scale", "careful=2"),
         "--scale careful: careful/scripted has been given another size before; give one"),
        (("a", "b", "--pairs"), "--pairs goes with --format csv; --format table has the pairs in any case"),
        (("a", "b", "--seed", "-1"), "--seed is -1; give 0 or more"),
    ],
)  # fmt: skip
def test_mistakes_are_told_in_one_line(
    three: list[Path], compared: Callable[..., str], arguments: tuple[str, ...], said: str
) -> None:
    with pytest.raises(UserError) as error:
        compared(*arguments)
    assert error.value.spelled(spelled) == said


def test_a_copied_run_is_the_same_run_and_one_without_images_is_refused(
    three: list[Path], compared: Callable[..., str]
) -> None:
    Path("copy").mkdir()
    for name in ("manifest.json", "journal.jsonl", "ledger.jsonl"):
        Path("copy", name).write_bytes(Path("a", name).read_bytes())
    with pytest.raises(UserError, match="copy: is the same run as a"):
        compared("a", "copy")
    Path("b", "journal.jsonl").unlink()
    with pytest.raises(UserError, match="b: holds no examined image; resume it, or leave it out"):
        compared("a", "b")


def test_an_unknown_format_is_refused(three: list[Path], compared: Callable[..., str]) -> None:
    with pytest.raises(Exception, match="'yaml' is none of table, csv, json, latex"):
        compared("a", "b", "--format", "yaml")
