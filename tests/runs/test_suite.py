"""A whole audit from one file: all combinations, one cap, one cache, and one report."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from xml.etree import ElementTree as ET

import orjson
import pytest
from commandline import Ended, command, serving
from driving import draw_images
from truths import scripted_model, served_model

from unsaf_async.runs.saved import SavedRun
from unsaf_async.simulate.settings import Simulation

IMAGES = 3
TWO_MODELS = '[[models]]\nprovider = "ada"\n[[models]]\nprovider = "bob"\n'
MANY = "".join(f'[[models]]\nname = "m{n}"\nprovider = "ada"\n[[options]]\nname = "o{n}"\n' for n in range(40))
COMMON = '[settings]\nimages = "images"\nquestions = 2\njudge = "rules"\n'


def audit(text: str, file: str = "audit.toml") -> Path:
    """A suite's file, beside images and two simulated models that cost money."""
    for seed, name in enumerate(("ada", "bob")):
        scripted_model(name, seed=seed, input_usd_per_mtok=100)
    draw_images(Path("images"), IMAGES)
    Path(file).write_text(text, "utf-8")
    return Path(file)


def suite(capsys: pytest.CaptureFixture[str], *more: str, file: str = "audit.toml") -> Ended:
    return command(capsys, "suite", file, "--quiet", *more)


@pytest.fixture
def _no_report(monkeypatch: pytest.MonkeyPatch) -> None:
    """The page takes most of a test's time; one test looks at it."""
    monkeypatch.setattr("unsaf_async.report.page.write_report", lambda _, out: out)


def spent_usd() -> dict[str, float]:
    return {run.name: SavedRun(run).account.cost_usd for run in sorted(Path("runs/audit").iterdir()) if run.is_dir()}


# --- runs and money -----------------------------------------------------------------------------------------------


