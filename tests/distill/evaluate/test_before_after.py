"""`distill-eval`: real runs of two models, what they show of known differences, and that nothing is paid for twice."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from commandline import Ended, command, serving
from driving import draw_images
from truths import measured, scripted_model, served_model, write_lines

from unsaf_async import load
from unsaf_async.calls.ledger import read_account
from unsaf_async.cli import _run
from unsaf_async.distill.evaluate.before_after import evaluate
from unsaf_async.distill.evaluate.comparison import DistillEval, Folders, compare_folders
from unsaf_async.distill.evaluate.gates import Thresholds
from unsaf_async.distill.evaluate.plan import EvalModel, EvalPlan
from unsaf_async.errors import UserError
from unsaf_async.runs.journal import read_journal
from unsaf_async.simulate import phrasebook
from unsaf_async.simulate.settings import Simulation
from unsaf_async.world import make

if TYPE_CHECKING:
    from collections.abc import Sequence

WORLD = ("--images", "scenes/manifest.jsonl", "--labelled", "scenes/labelled.jsonl", "--pope", "scenes")
WIDE = ("--max-over-refusal-rise", "10")
FAST = ("--questions", "3", "--cache", "cache", "--quiet")


def distill_eval(capsys: pytest.CaptureFixture[str], *arguments: str, out: str = "out") -> Ended:
    return command(capsys, "distill-eval", *arguments, "-o", out)


def record(out: str = "out") -> DistillEval:
    return DistillEval.model_validate_json(Path(out, "distill-eval.json").read_bytes())


def calls(out: str = "out") -> int:
    return sum(sum(read_account(file).made.values()) for file in Path(out).glob("*/ledger.jsonl"))


def verdicts(found: DistillEval) -> dict[str, str]:
    return {gate.name: gate.verdict for gate in found.gates}


def between(before: str, after: str, images: Sequence[Path | str], **more: Any) -> DistillEval:
    """Two models of ./providers compared in this process."""
    given: dict[str, Any] = {"questions": 4, "cache": None, "out": Path("out"), **more}
    return asyncio.run(evaluate(EvalPlan(EvalModel(before), EvalModel(after), images=images, **given)))


# --- real models, by command ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def proof(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with scenes, and the smallest model evaluated against a larger one, on a bank whose labels are the world's."""
    home = tmp_path_factory.mktemp("proof")
    before = Path.cwd()
    os.chdir(home)
    try:
        make.make(Path("scenes"), 40, "test", 1, 3)
        asyncio.run(_truth())
        arguments = ("--before", "tiny-xs", "--after", "tiny-m", *WORLD, *FAST, "--bank", "truth", "-o", "better")
        # 40 images without an over-refusal show that it rises by fewer than nine points.
        assert _run(["distill-eval", *arguments, *WIDE, "--json"]) == 0
    finally:
        os.chdir(before)
    return home


async def _truth() -> None:
    import unsaf_async

    await unsaf_async.evaluate("tiny-xs", data="scenes/labelled.jsonl", out="truth", cache="cache")


