"""A finished run's answers judged anew: nothing is answered again, every verdict is paid once, the run stays as it is."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from html import unescape
from pathlib import Path
from typing import TYPE_CHECKING

import aiohttp
import pytest
from commandline import Ended, command, serving
from driving import draw_images
from truths import measured, scripted_model, served_model

from unsaf_async.calls.ledger import read_account
from unsaf_async.compare.comparison import compare, load_runs
from unsaf_async.compare.judged import judged_scores
from unsaf_async.compare.verdicts import same_answers
from unsaf_async.errors import UserError
from unsaf_async.examine.judge import left_open
from unsaf_async.prompts import load_pack
from unsaf_async.report.viewer import Viewer, find_runs
from unsaf_async.runs.estimate import estimate_more
from unsaf_async.runs.folder import read_manifest, read_signed, reopen
from unsaf_async.runs.journal import read_journal
from unsaf_async.runs.rejudge import plan_judging
from unsaf_async.runs.saved import SavedRun
from unsaf_async.runs.settings import Rejudging
from unsaf_async.simulate.settings import Simulation
from unsaf_async.text import format_bracketed, format_difference, format_interval, printable_json

if TYPE_CHECKING:
    from collections.abc import Iterator

    from unsaf_async.records import Control
    from unsaf_async.runs.folder import Manifest
    from unsaf_async.runs.rejudge import PlannedJudging
    from unsaf_async.simulate.server import Simulator

PRICE = (2.5, 10)
QUIETLY = ("--quiet", "--no-report")
BASE = Path("base")


@pytest.fixture
def images() -> list[Path]:
    return draw_images(Path("images"), 8)


@pytest.fixture
def base(images: list[Path]) -> Path:
    """A run of a free model that judges itself without error, and that hedges often."""
    scripted_model("subject", hedge=0.6)
    measured("subject", images, BASE, judge="self", questions=6)
    return BASE


@pytest.fixture
def simulator() -> Iterator[Simulator]:
    with serving(Simulation(any_model=True, price=PRICE)) as simulator:
        served_model("paid", simulator.openai_base, PRICE)
        yield simulator


def again(capsys: pytest.CaptureFixture[str], *arguments: str) -> Ended:
    return command(capsys, "judge", str(BASE), *QUIETLY, *arguments)


def files_of(run: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in run.iterdir() if file.is_file()}


def open_answers(run: Path) -> int:
    """How many answers of a run no rule decides."""
    return sum(
        left_open(each.text, each.response, each.answer.finish_reason) is not None
        for examination in read_journal(run / "journal.jsonl").values()
        for each in examination.questions
    )


def verdicts(run: Path) -> dict[tuple[str, str], str | None]:
    return {
        (examination.image.id, each.text): each.act
        for examination in read_journal(run / "journal.jsonl").values()
        for each in examination.questions
    }


@pytest.mark.usefixtures("base")
def test_only_what_the_rules_leave_open_is_asked_and_paid_and_the_run_stays_as_it_is(
    simulator: Simulator, capsys: pytest.CaptureFixture[str]
) -> None:
    before = files_of(BASE)
    ended = again(capsys, "--judge", "paid", "--max-cost", "1", "--json")
    assert ended.code == 0, ended.err
    assert files_of(BASE) == before
    number = open_answers(BASE)
    assert number > 5
    new = SavedRun(BASE / "judged" / "paid")
    assert simulator.ledger.requests == number
    assert {role for role, calls in new.account.made.items() if calls} == {"judge"}
    assert new.account.cost_usd == pytest.approx(float(simulator.ledger.billed_usd), abs=1e-9)
    found = json.loads(ended.out)
    assert found["judge"] == "paid"
    assert found["cost_usd"] == pytest.approx(new.account.cost_usd)
    assert not [line for line in found["warnings"] if "ledger" in line]
    assert printable_json(SavedRun(BASE).findings.model_dump_json(indent=2)) == before["score.json"].decode().strip()
    # The answers and what was asked are the run's, word for word.
    theirs = SavedRun(BASE).examinations
    for mine in new.examinations:
        (same,) = [each for each in theirs if each.image.id == mine.image.id]
        assert [(each.text, each.response, each.intended) for each in mine.questions] == (
            [(each.text, each.response, each.intended) for each in same.questions]
        )
        assert all(call.cached for call in (*mine.asks, *(each.answer for each in mine.questions)))


@pytest.mark.usefixtures("base", "simulator")
def test_a_second_time_costs_nothing_and_another_judge_needs_another_folder(
    capsys: pytest.CaptureFixture[str],
) -> None:
    first = again(capsys, "--judge", "paid", "--max-cost", "1", "--json")
    spent = read_account(BASE / "judged/paid/ledger.jsonl").spent_nano_usd
    second = again(capsys, "--judge", "paid", "--max-cost", "1", "--json")
    assert (second.code, second.out) == (0, first.out)
    assert read_account(BASE / "judged/paid/ledger.jsonl").spent_nano_usd == spent > 0
    other = again(capsys, "--judge", "rules", "--name", "paid")
    assert other.code == 2
    assert "holds a run with" not in other.err
    assert "give another name" in other.err
    assert read_manifest(BASE / "judged/paid").judges == ("paid",)


@pytest.mark.usefixtures("base")
def test_answers_are_judged_anew_several_in_one_call_and_again_alone(
    simulator: Simulator, capsys: pytest.CaptureFixture[str]
) -> None:
    ended = again(capsys, "--judge", "paid", "--judge-together", "12", "--max-cost", "1", "--name", "together")
    assert ended.code == 0, ended.err
    new = SavedRun(BASE / "judged/together")
    assert verdicts(new.folder) == verdicts(BASE)
    assert new.findings.judged_together is not None
    assert simulator.ledger.requests == new.account.made["judge"] < open_answers(BASE)
    assert new.account.cost_usd == pytest.approx(float(simulator.ledger.billed_usd), abs=1e-9)
    assert new.manifest.judge_together == 12
    assert new.pack.together_sha256 == new.manifest.judge_together_sha256 != ""
    found = compare(load_runs([BASE, new.folder]))
    assert any(line.startswith("Responses judged in one call differ") for line in found.differences)
    assert not any(line.startswith("Prompts differ") for line in found.differences)
    # The run's own judge may judge together, and by a rubric each alone.
    assert again(capsys, "--judge-together", "12", "--name", "own").code == 0
    assert verdicts(BASE / "judged/own") == verdicts(BASE)
    refused = again(capsys, "--judge-together", "12", "--rubric", "unsaf/de")
    assert refused.code == 2
    assert "--judge-together: --rubric is a prompt about one response" in refused.err
    assert "the same verdicts would come" in again(capsys, "--judge-together", "1").err


@pytest.mark.usefixtures("base")
def test_a_cap_stops_it_and_resume_goes_on_to_the_same_verdicts(
    simulator: Simulator, capsys: pytest.CaptureFixture[str]
) -> None:
    assert again(capsys, "--judge", "paid", "-y", "--no-cache", "--name", "free").code == 0
    whole_usd = float(simulator.ledger.billed_usd)
    ended = again(capsys, "--judge", "paid", "--no-cache", "--max-cost", str(whole_usd / 2))
    billed_usd = float(simulator.ledger.billed_usd) - whole_usd
    assert ended.code == 3, ended.err
    assert 0 < billed_usd <= whole_usd / 2
    assert "resume base/judged/paid --max-cost USD" in ended.err
    ended = command(capsys, "resume", str(BASE / "judged/paid"), "--max-cost", str(2 * whole_usd), *QUIETLY)
    assert ended.code == 0, ended.err
    assert float(simulator.ledger.billed_usd) - whole_usd == pytest.approx(whole_usd)
    assert verdicts(BASE / "judged/paid") == verdicts(BASE / "judged/free")


def test_no_verdict_is_paid_twice_after_a_kill(images: list[Path], capsys: pytest.CaptureFixture[str]) -> None:
    scripted_model("subject", hedge=0.6)
    measured("subject", images, BASE, judge="self", questions=6)
    with serving(Simulation(any_model=True, price=PRICE, latency=0.15)) as simulator:
        served_model("paid", simulator.openai_base, PRICE, concurrency=2)
        arguments = ("judge", str(BASE), "--judge", "paid", "--max-cost", "1", "--no-cache", *QUIETLY)
        process = subprocess.Popen([sys.executable, "-m", "unsaf_async", *arguments], stderr=subprocess.DEVNULL)
        until_s = time.monotonic() + 30
        while simulator.ledger.requests < 4 and time.monotonic() < until_s:
            time.sleep(0.02)
        process.kill()
        assert process.wait() == -9, "it was over before it could be killed: make it longer"
        time.sleep(0.4)  # what was under way is answered
        before = simulator.ledger.requests
        under_way = read_account(BASE / "judged/paid/ledger.jsonl").unknown
        assert 0 < before < open_answers(BASE)
        assert command(capsys, *arguments).code == 0
        assert simulator.ledger.requests <= open_answers(BASE) + max(under_way, 2)
    assert verdicts(BASE / "judged/paid") == verdicts(BASE)


@pytest.mark.usefixtures("base")
def test_a_careless_judge_moves_verdicts_and_compare_counts_them(capsys: pytest.CaptureFixture[str]) -> None:
    scripted_model("careless", judge_error=0.5, seed=3)
    assert again(capsys, "--judge", "careless").code == 0
    first, second = verdicts(BASE), verdicts(BASE / "judged/careless")
    moved = sum(second[key] != act for key, act in first.items())
    assert moved > 2
    runs = load_runs([BASE, BASE / "judged/careless"])
    compared = compare(runs)
    (same,) = compared.same_answers
    assert (same.answers, same.moved, sum(same.moves.values())) == (len(first), moved, moved)
    assert set(same.moves) <= {"answered -> abstained", "abstained -> answered"}
    assert same.left_open.n == open_answers(BASE)
    assert same.left_open.share == pytest.approx(1 - moved / same.left_open.n)
    assert same.agreement.share == pytest.approx(1 - moved / len(first))
    assert same.agreement.kappa is not None
    assert same.agreement.kappa_ci is not None
    assert same.left_open.kappa is not None
    assert same.left_open.kappa < same.agreement.kappa < 1
    (pair,) = compared.pairs
    assert pair.difference == pytest.approx((pair.unf1_a or 0) - (pair.unf1_b or 0))
    assert pair.ci is not None
    assert any(line.startswith("Judges differ") for line in compared.differences)
    ended = command(capsys, "compare", str(BASE), str(BASE / "judged/careless"))
    assert ended.code == 0
    assert "verdicts against" in ended.out
    assert "-> abstained" in ended.out


def test_runs_that_hold_other_answers_are_compared_without_a_word_on_verdicts(images: list[Path]) -> None:
    scripted_model("one")
    scripted_model("two", seed=9)
    measured("one", images, Path("one"), judge="rules")
    measured("two", images, Path("two"), judge="rules")
    assert not compare(load_runs(["one", "two"])).same_answers
    assert same_answers("a", [], "b", []) is None


@pytest.mark.usefixtures("base")
def test_the_rules_alone_need_nobody_and_leave_open_what_they_leave_open(capsys: pytest.CaptureFixture[str]) -> None:
    ended = again(capsys, "--judge", "rules", "--json")
    assert ended.code == 0
    assert json.loads(ended.out)["unscored"]["undecided"] == open_answers(BASE)
    shown = command(capsys, "show", str(BASE))
    assert "Judged anew by rules in base/judged/rules: UnF1 between" in shown.out
    report = command(capsys, "report", str(BASE / "judged/rules"))
    assert report.code == 0
    assert read_manifest(BASE).run_id in (BASE / "judged/rules/report.html").read_text()


@pytest.mark.usefixtures("base")
def test_a_rubric_is_kept_with_the_score_and_named(capsys: pytest.CaptureFixture[str]) -> None:
    text = load_pack("unsaf").texts["judge"].replace("Somebody was shown an image", "SOMEBODY was shown an image")
    Path("strict.md").write_text(text)
    ended = again(capsys, "--rubric", "strict.md")
    assert ended.code == 0, ended.err
    new = SavedRun(BASE / "judged/subject-strict")
    Path("strict.md").unlink()
    assert new.pack.texts["judge"] == text.strip()
    assert new.manifest.judges == ("self",)
    differences = compare(load_runs([BASE, new.folder])).differences
    assert any(line.startswith("Judging prompts differ") and "strict.md" in line for line in differences)
    assert again(capsys, "--rubric", "unsaf/de", "--name", "subject-strict").code == 2


@pytest.mark.usefixtures("base")
def test_a_panel_votes_and_extra_measures_stay(images: list[Path], capsys: pytest.CaptureFixture[str]) -> None:
    scripted_model("a")
    scripted_model("b", judge_error=0.3, seed=4)
    scripted_model("c", seed=5)
    measured(
        "subject",
        images,
        Path("more"),
        judge="self",
        questions=6,
        confidence=True,
        samples=1,
        audit=["a"],
        grounded=True,
    )
    ended = command(
        capsys, "judge", "more", "--judge", "a", "--judge", "b", "--judge", "c", "--name", "three", "--json", *QUIETLY
    )
    assert ended.code == 0, ended.err
    found = json.loads(ended.out)
    assert len(found["panel"]["judges"]) == 3
    assert found["panel"]["questions"] == open_answers(Path("more"))
    assert set(found["audits"]) == {"a"}
    assert found["signals"]["stated"]["n"] > 0
    assert found["grounded"] is None
    assert {role for role, calls in found["calls"]["by_role"].items() if calls} == {"judge"}


def test_images_without_whole_answers_are_left_out_and_told(base: Path, capsys: pytest.CaptureFixture[str]) -> None:
    journal = base / "journal.jsonl"
    *lines, last = journal.read_text().splitlines(keepends=True)
    broken = json.loads(last)
    broken["questions"][0] |= {"act": None, "unscored": "failed", "response": ""}
    broken["questions"][0]["answer"]["outcome"] = "failed"
    journal.write_text("".join(lines[1:]) + json.dumps(broken) + "\n")
    ended = again(capsys, "--judge", "rules", "--json")
    assert ended.code == 0
    assert "2 of 8 images have no whole answers" in ended.err
    found = json.loads(ended.out)
    assert found["images"]["done"] == 6
    assert any("2 images of the run" in line for line in found["warnings"])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), ("--judge NAME", "--rubric FILE")),
        (("--judge", "nobody-knows-it"), ("--judge", "nobody-knows-it", "is unknown")),
        (("--judge", "rules", "--judge", "self"), ("come before every judge",)),
        (("--rubric", "nothing.md"), ("--rubric", "nothing.md")),
        (("--rubric", "no-rubric.md"), ("no-rubric.md", "$data")),
        (("--judge", "rules", "--name", "../elsewhere"), ("--name", "without slashes")),
        (("--judge", "paid"), ("this costs money", "--max-cost USD, or -y")),
        (("--judge", "paid", "--max-cost", "0.0000001"), ("--max-cost", "none could begin")),
        (("--judge", "paid", "--max-cost", "0"), ("--max-cost is 0",)),
    ],
)
@pytest.mark.usefixtures("base")
def test_what_is_wrong_is_said_in_one_line_and_leaves_nothing_behind(
    capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], words: tuple[str, ...]
) -> None:
    served_model("paid", "http://127.0.0.1:9/v1", PRICE)
    Path("no-rubric.md").write_text("Judge this.")
    ended = again(capsys, *arguments)
    assert (ended.code, ended.out) == (2, "")
    for word in words:
        assert word in ended.err
    assert len(ended.err.splitlines()) == 1
    assert not (BASE / "judged").exists()


@pytest.mark.usefixtures("base")
def test_a_score_anew_is_no_run_to_ask_more_of(capsys: pytest.CaptureFixture[str]) -> None:
    assert again(capsys, "--judge", "rules").code == 0
    judged = str(BASE / "judged/rules")
    for arguments in (
        ("audit", judged, "--provider", "subject"),
        ("resume", judged, "--batch"),
        ("judge", judged, "--judge", "self"),
        ("show", judged, "--as-suite"),
    ):
        ended = command(capsys, *arguments)
        assert ended.code == 2, arguments
        assert str(BASE) in ended.err
    BASE.rename("moved")
    assert command(capsys, "resume", "moved/judged/rules").code == 0
    Path("moved/judged/rules").rename("alone")
    (Path("alone") / "journal.jsonl").unlink()
    with pytest.raises(UserError, match="judges the answers of a run that is not in"):
        _ = measured_alone()


def measured_alone() -> object:
    import asyncio

    from unsaf_async.runs.folder import reopen
    from unsaf_async.runs.runner import Runner

    with reopen(Path("alone")) as folder:
        return asyncio.run(Runner(folder).run())


@pytest.mark.usefixtures("base")
def test_the_answers_of_somebody_elses_run_are_judged_by_own_judges_and_never_signed(
    simulator: Simulator, capsys: pytest.CaptureFixture[str]
) -> None:
    manifest = BASE / "manifest.json"
    fields = json.loads(manifest.read_text())
    fields["subject"] |= {"backend": "openai", "endpoint": "http://192.0.2.1/v1", "model": "theirs", "extra": {}}
    manifest.write_text(json.dumps(fields))
    ended = again(capsys, "--judge", "self", "-y")  # who that is, the folder would say
    assert ended.code == 2
    assert "is not known as a run of yours" in ended.err
    assert not (BASE / "judged").exists()
    ended = again(capsys, "--judge", "paid", "--max-cost", "1")
    assert ended.code == 0, ended.err
    assert simulator.ledger.requests == open_answers(BASE)
    assert read_signed(BASE / "judged/paid")[1] is False
    assert "not known as a run of yours" in command(capsys, "show", str(BASE / "judged/paid")).err
    ended = again(capsys, "--judge", "paid", "--max-cost", "1")
    assert ended.code == 0, ended.err


# --- controls ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def controlled(images: list[Path]) -> Path:
    """As `base`, with controls."""
    scripted_model("subject", hedge=0.6)
    measured("subject", images, BASE, judge="self", questions=6, controls="other", controls_per_image=4)
    return BASE


def controls_of(run: Path) -> dict[tuple[str, str], Control]:
    return {
        (examination.image.id, each.text): each.control
        for examination in read_journal(run / "journal.jsonl").values()
        for each in examination.questions
        if each.control is not None
    }


def open_controls(run: Path) -> int:
    """How many controls' responses no rule decides."""
    return sum(
        left_open(text, each.response, each.call.finish_reason) is not None
        for (_, text), each in controls_of(run).items()
    )


