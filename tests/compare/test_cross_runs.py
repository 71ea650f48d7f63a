"""`cross`: the cells are runs like any other, that cost what they cost once, and tell the planted skills apart."""

from __future__ import annotations

import json
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from commandline import Ended, command, serving
from driving import draw_images
from truths import measured, scripted_model, served_model

from unsaf_async.calls.ledger import read_account
from unsaf_async.runs.folder import read_manifest, reopen
from unsaf_async.runs.journal import read_journal
from unsaf_async.runs.saved import SavedRun
from unsaf_async.simulate.model import Awareness
from unsaf_async.simulate.settings import Simulation

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from unsaf_async.simulate.server import Simulator

NAMES = ("ada", "bob", "cid")
PAIRS = [(asker, answerer) for asker in NAMES for answerer in NAMES if asker != answerer]


def cross(capsys: pytest.CaptureFixture[str], *arguments: str, runs: Sequence[str] = NAMES) -> Ended:
    return command(capsys, "cross", *runs, "--out", "crossed", *arguments)


def cells() -> dict[str, Path]:
    """The cells' folders, by the pair that ends their names."""
    return {folder.name.split("-", 2)[2]: folder for folder in sorted(Path("crossed/cells").iterdir())}


def calls() -> int:
    return sum(sum(read_account(folder / "ledger.jsonl").made.values()) for folder in cells().values())


def matrix() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(Path("crossed/cross.json").read_bytes())
    return found


@pytest.fixture
def three() -> None:
    """Runs of three simulated models on the same images."""
    images = draw_images(Path("images"), 6)
    for seed, name in enumerate(NAMES):
        scripted_model(name, seed=seed, abstain_unanswerable=0.9 - 0.2 * seed)
        measured(name, images, Path(name))


@pytest.mark.usefixtures("three")
def test_the_diagonal_is_the_models_own_runs_and_every_other_cell_a_run_on_given_questions(
    capsys: pytest.CaptureFixture[str],
) -> None:
    ended = cross(capsys, "--quiet", "--json")
    assert ended.code == 0
    assert all("simulated in this process (providers/" in line for line in ended.err.splitlines()), ended.err
    found = matrix()
    assert json.loads(ended.out) == found
    assert (found["askers"], found["answerers"], found["images"]) == (list(NAMES), list(NAMES), 6)
    by_pair = {(cell["asker"], cell["answerer"]): cell for cell in found["cells"]}
    assert len(by_pair) == 9
    for name in NAMES:
        assert by_pair[name, name]["unf1"] == pytest.approx(SavedRun(Path(name)).findings.unf1)
    assert set(cells()) == {f"{asker}--{answerer}" for asker, answerer in PAIRS}
    for asker, answerer in PAIRS:
        folder = cells()[f"{asker}--{answerer}"]
        score = SavedRun(folder).findings
        assert by_pair[asker, answerer]["unf1"] == pytest.approx(score.unf1)
        assert (score.provider, score.questions_per_label, score.judge) == (answerer, None, "self")
        asked = {
            name: sorted((question.text, question.intended) for question in examination.questions)
            for name, examination in read_journal(Path(asker) / "journal.jsonl").items()
        }
        answered = {
            name: sorted((question.text, question.intended) for question in examination.questions)
            for name, examination in read_journal(folder / "journal.jsonl").items()
        }
        assert answered == asked
        assert score.calls is not None
        assert score.calls.by_role["ask"] == 0


@pytest.mark.usefixtures("three")
def test_the_same_command_again_calls_nobody_and_finds_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    assert cross(capsys, "--quiet").code == 0
    made, found = calls(), matrix()
    for name in ("--cache", "--no-cache"):
        arguments = (name, "elsewhere") if name == "--cache" else (name,)
        assert cross(capsys, "--quiet", *arguments).code == 0
        assert (calls(), matrix()) == (made, found)


@pytest.mark.usefixtures("three")
def test_a_dry_run_tells_the_cells_and_calls_and_makes_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    ended = cross(capsys, "--dry-run")
    assert ended.code == 0
    assert ended.out.startswith("6 cells, about ")
    assert "$0.00 at most" in ended.out
    assert not Path("crossed").exists()


@pytest.mark.usefixtures("three")
def test_only_images_that_all_runs_share_are_examined_and_without_one_nothing_is(
    capsys: pytest.CaptureFixture[str],
) -> None:
    images = sorted(Path("images").iterdir())
    scripted_model("dot", seed=9)
    measured("dot", images[:2], Path("dot"))
    assert cross(capsys, "--quiet", runs=("ada", "dot")).code == 0
    for folder in cells().values():
        assert set(read_journal(folder / "journal.jsonl")) == {file.name for file in images[:2]}
    assert matrix()["images"] == 2

    draw_images(Path("more"), 8)
    measured("dot", sorted(Path("more").iterdir())[6:], Path("elsewhere"))
    ended = cross(capsys, runs=("ada", "elsewhere"))
    assert (ended.code, ended.out) == (2, "")
    (line,) = ended.err.splitlines()
    assert "the runs share no image" in line


