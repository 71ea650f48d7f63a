"""A run's results and teacher data on the hub: what goes, to whom, and what is never touched."""

from __future__ import annotations

import csv
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from commandline import Ended, command
from hub_double import TOKEN, Hub, Repository, hub
from truths import measured_with_header

from unsaf_async.runs.saved import SavedRun

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=<...>':DeprecationWarning")  # httpx's, of huggingface_hub

HEADER = "a-secret-of-the-gateway"


@pytest.fixture
def there(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    with hub(monkeypatch) as double:
        yield double


@pytest.fixture
def run() -> Path:
    """The folder of a run of a model whose requests carry a header."""
    return measured_with_header(HEADER)


def said(ended: Ended) -> str:
    return ended.complaint.removeprefix("unsaf-async: ").rstrip("\n")


def pushed(there: Hub, name: str = "lab/r") -> dict[str, str]:
    files = there.repositories["dataset", name].files
    return {path: data.decode("utf-8") for path, data in files.items() if path != ".gitattributes"}


def test_results_are_pushed_privately_without_pictures_keys_headers_and_paths(
    run: Path, there: Hub, capsys: pytest.CaptureFixture[str]
) -> None:
    ended = command(capsys, "push", "r", "lab/r")
    repository = there.repositories["dataset", "lab/r"]
    assert (ended.code, ended.err) == (0, "")
    assert ended.out == f"pushed to {there.url}/datasets/lab/r/commit/{repository.sha}\n"
    assert repository.private
    files = pushed(there)
    assert sorted(files) == ["README.md", "questions.csv", "report.html", "scores.csv"]
    for path, text in files.items():
        assert "data:image" not in text, path
        assert not re.search(f"{TOKEN}|{HEADER}|{Path.cwd()}", text), path
    score = SavedRun(run).findings
    card = files["README.md"]
    assert score.unf1_ci is not None
    assert (
        f"**UnF1 {score.unf1:.3f}** (95 % interval {score.unf1_ci[0]:.3f} to {score.unf1_ci[1]:.3f}), over 3 images"
        in card
    )
    assert "The model is simulated" in card
    assert "| judge | `self` |" in card
    (unf1,) = [row for row in csv.DictReader(files["scores.csv"].splitlines()) if row["path"] == "unf1"]
    assert float(unf1["value"]) == score.unf1
    questions = sum(len(each.questions) for each in SavedRun(run).kept.in_order(SavedRun(run).kept))
    assert len(list(csv.reader(files["questions.csv"].splitlines()))) - 1 == questions
    assert 'class="plot"' in files["report.html"], "the report has its plots"


def test_pictures_go_where_they_are_asked_for_and_what_is_pushed_again_makes_no_commit(
    run: Path, there: Hub, capsys: pytest.CaptureFixture[str]
) -> None:
    command(capsys, "push", "r", "lab/r", "--public")
    assert not there.repositories["dataset", "lab/r"].private
    again = command(capsys, "push", "r", "lab/r", "--public")
    assert again.out.startswith("nothing has changed since ")
    command(capsys, "push", "r", "lab/r", "--public", "--with-images")
    assert "data:image" in pushed(there)["report.html"]
    assert "The pictures keep the terms of their source" in pushed(there)["README.md"]
    assert all(str(Path.cwd()) not in text for text in pushed(there).values())


def test_teacher_data_are_pushed_as_they_lie_there_and_later_by_their_folder(
    run: Path, there: Hub, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("imagehash")
    ended = command(
        capsys,
        "export",
        "r",
        "--out",
        "data",
        "--format",
        "sharegpt",
        "--push-to-hub",
        "lab/data",
        "--splits",
        "100/0/0",
    )
    assert ended.code == 0, ended.err
    repository = there.repositories["dataset", "lab/data"]
    assert repository.private
    here = {str(path.relative_to("data")): path.read_bytes() for path in Path("data").rglob("*") if path.is_file()}
    assert {path: data for path, data in repository.files.items() if path != ".gitattributes"} == here
    assert any(path.startswith("images/") for path in here)
    assert "the rows go with their images, for its owner alone to read" in ended.err
    assert TOKEN.encode() not in b"".join(here.values())
    assert command(capsys, "push", "data", "lab/data").out.startswith("nothing has changed since ")


@pytest.mark.parametrize(
    "files", [{"train.csv": b"1"}, {"scores.csv": b"1", "model.bin": b"2"}, {"README.md": b"mine"}]
)
def test_a_repository_that_holds_anything_else_is_left_alone(
    files: dict[str, bytes], run: Path, there: Hub, capsys: pytest.CaptureFixture[str]
) -> None:
    there.repositories["dataset", "lab/r"] = Repository(private=True, files=dict(files))
    ended = command(capsys, "push", "r", "lab/r")
    other = next(name for name in files if name != "scores.csv")
    assert ended.code == 2
    assert said(ended) == f"lab/r: holds other files ({other}); choose another name, or empty it there"
    assert there.repositories["dataset", "lab/r"].files == files


def test_what_cannot_be_pushed_is_one_line(run: Path, there: Hub, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments, told in (
        (("push", "r", "data"), "data: has no owner; give OWNER/NAME"),
        (("push", "r", "a b/c"), "a b/c: is no repository's name"),
        (("push", "images", "lab/r"), "images: is neither a run's folder nor one that `export` has written"),
        (("export", "r", "--out", "d", "--push-to-hub", "data"), "--push-to-hub data: has no owner"),
        (("export", "r", "--out", "d", "--public"), "--public goes with --push-to-hub"),
        (
            ("export", "r", "--format", "csv", "--push-to-hub", "a/b"),
            "--push-to-hub takes training data, not --format csv",
        ),
    ):
        ended = command(capsys, *arguments)
        assert (ended.code, said(ended).startswith(told)) == (2, True), ended.err
    assert not there.repositories
    assert not Path("d").exists()


def test_without_a_token_nothing_is_exported(
    run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with hub(monkeypatch, token=None) as there:
        ended = command(capsys, "export", "r", "--out", "data", "--format", "sharegpt", "--push-to-hub", "lab/data")
        assert (ended.code, there.asked) == (2, [])
    assert said(ended).startswith("--push-to-hub lab/data: no token was found; set HF_TOKEN")
    assert not Path("data").exists()


def test_a_student_is_refused_with_the_two_ways_by_which_a_model_goes_there(
    there: Hub, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("st/adapter").mkdir(parents=True)
    Path("st/training.json").write_text("{}")
    ended = command(capsys, "push", "st", "lab/first")
    assert (ended.code, there.asked) == (2, [])
    assert said(ended) == (
        "st: is a student, a model and no data set; `distill --push-to-hub lab/first` pushes what it trains, and this one "
        "goes there with: hf upload lab/first st . --include README.md --include recipe.yaml --include training.json "
        "--include 'adapter/*' --private"
    )
    assert "--private" not in command(capsys, "push", "st", "lab/first", "--public").err


@pytest.mark.parametrize(
    ("given", "option"),
    [
        (("--min-consistency", "0.8"), "--min-consistency"),
        (("--agreed-by", "crossed"), "--agreed-by"),
        (("--no-question-writing",), "--no-question-writing"),
        (("--uneven-preferences",), "--uneven-preferences"),
        (("--accept-teacher-terms",), "--accept-teacher-terms"),
    ],
)
@pytest.mark.parametrize("form", ["csv", "inspect"])
def test_what_is_about_training_data_is_refused_where_none_are_written(
    form: str, given: tuple[str, ...], option: str, capsys: pytest.CaptureFixture[str]
) -> None:
    ended = command(capsys, "export", "r", "--format", form, *given)
    assert ended.code == 2
    assert said(ended) == f"{option} is about training data, and --format {form} holds all questions; leave it out"