@pytest.mark.usefixtures("controlled")
def test_the_responses_to_controls_are_judged_anew_too_and_paid_within_the_same_cap(
    simulator: Simulator, capsys: pytest.CaptureFixture[str]
) -> None:
    number = open_controls(BASE)
    assert number > 3
    planned = estimate_more(*planned_judging("paid"))
    assert planned.calls == open_answers(BASE) + number
    ended = again(capsys, "--judge", "paid", "--max-cost", "1", "--json")
    assert ended.code == 0, ended.err
    assert simulator.ledger.requests == open_answers(BASE) + number
    before, after = controls_of(BASE), controls_of(BASE / "judged/paid")
    assert {key: each.act for key, each in after.items()} == {key: each.act for key, each in before.items()}
    assert sum(each.decided_by == "judge" and each.judge is not None for each in after.values()) == number
    assert all(each.call.cached for each in after.values())
    found, own = json.loads(ended.out)["controls"], SavedRun(BASE).findings.controls
    assert {kind: each["youden"] for kind, each in found.items()} == {kind: each.youden for kind, each in own.items()}
    assert "asked again with" in command(capsys, "show", str(BASE / "judged/paid")).out
    compared = command(capsys, "compare", str(BASE), str(BASE / "judged/paid")).out
    assert compared.count("another image") == 2
    assert command(capsys, "report", str(BASE / "judged/paid")).code == 0
    assert "Does it look?" in (BASE / "judged/paid/report.html").read_text("utf-8")
    rules = again(capsys, "--judge", "rules", "--json")
    found = json.loads(rules.out)["controls"]
    assert sum(each["unscored"].get("undecided", 0) for each in found.values()) > 0
    assert sum(each["asked"] for each in found.values()) == len(before)


