"""Questions with options through the engine: asked, shown, answered, scored without a judge, counted and paid once."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from commandline import command
from driving import KEY, PRICE, draw_images, drive, drive_at
from truths import measured, resumed, scripted_model

from unsaf_async.calls.batches.batches import Waits
from unsaf_async.calls.ledger import read_account
from unsaf_async.compare.comparison import compare, load_runs
from unsaf_async.prompts import load_pack
from unsaf_async.report.data import load_run
from unsaf_async.report.soundness import soundness
from unsaf_async.runs.estimate import estimate
from unsaf_async.runs.findings import Findings
from unsaf_async.runs.folder import read_manifest
from unsaf_async.runs.prepare import prepare
from unsaf_async.runs.saved import SavedRun
from unsaf_async.runs.settings import Settings
from unsaf_async.score.unf1 import Counts, cell
from unsaf_async.simulate.model import Awareness
from unsaf_async.simulate.server import Simulator
from unsaf_async.simulate.settings import BatchRules, Simulation

if TYPE_CHECKING:
    from unsaf_async.records import Examination, Question

QUIETLY = ("--quiet", "--no-report")
UNLIKE = Awareness(unlike_by_option=0.3)


def questions(kept: list[Examination] | tuple[Examination, ...]) -> list[Question]:
    return [question for examination in kept for question in examination.questions]


@pytest.mark.parametrize("route", ["openai", "anthropic", "gemini"])
async def test_both_forms_on_every_wire_are_counted_and_billed_to_the_cent(
    route: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("OPENAI", "ANTHROPIC", "GEMINI"):
        monkeypatch.setenv(f"{name}_API_KEY", KEY)
    async with Simulator(Simulation(any_model=True, price=PRICE, awareness=UNLIKE)) as simulator:
        run = await drive_at(simulator, route, tmp_path, images=4, question_form="both", max_cost=5)
        billed_usd = float(simulator.ledger.billed_usd)
        requests = simulator.ledger.requests
    found, asked = run.score, questions(run.examinations)
    assert isinstance(found, Findings)
    assert found.calls is not None
    assert found.calls.by_role["choice"] == found.calls.by_role["answer"] == len(asked) == 24
    assert found.calls.made == requests
    assert found.cost_usd == pytest.approx(billed_usd, abs=1e-9 * requests)
    assert billed_usd <= 4 * run.image_worst_usd
    forms = found.forms
    assert forms is not None
    for question in asked:
        assert question.options is not None
        assert 3 <= len(question.options.texts) <= 7
        assert question.choice is not None
        place = "ABCDEFG".index(question.choice.response)
        assert question.choice.act == ("abstained" if place == question.options.undetermined else "answered")
        assert question.response not in "ABCDEFG"
    by_option = Counter((each.intended, each.choice.act) for each in asked if each.choice)
    assert forms.choice.counts == Counts(
        ta=by_option["answerable", "answered"],
        fu=by_option["answerable", "abstained"],
        tu=by_option["unanswerable", "abstained"],
        fa=by_option["unanswerable", "answered"],
    )
    alike = sum(each.act == each.choice.act for each in asked if each.choice and cell(each))
    assert 0 < alike < len(asked)
    assert forms.agreement.share == pytest.approx(alike / forms.agreement.n)
    assert found.unf1 is not None
    assert forms.choice.unf1 is not None
    assert forms.difference == pytest.approx(found.unf1 - forms.choice.unf1)
    assert forms.difference_ci is not None
    assert forms.difference_ci[0] <= forms.difference <= forms.difference_ci[1]


async def test_answers_by_option_go_in_batches_like_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    quick = Waits(quiet_s=0.15, first_look_s=0.03, longest_look_s=0.1, again_s=0.05, longest_again_s=0.2)
    simulation = Simulation(price=PRICE, batches=BatchRules(validate_s=0, work_s=0.02, finalize_s=0))
    given = {"images": 3, "question_form": "choice", "max_cost": 5}
    alone = await drive(simulation, "openai", tmp_path / "alone", **given)
    run = await drive(simulation, "openai", tmp_path / "together", batch=True, waits=quick, **given)
    assert run.score.calls is not None
    assert run.score.calls.by_role["choice"] == len(questions(run.examinations)) == 18
    assert run.score.counts == alone.score.counts
    billed_usd = float(run.ledger.billed_usd)
    assert run.score.cost_usd == pytest.approx(billed_usd, abs=1e-9 * 40)
    # The first image's calls go alone, and all others at half the price.
    assert billed_usd == pytest.approx(float(alone.ledger.billed_usd) * (1 + 2 / 2) / 3, rel=0.1)


async def test_by_option_alone_nobody_judges_and_a_model_without_options_is_malformed(tmp_path: Path) -> None:
    simulation = Simulation(any_model=True, price=PRICE, awareness=Awareness(malformed=0.3))
    run = await drive(simulation, "vllm", tmp_path, images=4, question_form="choice")
    asked = questions(run.examinations)
    assert run.score.calls is not None
    assert {role for role, n in run.score.calls.by_role.items() if n} == {"ask", "choice"}
    assert run.score.judge == "rules"
    assert run.score.questions.malformed > 0
    assert run.score.unscored == {}
    assert all(each.act in ("answered", "abstained") and each.choice is None for each in asked)
    assert run.score.counts.scored == len(asked) == run.score.questions.asked


async def test_the_same_questions_meet_the_same_options_in_another_run_and_are_found_in_the_cache(
    tmp_path: Path,
) -> None:
    images = draw_images(tmp_path / "images", 3)
    scripted_model("asker")
    cache = tmp_path / "cache"
    both = await _measured("asker", images, tmp_path / "both", question_form="both", cache=cache)
    choice = await _measured("asker", images, tmp_path / "choice", question_form="choice", cache=cache)
    assert choice.made == {}  # asked and chosen before, word for word
    assert [each.options for each in questions(choice.kept)] == [each.options for each in questions(both.kept)]
    assert [each.response for each in questions(choice.kept)] == (
        [each.choice.response for each in questions(both.kept) if each.choice]
    )
    scripted_model("other", seed=4)
    given = await _measured(
        "other", (), tmp_path / "given", question_form="choice", questions_from=tmp_path / "both", cache=cache
    )
    assert sorted(each.text for each in questions(given.kept)) == sorted(each.text for each in questions(both.kept))
    assert all(each.options for each in questions(given.kept))
    assert given.made.keys() == {"choice"}


class _Run:
    def __init__(self, folder: Path) -> None:
        self.kept = sorted(SavedRun(folder).examinations, key=lambda each: each.image.id)
        self.made = {role: n for role, n in read_account(folder / "ledger.jsonl").made.items() if n}


async def _measured(provider: str, images: object, out: Path, **options: object) -> _Run:
    from truths import measure

    await measure(provider, images, out, **options)  # type: ignore[arg-type]
    return _Run(out)


def test_an_answer_by_option_that_failed_is_taken_again_and_nothing_else_is() -> None:
    scripted_model("subject")
    images = draw_images(Path("images"), 2)
    whole = measured("subject", images, Path("run"), question_form="both", judge="rules")
    shutil.copytree("run", "broken")
    rows = [json.loads(line) for line in Path("broken/journal.jsonl").read_text().splitlines()]
    rows[0]["questions"][0]["choice"] |= {"response": "", "act": None}
    rows[0]["questions"][0]["choice"]["call"] |= {"outcome": "failed", "cached": False, "cost_usd": 0}
    Path("broken/journal.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    broken = SavedRun(Path("broken")).findings
    assert broken.forms is not None
    assert broken.forms.choice.unscored == {"failed": 1}
    before = read_account(Path("broken/ledger.jsonl")).made
    again = resumed(Path("broken"), cache="")
    after = read_account(Path("broken/ledger.jsonl")).made
    assert {role: after[role] - before[role] for role in after if after[role] != before[role]} in ({}, {"choice": 1})
    assert again.found.forms == whole.found.forms


def test_a_form_that_is_known_by_its_bounds_alone_is_subtracted_from_nothing(
    capsys: pytest.CaptureFixture[str],
) -> None:
    scripted_model("subject")
    measured("subject", draw_images(Path("images"), 6), Path("run"), question_form="both", judge="rules")
    rows = [json.loads(line) for line in Path("run/journal.jsonl").read_text().splitlines()]
    for row in rows:
        for question in row["questions"][::3]:
            question |= {"act": None, "unscored": "undecided", "decided_by": None}
    Path("run/journal.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = SavedRun(Path("run")).findings
    assert found.unf1_between is not None
    assert found.forms is not None
    assert (found.forms.difference, found.forms.difference_ci) == (None, None)
    why = "so much is unscored in free words that bounds are the headline"
    assert found.forms.why_undefined == dict.fromkeys(("difference", "difference_ci"), why)
    section = soundness(load_run(Path("run")), 0)
    assert section is not None
    text = "".join(section.itertext())
    assert why in text
    low, high = found.unf1_between
    assert text.count(f"between {low:.3f} and {high:.3f}") == 1
    shown = command(capsys, "show", "run").out
    assert "n/a: F1 of precisions: so much is unscored" in " ".join(shown.split())
    assert found.unf1_of_precisions is not None
    assert f"{found.intervals['unf1_of_precisions'][0]:.3f} to" not in shown


def test_an_estimate_covers_both_forms_and_names_no_judge_of_options() -> None:
    import asyncio

    images = draw_images(Path("images"), 2)
    figures = {}
    for form in ("open", "choice", "both"):
        settings = Settings("gpt-5.4-mini", images=images, question_form=form)  # type: ignore[arg-type]
        figures[form] = estimate(asyncio.run(prepare(settings, offline=True)))
    calls = {form: each.calls for form, each in figures.items()}
    assert calls == {"open": 2 * (2 + 12) + 10, "choice": 2 * (2 + 12), "both": 2 * (2 + 24) + 10}
    assert figures["open"].worst_usd < figures["both"].worst_usd


def test_forms_are_told_apart_and_shown(capsys: pytest.CaptureFixture[str]) -> None:
    scripted_model("subject", unlike_by_option=0.3)
    images = [str(each) for each in draw_images(Path("images"), 5)]
    run = ("run", "--provider", "subject", "--images", *images, *QUIETLY)
    assert command(capsys, *run, "--form", "both", "--out", "both").code == 0
    assert command(capsys, *run, "--out", "open").code == 0
    assert command(capsys, *run, "--form", "choice", "--out", "choice").code == 0
    shown = command(capsys, "show", "both").out
    assert "for an answer in free words, and with options" in shown
    assert "Free words minus options" in shown
    assert "by option" in shown
    assert max(map(len, shown.partition("Free words minus options")[2].splitlines()[:2])) < 150
    sheet = command(capsys, "judge", "sheet", "choice", "--out", "sheet.jsonl")  # no judge reads options
    assert (sheet.code, sheet.err) == (
        2,
        "unsaf-async: choice: its answers are options, which are read by rules; there is no judge to be measured\n",
    )
    differences = compare(load_runs(["both", "open", "choice"])).differences
    assert any(line.startswith("Forms differ") for line in differences)
    section = soundness(load_run(Path("both")), 0)
    assert section is not None
    assert "Does the form matter?" in "".join(section.itertext())
    ended = command(capsys, *run, "--out", "both")  # goes on with another form: refused
    assert ended.code == 2
    assert "holds a run with --form both" in ended.err
    assert 'question_form = "both"' in command(capsys, "show", "both", "--as-suite").out
    assert command(capsys, "export", "both", "--format", "csv").code == 0
    head, first = Path("both/questions.csv").read_text().splitlines()[:2]
    assert "choice_act" in head
    assert "It cannot be determined from the image" in first
    judged = command(capsys, "judge", "both", "--judge", "rules", "--json", *QUIETLY)
    assert judged.code == 0
    assert (
        json.loads(judged.out)["forms"]["choice"]["counts"]
        == (json.loads(command(capsys, "show", "both", "--json").out)["forms"]["choice"]["counts"])
    )


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--form", "closed"), ("--form", "none of open, choice, both")),
        (("--form", "choice", "--judge", "self"), ("--judge", "--form both")),
        (("--form", "choice", "--confidence"), ("--confidence", "--form both")),
        (("--form", "choice", "--judge-together", "3"), ("--judge-together", "--form both")),
        (("--form", "choice", "--grounded"), ("--grounded", "--form both")),
        (("--form", "choice", "--samples", "2"), ("--samples", "--form both")),
        (("--form", "choice", "--controls", "blank"), ("--controls", "--form both")),
        (("--form", "both", "--prompts", "tiny"), ("tiny", "choice-answer.md", "--form open")),
        (("--form", "both", "--prompts", "half"), ("choice-ask-answerable.md", "a pack needs this file")),
        (("--form", "choice", "--questions-from", "open"), ("--form is choice", "no options", "--questions-from")),
    ],
)
def test_what_cannot_be_asked_in_a_form_is_said_in_one_line(
    capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], words: tuple[str, ...]
) -> None:
    scripted_model("subject")
    measured("subject", draw_images(Path("images"), 1), Path("open"), judge="rules")
    shutil.copytree(Path(__file__).parents[2] / "prompts" / "unsaf", "half")
    Path("half/choice-ask-answerable.md").unlink()
    images = () if "--questions-from" in arguments else ("--images", "images")
    ended = command(capsys, "run", "--provider", "subject", *images, *arguments, *QUIETLY, "--out", "new")
    assert (ended.code, ended.out) == (2, "")
    for word in words:
        assert word in ended.err
    assert len(ended.err.splitlines()) == 1
    assert not Path("new").exists()


def test_more_about_free_words_and_rows_for_training_are_refused_where_there_are_options(
    capsys: pytest.CaptureFixture[str],
) -> None:
    scripted_model("subject")
    measured("subject", draw_images(Path("images"), 1), Path("choice"), question_form="choice")
    assert read_manifest(Path("choice")).judges == ()
    for arguments, word in (
        (("resume", "choice", "--confidence"), "--form both"),
        (("judge", "choice", "--judge", "self"), "read by rules"),
        (("export", "choice", "--out", "rows"), "--form open"),
    ):
        ended = command(capsys, *arguments)
        assert ended.code == 2, arguments
        assert word in ended.err


@pytest.mark.parametrize("code", ["de", "es", "fr", "ja", "zh"])
async def test_a_shipped_pack_in_another_language_asks_with_options_and_scores_as_the_english_one(
    code: str, tmp_path: Path
) -> None:
    """The simulated model writes English whatever it reads, and does the same on the same question."""
    runs = [
        await drive(
            Simulation(any_model=True, price=PRICE),
            "vllm",
            tmp_path / code_,
            images=3,
            question_form="choice",
            prompts=prompts,
        )
        for code_, prompts in (("en", "unsaf"), (code, f"unsaf/{code}"))
    ]
    for run in runs:
        assert run.score.questions.asked == 18
        assert not run.score.unscored
    assert runs[0].score.counts == runs[1].score.counts
    shown = questions(runs[1].examinations)[0].options
    assert shown is not None
    assert shown.texts[shown.undetermined] == load_pack(f"unsaf/{code}").for_form("choice").undetermined