@pytest.fixture
def there(proof: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(proof)


@pytest.mark.usefixtures("there")
def test_a_better_model_passes_every_gate_and_the_other_way_round_fails(capsys: pytest.CaptureFixture[str]) -> None:
    better = record("better")
    assert better.passed
    assert set(verdicts(better).values()) == {"pass"}
    assert (better.before.model, better.after.model) == ("tiny-xs", "tiny-m")
    arguments = ("--before", "tiny-m", "--after", "tiny-xs", *WORLD, *FAST, "--bank", "truth")
    ended = distill_eval(capsys, *arguments, out="worse")
    assert (ended.code, ended.err) == (1, "")
    worse = record("worse")
    assert verdicts(worse) == {
        "unf1_own": "fail",
        "unf1_bank": "fail",
        "accuracy": "fail",
        "over_refusal": "cannot tell",
        "pope": "fail",
    }
    for one, other in zip(better.figures, worse.figures, strict=True):
        if one.name == "unf1_fixed_mix":  # at the other model's mix
            continue
        assert (one.before, one.after) == (other.after, other.before)
    lines = ended.out.splitlines()
    assert any(line.startswith("POPE accuracy ") and line.endswith("fail") for line in lines)
    own = [line for line in lines if line.startswith("POPE accuracy ") and line.count(" to ") == 2]
    assert len(own) == 1, "the intervals of before and after"
    assert any(line.startswith("fail         accuracy kept") and "at least -1" in line for line in lines)
    assert any(line.startswith("cannot tell  over-refusal kept") for line in lines)
    assert "on 40 images; about 183 would be needed" in " ".join(ended.out.split())


@pytest.mark.usefixtures("there")
def test_the_figures_are_those_of_the_runs_which_other_commands_open(capsys: pytest.CaptureFixture[str]) -> None:
    found = record("better")
    scores = {name: load(Path("better") / name)[2] for name in os.listdir("better") if Path("better", name).is_dir()}  # noqa: PTH208
    assert set(scores) == {
        f"{side}{part}" for side in ("before", "after") for part in ("", "-bank", "-labelled", "-pope")
    }
    assert found.before.runs == {
        "own": "before",
        "bank": "before-bank",
        "labelled": "before-labelled",
        "pope": "before-pope",
    }
    for side in ("before", "after"):
        labelled, pope = scores[f"{side}-labelled"], scores[f"{side}-pope"].labelled
        assert labelled.labelled
        assert pope
        assert pope.pope
        answers = labelled.labelled
        for name, (value, ends) in {
            "unf1_own": (scores[side].unf1, scores[side].unf1_ci),
            "unf1_bank": (scores[f"{side}-bank"].unf1, scores[f"{side}-bank"].unf1_ci),
            "accuracy": (answers.accuracy_contained, answers.accuracy_contained_ci),
            "over_refusal": (labelled.over_refusal_rate, labelled.intervals["over_refusal_rate"]),
            "abstention_recall": (labelled.recall, labelled.intervals["recall"]),
            "pope_accuracy": (pope.pope.accuracy, pope.pope.intervals["accuracy"]),
            "pope_f1": (pope.pope.f1, pope.pope.intervals["f1"]),
            "pope_yes_ratio": (pope.pope.yes_ratio, pope.pope.intervals["yes_ratio"]),
        }.items():
            figure = found.figure(name)  # type: ignore[arg-type]
            assert figure
            assert getattr(figure, side) == pytest.approx(value)
            assert getattr(figure, f"{side}_ci") == pytest.approx(ends)
    assert command(capsys, "show", "better/after-bank").code == 0
    assert "+0." in command(capsys, "compare", "better/after", "better/before").out
    assert command(capsys, "report", "better/after-labelled").code == 0


@pytest.mark.usefixtures("there")
def test_the_same_command_again_calls_nobody_and_writes_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    made, before = calls("better"), Path("better/distill-eval.json").read_bytes()
    arguments = ("--before", "tiny-xs", "--after", "tiny-m", *WORLD, *FAST, "--bank", "truth", *WIDE)
    ended = distill_eval(capsys, *arguments, "--json", out="better")
    assert (ended.code, ended.err) == (0, "")
    assert ended.out.encode() == before == Path("better/distill-eval.json").read_bytes()
    assert calls("better") == made > 0
    # Another go over the same answers asks for more and gets it: thresholds decide, and no run.
    ended = distill_eval(capsys, *arguments, "--min-bank-gain", "40", out="better")
    assert ended.code == 1
    assert calls("better") == made
    assert verdicts(record("better"))["unf1_bank"] == "fail"
    assert distill_eval(capsys, *arguments, out="better").code == 0


@pytest.mark.usefixtures("there")
def test_finished_runs_are_compared_without_a_call_part_by_part() -> None:
    ours, theirs = Path("better"), Path("better")
    whole = record("better")
    own = compare_folders(Folders(own=ours / "before"), Folders(own=theirs / "after"))
    assert own.figure("unf1_own") == whole.figure("unf1_own")
    assert verdicts(own) == {"unf1_own": "pass"} | dict.fromkeys(
        ("unf1_bank", "accuracy", "over_refusal", "pope"), "not asked"
    )
    assert own.passed
    pope = compare_folders(Folders(pope=(ours / "before-pope",)), Folders(pope=(theirs / "after-pope",)))
    assert pope.figure("pope_f1") == whole.figure("pope_f1")
    assert pope.figure("unf1_own") is None
    wanting = compare_folders(Folders(own=ours / "before"), Folders(own=theirs / "after"), wanted=("own", "labelled"))
    assert (wanting.gate("accuracy").verdict, wanting.passed) == ("n/a", False)
    assert wanting.gate("accuracy").why == "not run yet: before and after"
    with pytest.raises(UserError, match="is no run's folder"):
        compare_folders(Folders(own=ours), Folders(own=theirs))
    with pytest.raises(UserError, match=r"^the run \w+ is given for both models \(own\); give one of the model before"):
        compare_folders(Folders(own=ours / "before"), Folders(own=ours / "before"))
    with pytest.raises(UserError, match="nothing is to be compared"):
        compare_folders(Folders(own=ours / "before"), Folders())


@pytest.mark.usefixtures("there")
def test_one_model_against_itself_is_told_and_passes_nothing(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    import unsaf_async

    weights = Path(unsaf_async.__file__).parent / "tiny" / "models" / "tiny-xs"
    shutil.copytree(weights, tmp_path / "copy")
    arguments = ("--before", "tiny-xs", "--after", "tiny", "--after-model", str(tmp_path / "copy"))
    arguments += ("--images", "scenes/manifest.jsonl", "--limit", "5", *FAST)
    ended = distill_eval(capsys, *arguments, out="same")
    assert ended.code == 1
    found = record("same")
    assert "before and after are the same model: every difference is chance, or none" in found.notes
    figure = found.figure("unf1_own")
    assert figure
    assert (figure.images, figure.difference) == (5, 0)
    assert figure.ci is not None, "five equal images leave open what half of all images would show"
    assert -figure.ci[0] == figure.ci[1] > 0.5
    assert found.bank == "the before-model's own questions"
    assert found.figure("unf1_bank").before == figure.before  # type: ignore[union-attr]
    assert not Path("same/before-bank").exists()


# --- known differences ------------------------------------------------------------------------------------------------


def bank_of_truth(images: Sequence[Path], number: int) -> Path:
    """A labelled set of the simulated world: `number` questions of each label about each image."""
    rows = []
    for place, image in enumerate(images):
        for label in ("answerable", "unanswerable"):
            entries = phrasebook.bank(label).entries
            for step in range(number):
                entry = entries[(37 * place + 11 * step) % len(entries)]
                rows.append(
                    {"image": str(image.absolute()), "question": entry.text, "answerable": label == "answerable"}
                )
    return write_lines(Path("truth.jsonl"), rows)


def test_over_refusal_is_that_of_the_simulated_models(capsys: pytest.CaptureFixture[str]) -> None:
    images = draw_images(Path("images"), 40)
    scripted_model("bold", seed=2, abstain_unanswerable=0.9, over_refuse=0.1, false_answerable=0)
    scripted_model("meek", seed=1, abstain_unanswerable=0.9, over_refuse=0.3, false_answerable=0)
    found = between("bold", "meek", images, labelled=bank_of_truth(images, 8))
    for name, tolerance in (("over_refusal", 0.07), ("over_refusal_bank", 0.1)):
        figure = found.figure(name)  # type: ignore[arg-type]
        assert figure
        assert figure.ci
        assert (figure.before, figure.after) == pytest.approx((0.1, 0.3), abs=tolerance)
        assert figure.ci[0] < 0.2 < figure.ci[1]
    assert found.gate("over_refusal").verdict == "fail"
    assert found.gate("over_refusal").figure == "over_refusal"
    recall = found.figure("abstention_recall")
    assert recall
    assert (recall.before, recall.after) == pytest.approx((0.9, 0.9), abs=0.06)
    # The set accepts no answers, so its accuracy was asked for in vain.
    assert found.gate("accuracy").verdict == "n/a"
    assert "accepts no answer" in found.gate("accuracy").why
    assert found.exit_code == 1
    swapped = compare_folders(
        Folders(labelled=Path("out/after-labelled")), Folders(labelled=Path("out/before-labelled"))
    )
    assert swapped.gate("over_refusal").verdict == "pass"
    # Without a labelled set, the frozen bank is the witness. All its runs are there already.
    made = calls()
    arguments = ("--before", "bold", "--after", "meek", "--images", "images", "--questions", "4", "--no-cache", "-q")
    ended = distill_eval(capsys, *arguments)
    assert (ended.code, calls()) == (1, made)
    assert record().gate("over_refusal").figure == "over_refusal_bank"
    assert record().gate("over_refusal").verdict == "fail"
    assert "not asked  accuracy kept           give --labelled" in ended.out


def test_a_student_that_only_asks_easier_questions_is_told_by_the_frozen_bank() -> None:
    images = draw_images(Path("images"), 40)
    aware = {"abstain_unanswerable": 0.8, "over_refuse": 0.1}
    scripted_model("base", seed=1, false_unanswerable=0.3, false_answerable=0.3, **aware)
    scripted_model("easier", seed=2, false_unanswerable=0, false_answerable=0, **aware)
    scripted_model("better", seed=3, false_unanswerable=0, false_answerable=0, abstain_unanswerable=1, over_refuse=0)
    easier = between("base", "easier", images, out=Path("easier"))
    assert easier.gate("unf1_own").verdict == "pass"
    assert easier.gate("unf1_bank").verdict == "cannot tell"
    assert not easier.passed
    own, bank = easier.figure("unf1_own"), easier.figure("unf1_bank")
    assert own
    assert bank
    assert own.difference is not None
    assert bank.difference is not None
    assert own.difference > 0.1 > 0.05 > abs(bank.difference)
    assert bank.before == own.before
    # 40 images leave open what a twelfth of all images would show: too much for a margin of 2 points.
    margin = Thresholds(over_refusal_rise_points=5)
    better = between("base", "better", images, out=Path("better"), thresholds=margin)
    assert better.gate("unf1_bank").verdict == "pass"
    assert better.passed


def test_a_model_that_writes_no_questions_has_no_score_that_could_pass() -> None:
    images = draw_images(Path("images"), 25)
    scripted_model("base", seed=1, abstain_unanswerable=0.5)
    scripted_model("babble", seed=2, abstain_unanswerable=1, over_refuse=0, malformed=0.5)
    scripted_model("mute", seed=3, malformed=1)
    babble = between("base", "babble", images, out=Path("babble"))
    gate, figure = babble.gate("unf1_own"), babble.figure("unf1_own")
    assert figure
    assert figure.ci
    assert figure.ci[0] > 0
    assert gate.verdict == "n/a"
    assert gate.why.startswith("the after-model's own score is unreliable: ")
    assert babble.gate("unf1_bank").verdict == "pass"
    assert babble.exit_code == 1
    mute = between("mute", "base", images, out=Path("mute"))
    assert mute.gate("unf1_bank").verdict == "n/a"
    assert "the before-model has written no question" in mute.gate("unf1_bank").why
    assert (mute.stopped, mute.exit_code) == (None, 1)


def test_a_bank_is_asked_about_held_out_images_alone() -> None:
    images = draw_images(Path("images"), 6)
    scripted_model("ada", seed=1)
    scripted_model("bob", seed=2)
    measured("ada", images, Path("bank"), questions=2)
    found = between("ada", "bob", images[:4], bank_run=Path("bank"), questions=2)
    assert "2 images of --bank are not among the held-out ones, and are left out" in found.notes
    assert found.bank == "the questions of the run bank, of ada"
    figure = found.figure("unf1_bank")
    assert figure
    assert (figure.images, figure.asked_before, figure.asked_after) == (4, 16, 16)
    for folder in ("before-bank", "after-bank"):
        assert set(read_journal(Path("out", folder, "journal.jsonl"))) == {file.name for file in images[:4]}


def test_what_was_measured_otherwise_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    draw_images(Path("images"), 3)
    scripted_model("ada", seed=1)
    scripted_model("bob", seed=2)
    arguments = ("--before", "ada", "--after", "bob", "--images", "images", "--questions", "2", "--no-cache", "-q")
    distill_eval(capsys, *arguments)
    notes = "\n".join(record().notes)
    assert "Judges differ: ada in before; bob in after" in notes
    assert "simulated models" in notes
    assert "Questions are not from the same source" not in notes
    assert "an interval by resampling" not in notes, "no figure of these has one"
    distill_eval(capsys, *arguments, "--judge", "rules", out="ruled")
    assert "Judges differ" not in "\n".join(record("ruled").notes)


def test_a_score_of_which_too_much_is_unscored_decides_nothing() -> None:
    images = draw_images(Path("images"), 3)
    scripted_model("ada", seed=1)
    scripted_model("bob", seed=2)
    between("ada", "bob", images, questions=2)
    for name in ("after", "after-bank"):
        journal = Path("out", name, "journal.jsonl")
        lost = [
            each.model_copy(
                update={
                    "questions": tuple(
                        question if place else question.model_copy(update={"act": None, "unscored": "undecided"})
                        for place, question in enumerate(each.questions)
                    )
                }
            )
            for each in read_journal(journal).values()
        ]
        journal.write_text("".join(f"{each.model_dump_json()}\n" for each in lost))
    own = Folders(own=Path("out/before"))
    found = compare_folders(own, Folders(own=Path("out/after"), bank=Path("out/after-bank")))
    for gate, what in (("unf1_own", "own score"), ("unf1_bank", "score on the bank")):
        why = found.gate(gate).why  # type: ignore[arg-type]
        assert why.startswith(f"the after-model's {what} is unreliable: 3 of 12 responses (25%)"), why


def test_popes_three_files_are_three_runs_and_one_figure(capsys: pytest.CaptureFixture[str]) -> None:
    images = draw_images(Path("pope/images"), 4)
    for number, name in enumerate(("adversarial", "popular", "random")):
        write_lines(
            Path(f"pope/coco_pope_{name}.json"),
            [
                {"question_id": place, "image": image.name, "text": f"Is there a {name} thing?", "label": label}
                for place, (image, label) in enumerate(zip(images, ("yes", "no", "no", "yes"), strict=True), number)
            ],
        )
    scripted_model("ada", seed=1, over_refuse=0.3)
    scripted_model("bob", seed=2, over_refuse=0.3)
    arguments = ("--before", "ada", "--after", "bob", "--images", "pope/images", "--questions", "2", "--no-cache", "-q")
    assert distill_eval(capsys, *arguments, "--pope", "pope").code == 1
    figure = record().figure("pope_accuracy")
    assert figure
    assert (figure.images, figure.questions_before, figure.questions_after) == (4, 12, 12)
    assert len([name for name in record().after.runs if name.startswith("pope")]) == 3
    right = sum(
        score.labelled.pope.counts.tp + score.labelled.pope.counts.tn
        for folder in Path("out").glob("before-pope-coco_pope_*")
        if (score := load(folder)[2]).labelled and score.labelled.pope
    )
    assert figure.before == pytest.approx(right / 12)


# --- money, stops, and going on ---------------------------------------------------------------------------------------


def _served(endpoint: str, **more: Any) -> tuple[str, ...]:
    draw_images(Path("images"), 4)
    for name in ("old", "new"):
        served_model(name, endpoint, (2.5, 10), **more)
    return ("--before", "old", "--after", "new", "--images", "images", "--questions", "2", "--no-cache", "-q")


def test_all_runs_share_the_cap_and_a_higher_one_goes_on(capsys: pytest.CaptureFixture[str]) -> None:
    with serving(Simulation(any_model=True, price=(2.5, 10))) as simulator:
        arguments = _served(simulator.openai_base)
        ended = distill_eval(capsys, *arguments)
        assert (ended.code, simulator.ledger.requests) == (2, 0)
        assert "give --max-cost USD, or -y" in ended.err
        assert not Path("out").exists()
        whole = distill_eval(capsys, *arguments, "-y", out="whole")
        assert whole.code in (0, 1)
        whole_usd = float(simulator.ledger.billed_usd)
        assert record("whole").cost_usd == pytest.approx(whole_usd)

        codes, begun = [], []
        for share in (0.4, 0.8, 1.2, 2, 4):
            ended = distill_eval(capsys, *arguments, "--max-cost", f"{share * whole_usd:.6f}")
            billed_usd = float(simulator.ledger.billed_usd) - whole_usd
            assert billed_usd <= share * whole_usd + 1e-9
            codes.append(ended.code)
            begun.append(len(list(Path("out").glob("*/journal.jsonl"))))
            if ended.code == 2:  # it lets no image begin
                assert "one image can cost $" in ended.err
                assert not Path("out").exists()
            if ended.code == 3:
                assert "--max-cost" in ended.err
                assert "the same command goes on; what is finished is kept" in ended.err
                assert record().stopped
                assert not record().passed
                assert "pass" not in verdicts(record()).values()
        assert codes[0] == 2
        assert 3 in codes
        assert codes[-1] == whole.code
        assert begun == sorted(begun)
        # Nothing twice: the stops made it no dearer.
        assert float(simulator.ledger.billed_usd) - whole_usd == pytest.approx(whole_usd)
        assert [figure.model_dump() for figure in record().figures] == [
            figure.model_dump() for figure in record("whole").figures
        ]


def test_runs_whose_calls_failed_are_gone_on_with_and_the_frozen_bank_stays(capsys: pytest.CaptureFixture[str]) -> None:
    with serving(Simulation(any_model=True, price=(2.5, 10), faults={"500": 0.5}, fault_seed=3)) as broken:
        arguments = (*_served(broken.openai_base, attempts=1), "-y")
        ended = distill_eval(capsys, *arguments)
        assert ended.code == 3
        assert "the same command tries them again" in ended.err
        bank = Path("out/after-bank/images.jsonl").read_bytes()
        goes = 0
        while ended.code == 3:  # every go gets half of what is left
            goes += 1
            assert goes < 30
            ended = distill_eval(capsys, *arguments)
        assert ended.code in (0, 1)
    assert Path("out/after-bank/images.jsonl").read_bytes() == bank
    asked = {
        name: {
            (each.text, each.intended)
            for found in read_journal(Path("out", name, "journal.jsonl")).values()
            for each in found.questions
        }
        for name in ("before", "after-bank")
    }
    assert asked["after-bank"] < asked["before"]
    assert any(
        "questions of the frozen bank that only one of the models was asked are left out" in note
        for note in record().notes
    )
    assert record().unfinished == []


KILLED = """
import asyncio
from pathlib import Path
from unsaf_async.distill.evaluate.gates import Thresholds
from unsaf_async.distill.evaluate.plan import EvalModel, EvalPlan
from unsaf_async.distill.evaluate.before_after import evaluate

plan = EvalPlan(EvalModel("slow"), EvalModel("slower"), out=Path("out"), images=["images"], questions=2, cache=None)
print(asyncio.run(evaluate(plan)).model_dump_json())
"""


def test_a_killed_evaluation_goes_on_and_makes_no_finished_call_again() -> None:
    draw_images(Path("images"), 4)
    for name in ("slow", "slower"):
        scripted_model(name, seed=len(name), latency_s=0.04)
        file = Path("providers") / f"{name}.toml"
        file.write_text(f"limits = {{ concurrency = 2 }}\n{file.read_text()}")

    def started() -> subprocess.Popen[bytes]:
        return subprocess.Popen([sys.executable, "-c", KILLED], stdout=subprocess.PIPE)

    for part in ("before", "after", "after-bank"):
        with started() as process:
            ledger, deadline = Path("out", part, "ledger.jsonl"), time.monotonic() + 30
            while not (ledger.is_file() and ledger.read_bytes().count(b"\n") > 24):
                assert time.monotonic() < deadline
                assert process.poll() is None
                time.sleep(0.01)
            process.send_signal(signal.SIGKILL)
    with started() as process:
        assert process.stdout
        found = DistillEval.model_validate_json(process.stdout.read())
    assert (found.stopped, found.unfinished) == (None, [])
    undisturbed = between("slow", "slower", ["images"], questions=2, out=Path("undisturbed"))
    assert found.figures == undisturbed.figures
    # A call under way at a kill is made again. So may be one whose reply was booked, and not yet stored.
    lost = sum(read_account(file).unknown for file in Path("out").glob("*/ledger.jsonl"))
    assert 0 < lost <= 3 * 2
    assert calls() <= calls("undisturbed") + lost + 3 * 2
    assert (
        read_account(Path("out/before/ledger.jsonl")).made["answer"] < 1.5 * 16
    )  # 12 calls were made before each kill


def test_one_ctrl_c_stops_early_with_3_and_the_same_command_goes_on() -> None:
    draw_images(Path("images"), 4)
    scripted_model("slow", seed=1, latency_s=0.05)
    options = [
        "--before",
        "slow",
        "--after",
        "slow",
        "--images",
        "images",
        "--questions",
        "2",
        "--no-cache",
        "-o",
        "out",
    ]
    arguments = [sys.executable, "-m", "unsaf_async", "distill-eval", *options]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        ledger, deadline = Path("out/before/ledger.jsonl"), time.monotonic() + 30
        while not (ledger.is_file() and ledger.read_bytes().count(b"\n") > 4):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
    assert process.returncode == 3
    assert "stopped early: before: interrupted; the same command goes on" in err.splitlines()[-1]
    assert record().stopped == "before: interrupted"
    assert {gate.verdict for gate in record().gates if gate.name.startswith("unf1")} == {"n/a"}
    assert "n/a" in out
    assert _run(["distill-eval", *options, "-q"]) == 1
    assert record().stopped is None


def test_judges_are_called_where_the_command_says(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "any-key")
    draw_images(Path("images"), 2)
    scripted_model("ada")
    scripted_model("bob")
    with serving() as one, serving() as other:
        bases = ("--judge", "gpt-4o", "--judge-api-base", one.openai_base, "--judge-api-base", other.openai_base)
        options = ("--images", "images", "--questions", "1", "--no-cache", "-y", "-q")
        ended = distill_eval(capsys, "--before", "ada", "--after", "bob", *options, *bases)
        assert ended.code == 1, ended.err
        for manifest in (load(Path("out", side))[0] for side in ("before", "after")):
            assert manifest.others["gpt-4o"].endpoints == (one.openai_base, other.openai_base)


# --- mistakes ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--before", "gpt-4p"), ("--before 'gpt-4p'", "nearest")),
        (("--after", "tiny", "--after-model", "nowhere"), ("--after-model 'nowhere'", "no tiny model")),
        (("--images", "nowhere"), ("--images", "nowhere")),
        (("--bank", "nowhere"), ("nowhere", "is no run's folder")),
        (("--bank", "elsewhere"), ("--bank elsewhere", "no question about any of --images")),
        (("--labelled", "nowhere.jsonl"), ("--labelled: 'nowhere.jsonl' does not exist",)),
        (("--pope", "images"), ("--pope: images holds no file",)),
        (("--max-accuracy-drop", "-1"), ("--max-accuracy-drop is -1", "from 0 to 100")),
        (("--min-own-gain", "nan"), ("--min-own-gain is nan", "from -100 to 100")),
        (("--max-cost", "0"), ("--max-cost is 0", "above 0")),
        (("--judge-api-base", "http://h:1"), ("--judge-api-base: is nobody's address", "--judge")),
        (("--questions", "0"), ("--questions is 0",)),
        (("--cache", "c", "--no-cache"), ("contradict each other",)),
    ],
)
def test_a_mistake_is_told_in_one_line_before_anything_is_written(
    arguments: tuple[str, ...], words: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    draw_images(Path("images"), 2)
    if "elsewhere" in arguments:
        scripted_model("ada")
        measured("ada", draw_images(Path("others"), 4)[2:], Path("elsewhere"), questions=1)
    given = {"--before": "scripted", "--after": "scripted", "--images": "images"}
    given |= dict(zip(arguments[::2], arguments[1::2], strict=False))
    flags = arguments[-1:] if len(arguments) % 2 else ()
    ended = distill_eval(capsys, *(part for pair in given.items() for part in pair), *flags)
    assert (ended.code, ended.out) == (2, "")
    (line,) = ended.err.splitlines()
    assert all(word in line for word in words), line
    assert not Path("out").exists()


def test_the_folder_of_a_run_is_none_for_several(capsys: pytest.CaptureFixture[str]) -> None:
    scripted_model("ada")
    measured("ada", draw_images(Path("images"), 1), Path("elsewhere"), questions=1)
    options = ("--before", "scripted", "--after", "scripted", "--images", "images")
    ended = distill_eval(capsys, *options, out="elsewhere")
    assert ended.code == 2
    assert "--out elsewhere: is a run's folder, and several runs would come into it" in ended.err
    assert ended.err.count("\n") == 1


def test_another_model_in_the_same_folder_is_a_mistake(capsys: pytest.CaptureFixture[str]) -> None:
    draw_images(Path("images"), 2)
    for name in ("ada", "bob", "cid"):
        scripted_model(name)
    options = ("--images", "images", "--questions", "1", "--no-cache", "-q")
    assert distill_eval(capsys, "--before", "ada", "--after", "bob", *options).code == 1
    before = json.loads(Path("out/distill-eval.json").read_bytes())
    ended = distill_eval(capsys, "--before", "ada", "--after", "cid", *options)
    assert ended.code == 2
    assert "--out out/after: holds a run with another model, bob" in ended.err
    assert json.loads(Path("out/distill-eval.json").read_bytes()) == before