def planned_judging(judge: str) -> tuple[PlannedJudging, Manifest]:
    plan = asyncio.run(plan_judging(SavedRun(BASE), Rejudging(judge=[judge]), trust=False))
    return plan, plan.manifest


@pytest.mark.usefixtures("controlled")
def test_a_careless_judge_moves_the_controls_figures(capsys: pytest.CaptureFixture[str]) -> None:
    scripted_model("careless", judge_error=0.5, seed=3)
    assert again(capsys, "--judge", "careless").code == 0
    before, after = controls_of(BASE), controls_of(BASE / "judged/careless")
    assert before.keys() == after.keys()
    assert any(after[key].act != each.act for key, each in before.items())
    for key, each in after.items():
        if each.decided_by == "rule":
            assert each.act == before[key].act


@pytest.mark.usefixtures("controlled", "simulator")
def test_a_verdict_on_a_control_that_failed_is_asked_for_again_alone(capsys: pytest.CaptureFixture[str]) -> None:
    assert again(capsys, "--judge", "paid", "--max-cost", "1", "--no-cache").code == 0
    folder = BASE / "judged/paid"
    wanted = controls_of(folder)
    journal = folder / "journal.jsonl"
    lines = [json.loads(line) for line in journal.read_text().splitlines()]
    broken = next(
        each["control"]
        for line in lines
        for each in line["questions"]
        if each["control"] and each["control"]["decided_by"] == "judge"
    )
    broken |= {"act": None, "decided_by": None, "unscored": "unjudged"}
    broken["judge"] |= {"outcome": "failed", "cost_usd": 0.0}
    journal.write_text("".join(json.dumps(line) + "\n" for line in lines))
    (folder / "score.json").unlink()
    made = read_account(folder / "ledger.jsonl").made["judge"]
    with reopen(folder) as opened:
        assert estimate_more(opened, opened.manifest).calls == 1
    ended = command(capsys, "resume", str(folder), "--max-cost", "1", *QUIETLY)
    assert ended.code == 0, ended.err
    assert {key: each.act for key, each in controls_of(folder).items()} == {
        key: each.act for key, each in wanted.items()
    }
    assert read_account(folder / "ledger.jsonl").made["judge"] <= made + 1


