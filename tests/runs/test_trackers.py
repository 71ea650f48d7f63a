"""What trackers are told of a run, by the real ones where they are installed (`make test-exports`), and what they are not."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from commandline import command
from truths import measured_with_header

from unsaf_async.errors import UserError
from unsaf_async.runs.saved import SavedRun
from unsaf_async.trackers import check_installed, told_of

HEADER = "the blue team of the fourth floor"
SETTINGS = {
    *(
        "run_id",
        "created",
        "version",
        "provider",
        "model",
        "simulated",
        "judge",
        "auditors",
        "prompts",
        "prompts_version",
    ),
    *(
        "prompts_sha256",
        "questions_from",
        "questions",
        "question_form",
        "seed",
        "images",
        "images_sha256",
        "max_cost_usd",
    ),
    *("until_ci", "grounded", "confidence", "samples", "controls", "batch", "folder", "report"),
}
"""All that may be told besides figures."""

READS = {
    "wandb": "import glob; print(json.dumps(sorted(glob.glob('wandb/offline-run-*/run-*.wandb'))))",
    "mlflow": """
import mlflow
found = mlflow.search_runs(experiment_names=["unsaf-async"], output_format="list")
print(json.dumps([[each.data.metrics, each.data.tags] for each in found]))
""",
    "trackio": """
import trackio
runs = list(trackio.Api().runs("unsaf-async"))
print(json.dumps([each.name for each in runs]))
""",
}
"""How each reads back what it has kept on this machine."""


@pytest.fixture
def run() -> Path:
    """The folder of a run of a model whose requests carry a header."""
    return measured_with_header(HEADER)


def test_what_is_told_is_figures_with_their_intervals_and_settings_from_a_list(run: Path) -> None:
    saved = SavedRun(run)
    told, score = told_of(saved), saved.findings
    assert score.unf1_ci is not None
    assert (told.figures["unf1"], (told.figures["unf1_low"], told.figures["unf1_high"])) == (score.unf1, score.unf1_ci)
    assert told.figures["cost_usd"] == score.cost_usd
    assert told.figures["counts.tu"] == score.counts.tu
    assert all(isinstance(value, int | float) for value in told.figures.values())
    assert set(told.settings) <= SETTINGS
    assert (told.settings["provider"], told.settings["max_cost_usd"]) == ("ada", 1.0)
    texts = {text for each in saved.examinations for q in each.questions for text in (q.text, q.response) if text}
    said = {str(value) for value in told.settings.values()}
    assert said.isdisjoint(texts)
    assert HEADER not in str(told)


@pytest.mark.parametrize("tracker", ["wandb", "mlflow", "trackio"])
def test_a_tracker_that_is_not_installed_is_one_line_before_anything_is_done(
    tracker: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, tracker, None)
    ended = command(capsys, "run", "--provider", "scripted", "--out", "r", "--report-to", tracker)
    assert (ended.code, ended.out, ended.err.count("\n")) == (2, "", 1)
    assert f"--report-to needs {tracker}, which is not installed" in ended.err
    assert not Path("r").exists()


def test_an_unknown_tracker_is_a_mistake() -> None:
    with pytest.raises(UserError, match="none of wandb, mlflow, trackio"):
        check_installed(["tensorboard"])  # type: ignore[list-item]


def test_a_tracker_that_cannot_be_reached_costs_a_line_without_its_password(
    run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    module = "raise OSError('https://me:hunter22@tracker.example refuses the connection')"
    Path("elsewhere").mkdir()
    Path("elsewhere/trackio.py").write_text(module)
    monkeypatch.syspath_prepend("elsewhere")
    monkeypatch.delitem(sys.modules, "trackio", raising=False)
    ended = command(capsys, "resume", "r", "--report-to", "trackio", "--json")
    assert ended.code == 0
    assert json.loads(ended.out)["provider"] == "ada"
    assert "trackio was not told: https://tracker.example refuses" in ended.err.replace("OSError: ", "")
    assert "hunter22" not in ended.err


@pytest.mark.timeout(900)  # MLflow alone makes its database in a minute and a half on a busy core
@pytest.mark.parametrize("tracker", ["wandb", "mlflow", "trackio"])
def test_the_tracker_itself_keeps_one_run_however_often_it_is_told(tracker: str, run: Path) -> None:
    if find_spec(tracker) is None:
        pytest.skip("not installed: `make test-exports`")
    where = {
        "WANDB_MODE": "offline",
        "MLFLOW_TRACKING_URI": "sqlite:///mlflow.db",
        "TRACKIO_DIR": str(Path("trackio").absolute()),
    }
    environment = {**os.environ, **where}

    def python(*arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, *arguments], env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        assert "was not told" not in done.stderr, done.stderr
        return done.stdout

    for _ in range(2):
        out = python("-m", "unsaf_async", "resume", "r", "--report-to", tracker, "--json")
        assert json.loads(out)["provider"] == "ada", "what the tracker prints is not on stdout"
    kept = json.loads(python("-c", f"import json\n{READS[tracker]}").splitlines()[-1])
    score, told = SavedRun(run).findings, told_of(SavedRun(run))
    if tracker == "wandb":  # each session is a file of its own, which `wandb sync` joins by the run's id
        assert {Path(each).name for each in kept} == {f"run-{told.run_id}.wandb"}
        assert all(HEADER.encode() not in Path(each).read_bytes() for each in kept)
    elif tracker == "mlflow":
        ((metrics, tags),) = kept
        assert (metrics["unf1"], metrics["unf1_low"]) == (pytest.approx(score.unf1), pytest.approx(score.unf1_ci[0]))
        assert (tags["unsaf.run_id"], tags["unsaf.judge"]) == (told.run_id, "self")
    else:
        assert kept == [told.name]
