"""A run as a log of inspect_ai: by its published schema here, and by its own reader where that is installed."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from commandline import command
from driving import draw_images
from truths import measured, scripted_model

from unsaf_async.runs.saved import SavedRun

SCHEMA = Path(__file__).parents[1] / "data" / "inspect_log_schema.json"
READER = os.environ.get("UNSAF_INSPECT_PYTHON", "")
"""A Python that has inspect_ai: `make test-exports` names one."""

READS = """
import json, sys
from inspect_ai.log import list_eval_logs, read_eval_log, read_eval_log_sample_summaries
(found,) = list_eval_logs(sys.argv[1])
head, log = read_eval_log(found, header_only=True), read_eval_log(found)
assert head.samples is None and head.results.headline.metric == "unf1"
summaries = read_eval_log_sample_summaries(found)
print(json.dumps({
    "status": log.status,
    "unf1": log.results.scores[0].metrics["unf1"].value,
    "scores": {each.id: each.scores["unsaf"].value for each in log.samples if each.scores},
    "errors": {each.id: each.error.message for each in log.samples if each.error},
    "said": {each.id: each.output.completion for each in log.samples},
    "summaries": len(summaries),
}))
"""


@pytest.fixture
def run() -> Path:
    """The folder of a run of two images and of a file that is none."""
    scripted_model("ada")
    images = draw_images(Path("images"), 2)
    Path("images/broken.png").write_bytes(b"no picture")
    measured("ada", [*images, "images/broken.png"], Path("r"))
    return Path("r")


def exported(capsys: pytest.CaptureFixture[str], *arguments: str) -> Path:
    ended = command(capsys, "export", "r", "--format", "inspect", *arguments)
    assert ended.code == 0, ended.err
    return Path(ended.out.partition(":")[0])


def strict(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema without room for fields that it does not know: inspect_ai would drop them unread."""
    for definition in schema["$defs"].values():
        if "properties" in definition:
            definition.setdefault("additionalProperties", False)
    return schema


def test_a_log_follows_inspects_schema_and_has_a_sample_a_question(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = exported(capsys)
    saved = SavedRun(run)
    assert (file.parent, file.name[:19]) == (run, saved.manifest.created[:19].replace(":", "-"))
    log = json.loads(file.read_bytes())
    jsonschema.validate(log, strict(json.loads(SCHEMA.read_bytes())))

    questions = {
        f"{each.image.id}#{number}": question
        for each in saved.examinations
        for number, question in enumerate(each.questions, 1)
    }
    samples = {each["id"]: each for each in log["samples"]}
    assert samples.keys() == questions.keys() | {"broken.png#0"}
    for name, question in questions.items():
        right = {"answerable": "answered", "unanswerable": "abstained"}[question.intended] == question.act
        expected = None if question.unscored else "C" if right else "I"
        assert (samples[name].get("scores") or {"unsaf": {"value": None}})["unsaf"]["value"] == expected
        assert (samples[name]["input"], samples[name]["output"]["completion"]) == (question.text, question.response)
    assert "scores" not in samples["broken.png#0"]
    assert samples["broken.png#0"]["error"]["message"]


def test_its_results_are_the_scores_figures_and_what_is_missing_is_counted(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log, score = json.loads(exported(capsys, "--out", "logs").read_bytes()), SavedRun(run).findings
    results = log["results"]
    (scored,) = results["scores"]
    assert results["headline"] == {"scorer": "unsaf", "metric": "unf1"}
    metric = scored["metrics"]["unf1"]
    assert (metric["value"], tuple(metric["metadata"]["ci_95"])) == (score.unf1, score.unf1_ci)
    assert scored["scored_samples"] == sum(score.counts.model_dump().values())
    assert scored["scored_samples"] + scored["unscored_samples"] == results["total_samples"] == len(log["samples"])
    assert results["completed_samples"] == results["total_samples"] - 1
    assert set(results["metadata"]["undefined"]).isdisjoint(scored["metrics"])
    assert log["status"] == "success"


def test_runs_that_are_not_done_say_so_and_a_run_that_is_given_twice_is_refused(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = (run / "journal.jsonl").read_bytes().splitlines(keepends=True)
    (run / "journal.jsonl").write_bytes(b"".join(lines[:-1]))
    log = json.loads(exported(capsys).read_bytes())
    assert (log["status"], log["metadata"]["images_pending"]) == ("cancelled", 1)
    twice = command(capsys, "export", "r", "r", "--format", "inspect", "--out", "logs")
    assert (twice.code, "given twice" in twice.err) == (2, True)
    assert not Path("logs").exists()


def test_what_an_export_replaces_it_says(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (("inspect",), ("csv",), ("csv", "--scores")):
        first, second = (command(capsys, "export", "r", "--format", *arguments).out for _ in range(2))
        assert second == first.replace("\n", ", in place of the file that was there\n")


@pytest.mark.skipif(not READER, reason="needs inspect_ai: `make test-exports`")
def test_inspect_itself_finds_and_reads_it(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = exported(capsys, "--out", "logs").parent
    done = subprocess.run([READER, "-c", READS, str(folder)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    read, log = json.loads(done.stdout), json.loads(next(folder.glob("*.json")).read_bytes())
    assert (read["status"], read["unf1"]) == ("success", SavedRun(run).findings.unf1)
    assert read["said"] == {each["id"]: each["output"]["completion"] for each in log["samples"]}
    assert read["scores"] == {
        each["id"]: each["scores"]["unsaf"]["value"] for each in log["samples"] if "scores" in each
    }
    assert (read["errors"].keys(), read["summaries"]) == ({"broken.png#0"}, len(log["samples"]))