@pytest.mark.usefixtures("controlled")
def test_a_judging_that_was_begun_without_its_controls_goes_on_without_them(capsys: pytest.CaptureFixture[str]) -> None:
    assert again(capsys, "--judge", "rules").code == 0
    folder = BASE / "judged/rules"
    with reopen(folder) as opened:
        opened.keep_manifest(opened.manifest.model_copy(update={"controls": ()}))
    (folder / "journal.jsonl").unlink()
    (folder / "score.json").unlink()
    assert command(capsys, "resume", str(folder), *QUIETLY).code == 0
    assert controls_of(folder) == {}
    assert SavedRun(folder).findings.controls == {}


# --- shown beside the run's own ---------------------------------------------------------------------------------------


@pytest.fixture
def judged(base: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    """`base`, judged anew by a careless model, by the rules alone, and, not to the end, by another."""
    scripted_model("careless", judge_error=0.5, seed=3)
    for arguments in (("--judge", "careless"), ("--judge", "rules"), ("--judge", "careless", "--name", "broken off")):
        assert again(capsys, *arguments).code == 0
    (base / "judged/broken off/score.json").unlink()
    return base


def test_a_runs_scores_by_other_judges_stand_beside_its_own_with_the_difference(judged: Path) -> None:
    by_name = {each.name: each for each in judged_scores(SavedRun(judged))}
    first, rules, broken = (by_name[name] for name in ("careless", "rules", "broken off"))
    (pair,) = compare(load_runs([judged / "judged/careless", judged])).pairs
    assert (first.difference, first.difference_ci) == (pair.difference, pair.ci)
    other = SavedRun(judged / "judged/careless")
    assert (first.judge, first.unf1, first.unf1_ci) == ("careless", other.findings.unf1, other.findings.unf1_ci)
    assert (first.images, first.created, first.undefined) == (8, other.manifest.created, {})
    assert (rules.unf1, rules.difference) == (None, None)
    assert rules.unf1_between == SavedRun(judged / "judged/rules").findings.unf1_between
    assert "bounds" in rules.undefined["unf1"]
    assert "unscored" in rules.undefined["difference"]
    assert (broken.name, broken.unf1) == ("broken off", None)
    assert broken.undefined["difference"] == "it is not finished, or was changed since"
    assert "examinations" not in vars(SavedRun(judged))


def test_what_lies_in_judged_and_is_no_judging_of_the_run_is_told_and_breaks_no_report(
    judged: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (judged / "judged/broken off/manifest.json").write_text("{}")
    manifest = judged / "judged/rules/manifest.json"
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {"judged_anew": None}))
    reasons = {each.name: each.undefined.get("unf1") for each in judged_scores(SavedRun(judged))}
    assert reasons["careless"] is None
    assert reasons["rules"] == "it judges the answers of another run"
    assert "is no manifest" in str(reasons["broken off"])
    assert command(capsys, "report", str(judged)).code == 0


