"""How many images a comparison takes: the arithmetic against scipy and simulation, the plans, and the command."""

from __future__ import annotations

import importlib.util
import json
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from commandline import command
from driving import draw_images
from scipy import stats
from truths import measured, scripted_model

from unsaf_async.cli import _spread
from unsaf_async.compare.pairing import contributions, examined, match, pair_of, paired_difference
from unsaf_async.compare.power import PowerPlan, plan
from unsaf_async.compare.power_settings import Aim, Rates
from unsaf_async.compare.sample_size import (
    FEWEST_IMAGES,
    MOST_IMAGES,
    detectable,
    half_width,
    images_for_half_width,
    images_for_power,
    least_p,
    power_of,
)
from unsaf_async.errors import UserError
from unsaf_async.runs.saved import SavedRun
from unsaf_async.runs.stopping import StopWhenNarrow

if TYPE_CHECKING:
    from types import ModuleType

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


# --- the arithmetic ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("difference", "sd", "images"), [(0.03, 0.25, 300), (0.1, 0.2, 12), (0.001, 0.3, 50)])
def test_power_is_that_of_the_paired_t_test(difference: float, sd: float, images: int) -> None:
    shift, bar = difference / sd * np.sqrt(images), stats.t.ppf(0.975, images - 1)
    expected = stats.nct.sf(bar, images - 1, shift) + stats.nct.cdf(-bar, images - 1, shift)
    assert power_of(difference, sd, images) == pytest.approx(expected, abs=1e-6)
    assert power_of(-difference, sd, images) == power_of(difference, sd, images)


def test_a_drawn_t_test_finds_a_difference_as_often_as_is_said() -> None:
    images = images_for_power(0.1, 0.3)
    drawn = np.random.default_rng(1).normal(0.1, 0.3, (20_000, images))
    t = drawn.mean(axis=1) / (drawn.std(axis=1, ddof=1) / np.sqrt(images))
    assert np.mean(np.abs(t) > stats.t.ppf(0.975, images - 1)) == pytest.approx(0.8, abs=0.015)


@pytest.mark.parametrize("power", [0.8, 0.9])
@pytest.mark.parametrize(("difference", "sd"), [(0.03, 0.25), (0.2, 0.1), (0.0012, 0.9)])
def test_the_number_of_images_is_the_least_and_the_detectable_difference_its_inverse(
    difference: float, sd: float, power: float
) -> None:
    images = images_for_power(difference, sd, power)
    assert power_of(difference, sd, images) >= power
    assert images == FEWEST_IMAGES or power_of(difference, sd, images - 1) < power
    with_so_many, with_one_less = detectable(sd, images, power), detectable(sd, images - 1, power)
    assert with_so_many is not None
    assert with_so_many <= difference + 1e-12
    assert with_one_less is None or with_one_less > difference
    single = images_for_half_width(difference, sd)
    assert half_width(sd, single) <= difference < half_width(sd, single - 1)


def test_few_images_and_no_spread_have_their_own_answers() -> None:
    assert [least_p(images, 10_000) for images in (0, 1, 5, 6)] == [1.0, 1.0, 0.0625, 0.03125]
    assert least_p(40, 999) == 0.001
    assert (power_of(0.9, 0.1, 5), detectable(0.1, 5)) == (0.0, None)
    assert (power_of(0.1, 0.0, 10), power_of(0.0, 0.0, 10), detectable(0.0, 10)) == (1.0, 0.0, None)
    assert power_of(0.0, 0.3, 40) == pytest.approx(0.05)
    assert power_of(1.0, 1e-6, 1000) == 1.0
    assert half_width(0.3, 1) == np.inf
    assert images_for_power(1e-9, 1.0) >= MOST_IMAGES


# --- plans from rates -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "rates",
    [
        Rates(),
        Rates(unf1=0.9, questions=3, image_correlation=0.3),
        Rates(unf1=0.6, over_refusal=0.05, questions=4, image_correlation=0.0),
    ],
)
def test_the_spread_by_rates_is_that_of_drawn_images(rates: Rates) -> None:
    rng, k, i = np.random.default_rng(0), rates.questions, rates.image_correlation
    counts = []
    for rate in (rates.spread.recall, rates.spread.refusal):
        spread = 1 / i - 1 if i else 0.0
        own = rng.beta(rate * spread, (1 - rate) * spread, 40_000) if i else rate
        counts.append(rng.binomial(k, own, 40_000))
    tu, fu = counts
    pairs = np.stack([2 * tu, 2 * tu + fu + k - tu], axis=1)
    assert pairs[:, 0].sum() / pairs[:, 1].sum() == pytest.approx(rates.unf1, abs=0.005)
    assert rates.spread.sd == pytest.approx(np.std(contributions(pairs)), rel=0.02)