@pytest.mark.parametrize(
    ("runs", "words"),
    [
        (("ada",), ("1 run to compare", "two or more")),
        (("ada", "ada"), ("is the same run as",)),
        (("ada", "nowhere"), ("nowhere", "is no run's folder")),
    ],
)
@pytest.mark.usefixtures("three")
def test_what_cannot_be_crossed_is_said_in_one_line(
    runs: tuple[str, ...], words: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    ended = cross(capsys, runs=runs)
    assert (ended.code, ended.out) == (2, "")
    (line,) = ended.err.splitlines()
    assert all(word in line for word in words)
    assert not Path("crossed").exists()


def test_the_judges_of_all_cells_are_called_where_the_command_says(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "any-key")
    images = draw_images(Path("images"), 2)
    with serving() as first, serving() as second:
        for seed, name in enumerate(NAMES[:2]):
            scripted_model(name, seed=seed)
            measured(
                name, images, Path(name), judge="gpt-4o", judge_api_base=first.openai_base, questions=2, cache=None
            )
        assert cross(
            capsys, "--judge-api-base", "http://h:1", "--judge-api-base", "HTTP://h:1", runs=NAMES[:2]
        ).err == ("unsaf-async: --judge-api-base HTTP://h:1: is given twice; give each address once\n")
        before = first.ledger.served
        there = ("--judge-api-base", second.openai_base, "--no-cache", "-y")
        ended = cross(capsys, *there, runs=NAMES[:2])
        assert ended.code == 0, ended.err
        assert first.ledger.served == before
        assert f"judge gpt-4o at {second.openai_base}" in ended.err
    for folder in cells().values():
        assert read_manifest(folder).others["gpt-4o"].endpoints == (second.openai_base,)


@pytest.mark.usefixtures("three")
def test_an_address_of_judges_is_nobodys_where_no_run_names_one(capsys: pytest.CaptureFixture[str]) -> None:
    ended = cross(capsys, "--judge-api-base", "http://h:1")
    assert (ended.code, ended.err) == (
        2,
        "unsaf-async: --judge-api-base: is nobody's address; no run names a model as its judge\n",
    )
    assert not Path("crossed").exists()


# --- money ------------------------------------------------------------------------------------------------------------


def _served(simulator: Simulator) -> None:
    """Runs of three served models on the same images."""
    images = draw_images(Path("images"), 4)
    for seed, name in enumerate(NAMES):
        served_model(name, simulator.openai_base, (2.5, 10))
        measured(name, images, Path(name), questions=2, seed=seed, cache=Path("cache"))


def test_the_cap_holds_over_all_cells_together_and_a_higher_one_goes_on(capsys: pytest.CaptureFixture[str]) -> None:
    with serving(Simulation(any_model=True, price=(2.5, 10))) as simulator:
        _served(simulator)
        before_usd = float(simulator.ledger.billed_usd)
        ended = cross(capsys, "--dry-run", "--no-cache")
        worst_usd = float(ended.out.split("$")[2].split()[0])
        assert float(simulator.ledger.billed_usd) == before_usd
        cap = worst_usd / 16
        stopped = 0
        for times in (1, 1.5):
            ended = cross(capsys, "--no-cache", "--quiet", "--max-cost", str(cap * times))
            billed_usd = float(simulator.ledger.billed_usd) - before_usd
            assert 0 < billed_usd <= cap * times + 1e-9
            if ended.code:
                stopped += 1
                assert ended.code == 3
                assert "--max-cost" in ended.err.splitlines()[-1]
                assert "the same command goes on; what is finished is kept" in ended.err.splitlines()[-1]
        assert stopped == 2
        requests = simulator.ledger.requests
        kept = {name: list(read_journal(folder / "journal.jsonl").values()) for name, folder in cells().items()}
        ended = cross(capsys, "--no-cache", "--quiet", "--max-cost", str(worst_usd))
        assert ended.code == 0
        billed_usd = float(simulator.ledger.billed_usd) - before_usd
        assert simulator.ledger.requests > requests
        # Nothing twice: as much as the same cells cost without a stop.
        assert billed_usd <= worst_usd
        for name, examinations in kept.items():
            after = list(read_journal(cells()[name] / "journal.jsonl").values())
            assert after[: len(examinations)] == examinations
        assert sum(read_account(each / "ledger.jsonl").cost_usd for each in cells().values()) == pytest.approx(
            billed_usd
        )
        assert calls() == sum(len(each.calls) for each in _all_kept())
    assert all(cell["unf1"] is not None for cell in matrix()["cells"])


def _all_kept() -> list[Any]:
    return [each for folder in cells().values() for each in read_journal(folder / "journal.jsonl").values()]


def test_cells_whose_calls_failed_are_gone_on_with(capsys: pytest.CaptureFixture[str]) -> None:
    with serving(Simulation(any_model=True, price=(2.5, 10))) as healthy:
        _served(healthy)
    with serving(Simulation(any_model=True, price=(2.5, 10), faults={"500": 0.6}, fault_seed=3)) as broken:
        _redirect(broken.openai_base, attempts=1)
        ended = cross(capsys, "--no-cache", "--quiet", "-y")
        assert ended.code == 3
        assert "hold calls that failed" in ended.err.splitlines()[-1]
    with serving(Simulation(any_model=True, price=(2.5, 10))) as healthy:
        _redirect(healthy.openai_base, attempts=6)
        ended = cross(capsys, "--no-cache", "--quiet", "-y")
        assert ended.code == 0
    assert len(_all_kept()) == 6 * 4
    assert not [call for each in _all_kept() for call in each.calls if call.outcome == "failed"]


def _redirect(endpoint: str, attempts: int) -> None:
    """Let the models listen at another address, as the frozen profiles of their runs have it."""
    for file in Path().glob("**/manifest.json"):
        with reopen(file.parent) as folder:
            subject = folder.manifest.subject.model_copy(update={"endpoint": endpoint, "attempts": attempts})
            folder.keep_manifest(folder.manifest.model_copy(update={"subject": subject}))


def test_what_is_finished_is_not_asked_about_again_before_it_begins(capsys: pytest.CaptureFixture[str]) -> None:
    """Where nobody can be asked, cells that cost money need --max-cost or -y; with none left to pay for, neither."""
    with serving(Simulation(any_model=True, price=(2.5, 10))) as simulator:
        _served(simulator)
        ended = cross(capsys, "--quiet")
        assert ended.code == 2
        assert "give --max-cost USD, or -y" in ended.err
        assert cross(capsys, "--quiet", "-y").code == 0
        requests = simulator.ledger.requests
        ended = cross(capsys, "--dry-run")
        assert "0 cells" in ended.out or "$0.00 at most" in ended.out
        assert cross(capsys, "--quiet").code == 0
        assert simulator.ledger.requests == requests


# --- the truth --------------------------------------------------------------------------------------------------------

ASKING = {"ada": 0.0, "bob": 0.12, "cid": 0.3}
"""How often a label is false, on either instruction. Who asks best answers worst, so that its own run shows neither."""
ANSWERING = {"ada": (0.5, 0.25), "bob": (0.95, 0.02), "cid": (0.75, 0.1)}
"""Abstains from what has no answer, and from what has one."""


def _expected() -> dict[tuple[str, str], float]:
    return {
        (asker, answerer): Awareness(
            abstain_unanswerable=ANSWERING[answerer][0],
            over_refuse=ANSWERING[answerer][1],
            false_unanswerable=ASKING[asker],
            false_answerable=ASKING[asker],
        ).expected_unf1()
        for asker, answerer in product(NAMES, NAMES)
    }


def _additive(values: Mapping[tuple[str, str], float]) -> tuple[np.ndarray, np.ndarray]:
    """The effects of a full matrix: its row means and its column means, less the mean of all."""
    table = np.array([[values[asker, answerer] for answerer in NAMES] for asker in NAMES])
    return table.mean(axis=1) - table.mean(), table.mean(axis=0) - table.mean()


def test_skill_in_asking_and_in_answering_are_told_apart_as_they_were_planted(
    capsys: pytest.CaptureFixture[str],
) -> None:
    images = draw_images(Path("images"), 60)
    for seed, name in enumerate(NAMES):
        abstain, refuse = ANSWERING[name]
        scripted_model(
            name,
            seed=seed,
            abstain_unanswerable=abstain,
            over_refuse=refuse,
            false_unanswerable=ASKING[name],
            false_answerable=ASKING[name],
        )
        measured(name, images, Path(name), questions=4)
    assert cross(capsys, "--quiet").code == 0
    found, truth = matrix(), _expected()
    covered = sum(cell["ci"][0] <= truth[cell["asker"], cell["answerer"]] <= cell["ci"][1] for cell in found["cells"])
    assert covered >= 7
    effects_covered = 0
    for sort, planted in zip(("asking", "answering"), _additive(truth), strict=True):
        effects = {effect["name"]: effect for effect in found["fit"][sort]}
        assert np.argsort([effects[name]["value"] for name in NAMES]).tolist() == np.argsort(planted).tolist()
        for name, value in zip(NAMES, planted, strict=True):
            effect = effects[name]
            print(f"{sort:9} {name}: planted {value:+.3f}, found {effect['value']:+.3f} {effect['ci']}")
            effects_covered += effect["ci"][0] <= value <= effect["ci"][1]
    assert effects_covered >= 5
    assert found["fit"]["own_advantage_ci"][0] <= 0.02


@pytest.mark.usefixtures("three")
def test_an_image_that_is_gone_is_to_be_mended_before_the_same_command_helps(
    capsys: pytest.CaptureFixture[str],
) -> None:
    Path("images/0003.png").rename("gone.png")
    ended = cross(capsys)
    assert ended.code == 3
    assert ended.err.strip().splitlines()[-1].endswith("mend these files, then the same command tries them again")
    Path("gone.png").rename("images/0003.png")
    assert cross(capsys).code == 0