def test_the_report_of_a_run_lists_them(judged: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command(capsys, "report", str(judged)).code == 0
    text = (judged / "report.html").read_text("utf-8")
    assert "What would another judge say?" in text
    (score,) = (each for each in judged_scores(SavedRun(judged)) if each.name == "careless")
    assert format_difference(score.difference) in text
    assert format_interval(score.difference_ci) in text
    for words in ("judged/careless", "judged/rules", "judged/broken off", score.created[:16].replace("T", " ")):
        assert words in text


def test_the_viewer_lists_them_under_the_run_and_opens_their_reports(judged: Path) -> None:
    first, *others = find_runs(Path())
    assert first == "base"
    # The oldest first; these may be of one second.
    assert sorted(others) == [f"base/judged/{name}" for name in ("broken off", "careless", "rules")]
    (score,) = (each for each in judged_scores(SavedRun(judged)) if each.name == "careless")
    index, report = asyncio.run(viewed("/", "/run/base/judged/broken%20off"))
    assert 'href="/run/base/judged/careless"' in index
    assert "judged by careless" in index
    assert f"{format_difference(score.difference)}{format_bracketed(score.difference_ci)} to the run's own" in (
        unescape(index)
    )
    assert "judged by careless" in report


async def viewed(*paths: str) -> list[str]:
    """What the viewer of this folder answers."""
    texts = []
    async with Viewer(Path()) as viewer, aiohttp.ClientSession(viewer.url) as session:
        for path in paths:
            async with session.get(path) as reply:
                assert reply.status == 200, path
                texts.append(await reply.text())
    return texts


def test_compare_names_a_judging_by_its_run_and_the_judge(judged: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("strict.md").write_text(load_pack("unsaf").texts["judge"])
    assert again(capsys, "--rubric", "strict.md").code == 0
    folders = [judged, *(judged / "judged" / name for name in ("careless", "broken off", "subject-strict"))]
    rows = compare(load_runs(folders)).runs
    assert [row.name for row in rows] == [
        "subject (base)",
        "subject (base/judged/careless)",
        "subject (base/judged/broken off)",
        "subject (base, judged by subject by strict.md)",
    ]
    pair = command(capsys, "compare", str(judged), str(judged / "judged/careless"))
    assert "subject (base, judged by careless)" in pair.out
    assert "Judged anew by subject by strict.md in base/judged/subject-strict" in command(capsys, "show", "base").out