def test_the_spread_is_at_most_what_is_said_where_the_same_images_are_hard_for_both_labels() -> None:
    rates, rng = Rates(), np.random.default_rng(0)
    spread = 1 / rates.image_correlation - 1
    recall = rng.beta(rates.spread.recall * spread, (1 - rates.spread.recall) * spread, 40_000)
    tu, fu = rng.binomial(6, recall), rng.binomial(6, 1 - recall)
    drawn = np.std(contributions(np.stack([2 * tu, 2 * tu + fu + 6 - tu], axis=1)))
    assert rates.spread.sd_if_shared == pytest.approx(drawn, rel=0.02)
    assert rates.spread.sd_if_shared > 1.1 * rates.spread.sd
    assert Rates(image_correlation=0.0).spread.sd_if_shared == Rates(image_correlation=0.0).spread.sd


def test_a_plan_by_rates_names_its_assumptions_and_what_so_many_images_show() -> None:
    found = plan(Aim())
    assert (found.basis, found.difference, found.correlation) == ("rates", 0.03, 0.3)
    assert found.sd == pytest.approx(Rates().spread.sd * np.sqrt(1.4))
    assert found.images_needed == {
        "0.8": images_for_power(0.03, found.sd),
        "0.9": images_for_power(0.03, found.sd, 0.9),
    }
    assert found.models[0].images_needed == images_for_half_width(0.03, Rates().spread.sd)
    for rule, needed in (("fixed-width", found.models[0].images_until_ci), ("anytime", found.models[0].images_anytime)):
        assert needed == StopWhenNarrow(0.03, rule=rule).expected_images(Rates().spread)  # type: ignore[arg-type]
    assert plan(Aim(half_width=0.5)).models[0].images_until_ci is None, "no run stops there"
    assert (found.images, found.power, found.detectable) == (None, None, None)
    assert set(found.undefined) == {"images", "power", "detectable", "models.0.images", "models.0.half_width"}
    assert len(found.assumptions) == 4
    assert "if the same images are hard for both, up to 1.3 times as many images are needed" in found.assumptions[2]
    with_some = plan(Aim(images=200, correlation=0.6), rates=Rates(unf1=0.8))
    assert with_some.power == power_of(0.03, with_some.sd, 200)
    assert with_some.detectable == detectable(with_some.sd, 200)
    assert with_some.models[0].half_width == half_width(Rates(unf1=0.8).spread.sd, 200)
    assert plan(Aim(images=5)).undefined == {"detectable": "with fewer than 6 images no difference is significant"}


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Aim(difference=0), "give 0.001 to 1"),
        (lambda: Aim(half_width=2), "give 0.001 to 1"),
        (lambda: Aim(images=1), "give 2 or more"),
        (lambda: Aim(correlation=1), "to below 1"),
        (lambda: Rates(unf1=1), "between 0 and 1"),
        (lambda: Rates(over_refusal=1), "from 0 to below 1"),
        (lambda: Rates(questions=0), "give 1 or more"),
        (lambda: Rates(image_correlation=-0.1), "from 0 to 1"),
        (lambda: Rates(unf1=0.95, over_refusal=0.2), "with an over-refusal of 0.2 it is 0.909 at most"),
        (lambda: plan(Aim(), ["a", "b", "c"]), "give one or two"),
    ],
)
def test_what_cannot_be_is_refused(make: object, said: str) -> None:
    assert callable(make)
    with pytest.raises(UserError, match=said):
        make()


# --- plans from runs, and the command ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        images = draw_images(Path("images"), 12)
        for name, recall in (("ada", 0.9), ("bob", 0.6)):
            scripted_model(name, seed=len(name), abstain_unanswerable=recall, over_refuse=0.15)
            measured(name, images, Path("run") / name, questions=3)
    return folder


