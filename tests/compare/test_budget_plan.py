"""What a sum of money buys, by the price map, a pilot or a finished run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson
import pytest
from commandline import command
from driving import draw_images
from truths import measured, scripted_model

from unsaf_async.runs.saved import SavedRun

if TYPE_CHECKING:
    from commandline import Ended

IMAGES = 10


def planned(capsys: pytest.CaptureFixture[str], *more: str) -> Ended:
    scripted_model("ada", input_usd_per_mtok=100)
    draw_images(Path("images"), IMAGES)
    return command(capsys, "estimate", "--provider", "ada", "--images", "images", "--questions", "3", "--quiet", *more)


def plan_of(ended: Ended) -> dict[str, Any]:
    assert ended.code == 0, ended.err
    plan: dict[str, Any] = orjson.loads(ended.out)
    return plan


def test_without_a_run_it_calls_nobody_and_a_judge_costs_images_and_leaves_nothing_open(
    capsys: pytest.CaptureFixture[str],
) -> None:
    plan = plan_of(planned(capsys, "--budget", "4", "--json"))
    rules, judged = plan["choices"]
    assert (rules["judge"], judged["judge"], plan["images"]) == ("rules", "self", IMAGES)
    assert rules["image_usd"] < judged["image_usd"]
    assert 0 < judged["images"] <= rules["images"] < IMAGES
    assert (rules["open_share"], judged["open_share"]) == (0.4, 0)
    for each in plan["choices"]:
        last = each["cost_usd"] - each["image_usd"]
        assert last + each["image_worst_usd"] <= 4 < last + each["image_usd"] + each["image_worst_usd"]
    assert not Path("runs").exists()


def test_where_a_vendor_sells_batches_a_sum_buys_twice_the_images_but_the_first(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
    draw_images(Path("images"), IMAGES)
    options = ("estimate", "--provider", "gpt-5.4-mini", "--images", "images", "--quiet", "--json", "--budget", "0.2")
    alone, judged, together, judged_together = plan_of(command(capsys, *options))["choices"]
    assert [each["batch"] for each in (alone, judged, together, judged_together)] == [False, False, True, True]
    assert together["image_usd"] == pytest.approx(alone["image_usd"] / 2)
    assert together["affordable"] > 2 * alone["affordable"]  # each holds half as much, too, while it is examined
    again = plan_of(command(capsys, *options, "--batch"))["choices"]
    assert again == [alone, judged, together, judged_together]


def test_the_cap_lets_about_as_many_images_begin_as_the_plan_says(capsys: pytest.CaptureFixture[str]) -> None:
    scripted_model("ada", input_usd_per_mtok=100)
    images = draw_images(Path("images"), IMAGES)
    measured("ada", images, Path("whole"), judge="rules")
    plan = plan_of(planned(capsys, "--budget", "5", "--json", "--from-run", "whole"))
    rules = plan["choices"][0]
    assert plan["basis"] == f"{IMAGES} images of whole"
    assert rules["image_usd"] == pytest.approx(SavedRun(Path("whole")).account.cost_usd / IMAGES)
    budget_usd = rules["image_worst_usd"] + 4.5 * rules["image_usd"]
    again = plan_of(planned(capsys, "--budget", str(budget_usd), "--json", "--from-run", "whole"))
    assert again["choices"][0]["images"] == 5
    measured("ada", images, Path("capped"), judge="rules", max_cost=budget_usd)
    assert abs(len(SavedRun(Path("capped")).examinations) - 5) <= 1


def test_a_run_with_that_judge_tells_what_the_judge_costs_and_what_the_rules_leave_open(
    capsys: pytest.CaptureFixture[str],
) -> None:
    scripted_model("ada", input_usd_per_mtok=100, hedge=0.6)
    measured("ada", draw_images(Path("images"), IMAGES), Path("whole"), judge="self")
    examinations = SavedRun(Path("whole")).examinations
    scripted_model("ada", input_usd_per_mtok=100)
    rules, judged = plan_of(planned(capsys, "--budget", "3", "--json", "--from-run", "whole"))["choices"]
    questions = [question for each in examinations for question in each.questions]
    calls = [call for each in examinations for call in each.calls]
    assert judged["image_usd"] == pytest.approx(sum(call.cost_usd for call in calls) / IMAGES)
    assert judged["image_usd"] - rules["image_usd"] == pytest.approx(
        sum(call.cost_usd for call in calls if call.role == "judge") / IMAGES
    )
    assert rules["open_share"] == sum(each.decided_by == "judge" for each in questions) / len(questions) > 0


def test_a_pilot_is_planned_from_and_its_cap_is_the_sum(capsys: pytest.CaptureFixture[str]) -> None:
    ended = planned(capsys, "--budget", "8", "--pilot", "5", "--out", "run")
    assert ended.code == 0, ended.err
    assert "For $8.00, by 5 images of run-pilot-5" in ended.out
    assert max(map(len, ended.out.splitlines()[:4])) <= 80
    assert SavedRun(Path("run-pilot-5")).manifest.max_cost_usd == 8


def test_a_sum_below_one_image_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    ended = planned(capsys, "--budget", "0.001")
    assert ended.code == 0
    assert "rules: one image can cost $" in ended.out
    assert "so none would begin under that cap" in ended.out


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--budget", "0"), "--budget is 0; give an amount in USD above 0"),
        (("--from-run", "whole"), "--from-run is for a plan; give --budget, too"),
        (("--budget", "3", "--from-run", "whole", "--pilot", "3"), "--from-run and --pilot contradict each other"),
        (("--budget", "3", "--from-run", "images"), "--from-run images: is no run's folder"),
        (("--budget", "3", "--from-run", "whole"), "--from-run: whole is a run of bob; give one of ada"),
    ],
)
def test_a_plan_that_cannot_be_is_one_line(
    options: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    if said.endswith("one of ada"):
        scripted_model("bob")
        measured("bob", draw_images(Path("images"), 1), Path("whole"))
    ended = planned(capsys, *options)
    assert (ended.code, ended.err.count("\n")) == (2, 1), ended.err
    assert said in ended.err