def test_all_combinations_are_run_and_reported_and_a_second_call_asks_nobody(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    reported: list[tuple[list[Path], Path]] = []

    def report(folders: list[Path], out: Path) -> Path:
        reported.append((folders, out))
        return out

    monkeypatch.setattr("unsaf_async.report.page.write_report", report)
    options = '[[options]]\nname = "plain"\n[[options]]\nname = "twice"\nsamples = 1\n'
    audit("max_cost = 20\n" + COMMON + TWO_MODELS + options)
    quote = orjson.loads(suite(capsys, "--estimate", "--json").out)
    assert (quote["runs"], quote["spent_usd"]) == (4, 0)
    assert not Path("runs").exists(), "an estimate writes nothing"
    ended = suite(capsys)
    assert ended.code == 0, ended.err
    costs = spent_usd()
    assert list(costs) == ["ada--plain", "ada--twice", "bob--plain", "bob--twice"]
    assert costs["ada--plain"] > 0
    assert costs["ada--twice"] < costs["ada--plain"], "what two runs ask alike is paid for once"
    assert reported == [([Path("runs/audit") / name for name in costs], Path("runs/audit/report.html"))]
    again = suite(capsys, "--resume", "--json")
    assert again.code == 0
    assert set(orjson.loads(again.out)["runs"]) == set(costs)
    assert spent_usd() == costs


@pytest.mark.usefixtures("_no_report")
def test_the_cap_is_of_all_runs_together_and_a_higher_one_goes_on(capsys: pytest.CaptureFixture[str]) -> None:
    text = COMMON + TWO_MODELS
    audit("max_cost = 2\n" + text)
    ended = suite(capsys)
    assert ended.code == 3
    assert "raise max_cost in audit.toml, and the same command goes on" in ended.err
    assert "raise --max-cost" not in ended.err
    first = spent_usd()
    assert 0 < sum(first.values()) <= 2
    audit("max_cost = 20\n" + text)
    assert suite(capsys).code == 0
    assert [len(SavedRun(Path("runs/audit") / name).examinations) for name in ("ada", "bob")] == [IMAGES, IMAGES]
    assert all(spent_usd()[name] >= cost for name, cost in first.items())


@pytest.mark.usefixtures("_no_report")
def test_what_runs_cost_that_the_file_names_no_more_is_gone(capsys: pytest.CaptureFixture[str]) -> None:
    text = '[[models]]\nprovider = "ada"\n'
    audit("max_cost = 20\n" + COMMON + text)
    assert suite(capsys).code == 0
    cost = sum(spent_usd().values())
    audit(f"max_cost = {cost}\n" + COMMON + text.replace("ada", "bob"))
    ended = suite(capsys)
    assert ended.code == 2
    assert "holds runs that audit.toml does not name: ada; what they cost counts" in ended.err
    assert "is spent by runs that the file no longer names" in ended.err
    assert sum(spent_usd().values()) == cost


@pytest.mark.usefixtures("_no_report")
def test_a_model_that_nobody_serves_does_not_keep_the_others_from_their_runs(
    capsys: pytest.CaptureFixture[str],
) -> None:
    audit("max_cost = 20\n" + COMMON + TWO_MODELS.replace("ada", "gone"))
    served_model("gone", "http://127.0.0.1:9", (0.1, 0.1), attempts=1)
    ended = suite(capsys)
    assert ended.code == 3
    assert "gone: " in ended.err
    assert len(SavedRun(Path("runs/audit/bob")).examinations) == IMAGES


@pytest.mark.usefixtures("_no_report")
def test_a_refused_key_is_named_once_with_its_run_in_the_table_and_no_character_of_it_anywhere(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KEYED_KEY", "sk-not-the-right-one-9876zyx")
    audit("max_cost = 20\n" + COMMON + TWO_MODELS.replace("ada", "keyed"))
    with serving(Simulation(api_key="right", any_model=True)) as simulator:
        served_model("keyed", simulator.openai_base, (0.1, 0.1), attempts=1)
        file = Path("providers/keyed.toml")
        file.write_text(f'api_key_env = "KEYED_KEY"\napi_key_required = true\n{file.read_text()}')
        ended = suite(capsys, "--fail-under", "0", "--junit", "gates.xml", "--summary", "page.md")
    assert ended.code == 3
    assert ended.err.count("keyed: ") == 1
    page = Path("page.md").read_text("utf-8")
    for shown in (page, Path("gates.xml").read_text("utf-8"), ended.err):
        assert "the key was refused" in shown
    assert "| keyed | n/a: no image is examined | n/a | 0 | $0.0000 |" in page
    assert "n/a: no image is examined" in ended.out
    kept = [path.read_bytes() for path in Path().rglob("*") if path.is_file()]
    texts = [ended.out, ended.err, *(each.decode("utf-8", "ignore") for each in kept)]
    assert not any("zyx" in text or "sk-n" in text for text in texts)


@pytest.mark.usefixtures("_no_report")
def test_killed_it_goes_on_and_the_servers_bill_stays_below_the_cap(capsys: pytest.CaptureFixture[str]) -> None:
    with serving(Simulation(any_model=True, price=(100.0, 100.0), latency=0.02)) as simulator:
        for name in ("ada", "bob"):
            served_model(name, simulator.openai_base, (100.0, 100.0), concurrency=2)
        draw_images(Path("images"), IMAGES)
        Path("audit.toml").write_text("max_cost = 60\n" + COMMON + TWO_MODELS, "utf-8")
        start = [sys.executable, "-m", "unsaf_async", "suite", "audit.toml", "--quiet"]
        ledger = Path("runs/audit/bob/ledger.jsonl")
        with subprocess.Popen(start, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
            deadline = time.monotonic() + 120
            while not (ledger.is_file() and ledger.read_bytes().count(b"\n") > 6):
                assert process.poll() is None, "it was over before it could be killed"
                assert time.monotonic() < deadline
                time.sleep(0.01)
            process.kill()
        assert suite(capsys).code == 0
        billed_usd = simulator.ledger.billed_usd
    booked_usd = sum(SavedRun(Path("runs/audit") / name).spent_usd for name in ("ada", "bob"))
    assert 0 < billed_usd <= booked_usd + 1e-9
    assert booked_usd <= 60


# --- the file -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[[models]\n", "audit.toml: is no TOML (Expected"),
        ('[setings]\n[[models]]\nprovider = "ada"', "the suite: setings is an unknown key; did you mean settings?"),
        ('[[models]]\nprovidr = "ada"', "[[models]] 1: providr is an unknown key; did you mean provider?"),
        (
            '[[models]]\nprovider = "ada"\napi_key = "sk-12345678"',
            "api_key is an unknown key; keys of vendors stand in env",
        ),
        (
            '[[models]]\nprovider = "ada"\nmax_cost = 3',
            "[[models]] 1: max_cost is of the whole suite; put it above all",
        ),
        (
            'questions = 3\n[[models]]\nprovider = "ada"',
            "questions is a setting of runs; put it into [settings] or into an",
        ),
        ("max_cost = 1", 'models is missing; give a table [[models]] with provider = "NAME"'),
        ('[models]\nprovider = "ada"', "models is no list of tables; begin each entry with [[models]]"),
        ('[[models]]\nmodel = "x"', "[[models]] 1: provider is missing; name a model"),
        (
            '[[models]]\nprovider = "ada"\n[[models]]\nprovider = "ADA"',
            "[[models]] 2: is called ADA, as [[models]] 1 is",
        ),
        ('[[models]]\nprovider = "ada"\nquestions = "six"', "[[models]] 1: questions is 'six'; give a whole number"),
        ('[settings]\nquestions = 0\n[[models]]\nprovider = "ada"', "[settings]: questions is 0; give a whole number"),
        ('[[models]]\nprovider = "adda"', "audit.toml: [[models]] 1: provider 'adda': is unknown; the nearest are ada"),
        ('[[models]]\nprovider = "ada"\n[[image_sets]]\nimages = "nowhere"', "[[image_sets]] 1: images: nowhere"),
        ('max_cost = "1"\n[[models]]\nprovider = "ada"', "max_cost is '1'; give an amount in USD above 0"),
        (
            '[[models]]\nprovider = "ada"\nseed = 1\n[[options]]\nseed = 2',
            "[[options]] 1: seed is given by [[models]] 1, too",
        ),
        (
            MANY,
            "makes 1,600 runs; give 1,000 combinations at most",
        ),
        ('[settings]\nimages = "images"\n[[models]]\nprovider = "ada"', "max_cost is missing, and this costs money ($"),
    ],
)
def test_a_mistake_in_the_file_is_one_line_with_its_place_and_nothing_is_spent(
    text: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    audit(text)
    ended = suite(capsys)
    assert (ended.code, ended.err.count("\n")) == (2, 1), ended.err
    assert said in ended.err
    assert "audit.toml" in ended.err
    assert "sk-12345678" not in ended.err
    assert not list(Path().glob("runs/audit/*/ledger.jsonl"))


@pytest.mark.usefixtures("_no_report")
def test_a_file_that_was_changed_after_it_began_says_what_changed(capsys: pytest.CaptureFixture[str]) -> None:
    text = "max_cost = 20\n" + COMMON + '[[models]]\nprovider = "ada"\n'
    audit(text)
    assert suite(capsys).code == 0
    costs = spent_usd()
    audit(text.replace("questions = 2", "questions = 1"))
    changed = suite(capsys)
    assert changed.code == 2
    assert (
        "changed since ada began: Questions per image and instruction differ: 2 when it began, 1 now\n" in changed.err
    )
    assert "was changed after it began: ada holds a run with questions 2" in changed.err
    assert spent_usd() == costs
    audit(text.replace("questions = 2", "questions = 2\nlimit = 2"))
    fewer = suite(capsys)
    assert fewer.code == 2
    assert (
        "changed since ada began: Images differ: 3 when it began, 2 now, 2 of them the same; see images and limit"
        in fewer.err
    )
    assert " So " not in changed.err + fewer.err, "what a difference means for a comparison is none of a suite's"
    audit(text + '[[models]]\nprovider = "bob"\n')
    more = suite(capsys)
    assert more.code == 0
    assert "1 of 2 runs have not begun: bob" in more.err


@pytest.mark.usefixtures("_no_report")
def test_paths_are_below_the_file_and_the_cache_is_where_it_says(capsys: pytest.CaptureFixture[str]) -> None:
    audit("")
    Path("elsewhere").mkdir()
    draw_images(Path("elsewhere/pictures"), 1)
    Path("elsewhere/mine.toml").write_text(
        'max_cost = 9\ncache = "replies"\nout = "there"\n[settings]\nimages = "pictures"\njudge = "rules"\nquestions = 1\n'
        '[[models]]\nprovider = "ada"\nname = "first"\n',
        "utf-8",
    )
    assert suite(capsys, file="elsewhere/mine.toml").code == 0
    assert Path("elsewhere/there/first/score.json").is_file()
    assert Path("elsewhere/replies/cache.db").is_file()
    assert not Path("runs").exists()


@pytest.mark.usefixtures("_no_report")
def test_resume_begins_nothing_anew(capsys: pytest.CaptureFixture[str]) -> None:
    audit("max_cost = 20\n" + COMMON + TWO_MODELS)
    ended = suite(capsys, "--resume")
    assert ended.code == 2
    assert "--resume is given, and no run of audit.toml has begun in runs/audit; leave it out" in ended.err
    assert suite(capsys, "--report").code == 2


# --- gates --------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("_no_report")
def test_gates_go_by_the_interval_and_decide_the_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    audit("max_cost = 90\n" + COMMON.replace("questions = 2", "questions = 6") + '[[models]]\nprovider = "ada"\n')
    scripted_model("ada", input_usd_per_mtok=100, hedge=0.0)
    assert suite(capsys).code == 0
    low, high = SavedRun(Path("runs/audit/ada")).findings.unf1_ci or (0.0, 1.0)
    for bar, code, verdict in (
        (low - 0.01, 0, "pass"),
        ((low + high) / 2, 1, "cannot tell"),
        (high + 0.001, 1, "fail"),
    ):
        ended = suite(capsys, "--report", "--fail-under", f"{min(1.0, bar):.4f}")
        assert ended.code == code
        assert f"{verdict}  --fail-under: ada: UnF1" in ended.out
    same = suite(capsys, "--report", "--max-regression", "runs/audit/ada", "--margin", "0.9")
    assert same.code == 0
    assert "3 shared images against runs/audit/ada: not below -0.9" in same.out
    by_name = suite(capsys, "--report", "--max-regression", "runs/audit", "--margin", "0")
    assert (by_name.code, "cannot tell  --max-regression: ada" in by_name.out) == (1, True)
    wrong = suite(capsys, "--report", "--max-regression", "images")
    assert wrong.code == 2
    assert "--max-regression images: is no run's folder" in wrong.err


@pytest.mark.usefixtures("_no_report")
def test_gates_and_runs_go_into_the_files_that_are_asked_for_and_into_no_others(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", "page.md")
    audit("max_cost = 20\n" + COMMON + '[[models]]\nprovider = "ada"\n')
    for name, more in (("junit", "gone/g.xml"), ("summary", "images")):
        wrong = suite(capsys, "--fail-under", "0", f"--{name}", more)
        assert (wrong.code, wrong.err.count("\n")) == (2, 1)
        assert "give a file in a folder that is there" in wrong.err
    for name in ("junit", "summary"):
        empty = suite(capsys, f"--{name}", "", "--fail-under", "0")
        assert (empty.code, "it is empty; give a file" in empty.err) == (2, True)
    idle = suite(capsys, "--margin", "0.1")
    assert (idle.code, "--margin is of --max-regression; give that, too" in idle.err) == (2, True)
    lone = suite(capsys, "--junit", "gates.xml")
    assert (lone.code, "--junit is given, and there is no gate" in lone.err) == (2, True)
    contrary = suite(capsys, "--summary", "own.md", "--estimate")
    assert (contrary.code, "--summary contradicts --estimate" in contrary.err) == (2, True)
    assert not Path("runs").exists(), "a mistake is told before anything is spent"
    assert suite(capsys, "--fail-under", "0").code == 0
    assert not Path("page.md").exists()
    Path("own.md").write_text("before\n")
    ended = suite(capsys, "--report", "--fail-under", "1", "--junit", "gates.xml", "--summary", "own.md")
    assert ended.code == 1
    (gates,) = ET.parse("gates.xml").getroot()
    (failed,) = gates
    assert (gates.get("name"), failed.get("classname"), failed.get("name")) == ("audit", "audit.ada", "--fail-under")
    assert gates.get("tests") == gates.get("failures") == "1"
    added = Path("own.md").read_text("utf-8")
    assert added.startswith("before\n## audit: 0 of 1 gates pass\n")
    assert "| ada | UnF1 " in added
    assert "Cost: $" in added


# --- keys and exports ---------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("_no_report")
def test_variables_come_from_a_file_only_where_it_is_named(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "environ", dict(os.environ))
    audit("max_cost = 20\n" + COMMON + '[[models]]\nprovider = "keyed"\n')
    Path(".env").write_text("# mine\nexport KEYED_KEY='sk-abcdefgh12345' # of the team\nEMPTY=\n")
    with serving(Simulation(any_model=True)) as simulator:
        served_model("keyed", simulator.openai_base, (1.0, 1.0))
        file = Path("providers/keyed.toml")
        file.write_text(f'api_key_env = "KEYED_KEY"\napi_key_required = true\n{file.read_text()}')
        assert suite(capsys).code == 2
        ended = suite(capsys, "--env-file", ".env")
    assert ended.code == 0, ended.err
    assert ".env: sets KEYED_KEY, EMPTY" in ended.err
    assert "sk-abcdefgh12345" not in ended.err + ended.out
    Path(".env").write_text("sk-abcdefgh12345\n")
    wrong = suite(capsys, "--env-file", ".env")
    assert (wrong.code, "sk-" in wrong.err) == (2, False)
    assert "--env-file: .env:1 is no line NAME=VALUE; mend it" in wrong.err


@pytest.mark.usefixtures("_no_report")
def test_a_run_exports_a_file_that_makes_it_again_from_the_cache(capsys: pytest.CaptureFixture[str]) -> None:
    audit("max_cost = 20\n" + COMMON + '[[models]]\nprovider = "ada"\n[[options]]\nconfidence = true\nsamples = 1\n')
    assert suite(capsys).code == 0
    (first,) = map(SavedRun, Path("runs/audit").glob("ada*"))
    exported = command(capsys, "show", str(first.folder), "--as-suite")
    assert exported.code == 0
    Path("again.toml").write_text(exported.out, "utf-8")
    assert suite(capsys, file="again.toml").code == 0
    (second,) = map(SavedRun, Path("runs/again").glob("ada*"))
    assert sum(second.account.made.values()) == 0
    assert second.findings.counts == first.findings.counts