def test_a_plan_from_two_runs_is_that_of_their_paired_images(
    runs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(runs)
    ended = command(capsys, "power", "--runs", "run/ada", "run/bob", "--difference", "0.05", "--json")
    assert (ended.code, ended.err) == (0, "")
    found = PowerPlan.model_validate(json.loads(ended.out))
    ours, theirs = (SavedRun(Path("run", name)).examinations for name in ("ada", "bob"))
    paired = paired_difference(ours, theirs, resamples=10)
    assert paired.sd is not None
    assert found.sd == pytest.approx(paired.sd)
    assert (found.basis, found.images, found.detectable) == ("two runs", 12, pytest.approx(paired.detectable))
    assert found.images_needed["0.8"] == images_for_power(0.05, paired.sd)
    assert [model.name for model in found.models] == ["ada", "bob"]
    assert found.models[0].unf1 == pytest.approx(paired.unf1_a)
    rows = np.array([(*pair_of(one), *pair_of(other)) for one, other in match(examined(ours), examined(theirs))])
    one, other = contributions(rows[:, :2]), contributions(rows[:, 2:])
    assert found.correlation == pytest.approx(np.corrcoef(one, other)[0, 1])
    assert [model.sd for model in found.models] == pytest.approx([np.std(each, ddof=1) for each in (one, other)])
    ended = command(capsys, "power", "--runs", "run/ada", "run/bob", "--difference", "0.05")
    lines = ended.out.splitlines()
    assert [line.partition(";")[0] for line in lines[:2]] == [f"Note: {name} has 12 images" for name in ("ada", "bob")]
    assert lines[2] == (
        f"A difference of 0.05: {found.images_needed['0.8']:,} images at a power of 0.8; "
        f"{found.images_needed['0.9']:,} images at a power of 0.9"
    )
    assert "as the runs have it" in " ".join(ended.out.split())
    assert "with a power of 0.8 is" in " ".join(ended.out.split())
    assert "+-" not in ended.out
    assert "sd: standard deviation" in " ".join(ended.out.split())


def test_equal_pictures_of_two_runs_count_once_in_what_their_images_can_show(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    images = draw_images(Path("images"), 8)
    for number, file in enumerate(images[:4]):
        shutil.copy(file, file.with_name(f"copy-{number}.png"))
    files = sorted(Path("images").iterdir())
    for name, recall in (("ada", 0.9), ("bob", 0.5)):
        scripted_model(name, seed=len(name), abstain_unanswerable=recall, over_refuse=0.15)
        measured(name, files, Path("run") / name, questions=2)
    paired = paired_difference(*(SavedRun(Path("run", name)).examinations for name in ("ada", "bob")), resamples=10)
    found = plan(Aim(), ["run/ada", "run/bob"])
    assert (paired.images_shared, found.images) == (12, 8)
    assert paired.sd is not None
    assert found.power == power_of(0.03, paired.sd, 8)
    assert found.detectable == pytest.approx(paired.detectable)


def test_a_plan_from_one_run_assumes_another_like_it_and_contradictions_are_refused(
    runs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(runs)
    found = plan(Aim(images=100), ["run/ada"])
    assert (found.basis, found.correlation, found.images) == ("one run", 0.3, 100)
    assert found.sd == pytest.approx(found.models[0].sd * np.sqrt(1.4))
    assert "another model is like ada" in found.assumptions
    shown = command(capsys, "power", "--runs", "run/ada").out
    (model,) = plan(Aim(), ["run/ada"]).models
    assert model.images_until_ci is not None
    assert f"stops after about {model.images_until_ci:,} images" in shown
    assert (f"Note: ada has {found.models[0].images} images; below 20 a plan" in shown) == (found.models[0].images < 20)
    for arguments, said in (
        (("--runs", "run/ada", "--unf1", "0.5"), "--unf1 is read from the runs"),
        (("--runs", "run/ada", "run/bob", "--correlation", "0.5"), "--correlation is measured on two runs"),
        (("--runs", "nowhere"), "is no run's folder"),
        (("--difference", "0"), "--difference is 0; give 0.001 to 1"),
    ):
        ended = command(capsys, "power", *arguments)
        assert ended.code == 2
        assert said in ended.err
        assert ended.out == ""


def test_folders_follow_runs_as_paths_follow_images() -> None:
    assert _spread(["power", "--runs", "a", "b", "--json"]) == ["power", "--runs", "a", "--runs", "b", "--json"]
    assert _spread(["power", "--runs", "a", "--images", "50"]) == ["power", "--runs", "a", "--images", "50"]
    assert _spread(["run", "--images", "a", "b"]) == ["run", "--images", "a", "--images", "b"]


# --- the benchmark ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def study() -> ModuleType:
    """benchmarks/power.py, as a module."""
    spec = importlib.util.spec_from_file_location("power_study", BENCHMARKS / "power.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def test_as_many_images_as_are_named_find_the_difference_as_often_as_is_said(study: ModuleType) -> None:
    """The short form: the test itself, at the rates of a quick case. Four standard errors of 60 replications: .2."""
    case = study.Case(0.8, 6, 0.1, 0.3, 0.15, 0.8)
    rng = np.random.default_rng(0)
    images = case.predicted(rng)
    assert images < 20
    assert study.found_share(case, images, 60, rng) == pytest.approx(0.8, abs=0.2)


def test_the_simulated_models_are_as_the_case_says(study: ModuleType) -> None:
    case = study.Case(0.7, 6, 0.3, 0.3, 0.06, 0.8)
    ours, theirs = study.drawn(case, 6_000, np.random.default_rng(0))
    one, other = study._pairs(case, ours), study._pairs(case, theirs)
    assert [each[:, 0].sum() / each[:, 1].sum() for each in (one, other)] == pytest.approx([0.73, 0.67], abs=0.015)
    assert np.corrcoef(contributions(one), contributions(other))[0, 1] == pytest.approx(0.3, abs=0.06)
    assert [pair_of(each) for each in study.examinations(case, ours[:30])] == [tuple(row) for row in one[:30]]
