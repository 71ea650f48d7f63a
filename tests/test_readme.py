"""The documentation is true: its commands and examples run, its generated parts are fresh, its figures are the code's.

Commands run as they stand, in a folder that looks like a user's. Only addresses are changed: $UNSAF_PROVIDERS holds the shipped
profiles with the simulator for an endpoint, and the addresses that a page names itself are exchanged for the simulator's.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from PIL import Image

from unsaf_async.cli import main
from unsaf_async.providers.profile import ImageRules, Profile
from unsaf_async.records import KINDS
from unsaf_async.runs import quote as plan
from unsaf_async.runs import stopping
from unsaf_async.score import run_score as score

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import ModuleType

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning:litellm"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning:aiohttp"),
    pytest.mark.filterwarnings("ignore::UserWarning:pydantic"),
]

ROOT = Path(__file__).parents[1]
PAGES = [
    "README.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
    "RELEASING.md",
    "prompts/README.md",
    "docs/method.md",
    "docs/python.md",
    "docs/score.md",
    "docs/world.md",
    "docs/inputs.md",
    "docs/integrations.md",
    "docs/local-models.md",
    "docs/tiny.md",
    "docs/validity.md",
    "docs/intervals.md",
    "docs/datasets.md",
    "docs/languages.md",
    "docs/guide.md",
    "docs/tutorial.md",
    "docs/client-audit.md",
    "docs/gateway.md",
    "docs/gallery.md",
    "docs/power.md",
    "docs/cheaper.md",
    "docs/batches.md",
    "docs/prompt-caching.md",
    "docs/compared.md",
    "docs/extras.md",
    "docs/before-and-after.md",
    "docs/scale.md",
    "docs/suite.md",
    "docs/serving.md",
    "docs/simulator.md",
    "docs/training.md",
    "docs/distillation.md",
    "docs/distilled.md",
    "docs/distil-a-7b.md",
    "docs/rounds.md",
    "docs/cli.md",
]
SHOWN_ONLY = {"text"}
"""Languages of fenced blocks that are there to be read."""
REHEARSAL = "http://127.0.0.1:8787"
LOCAL_SERVER = "http://localhost:8000/v1"
GATEWAY = "https://gateway.example.com/v1"
"""The addresses that pages name themselves."""
BASES = {"openai": "/v1", "anthropic": "", "gemini": "/v1beta"}
"""Where the simulator serves each vendor's format."""


@contextmanager
def simulating(*options: str) -> Iterator[str]:
    """The address of `unsaf-async simulate`, run as a user runs it."""
    command = [sys.executable, "-m", "unsaf_async", "simulate", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            found = re.match(r"listening on (http://\S+)", process.stdout.readline())
            assert found, "the simulator did not start"
            yield found[1]
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(10)


@pytest.fixture(scope="module")
def simulator() -> Iterator[str]:
    with simulating("--port", "0", "--latency", "0", "--any-model") as url:
        yield url


class User:
    """Somebody who follows a page: a folder with photos, a shell's variables, and whatever earlier steps left behind."""

    def __init__(self, folder: Path, simulator: str, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self.addresses = {LOCAL_SERVER: f"{simulator}/v1", GATEWAY: f"{simulator}/v1"}
        self.servers: list[Any] = []
        self.ran: list[str] = []
        self._monkeypatch = monkeypatch
        monkeypatch.chdir(folder)
        monkeypatch.setenv("COLUMNS", "100")
        draw_photos(folder / "photos")
        shutil.copytree(ROOT / "prompts", folder / "prompts")
        (folder / "docs").mkdir()
        shutil.copy(ROOT / "docs" / "labelled-responses.jsonl", folder / "docs")
        for vendor, path in BASES.items():
            text = (ROOT / "providers" / f"{vendor}.toml").read_text("utf-8")
            file = folder / "elsewhere" / f"{vendor}.toml"
            file.parent.mkdir(exist_ok=True)
            file.write_text(f'endpoint = "{simulator}{path}"\n{text}', "utf-8")
        monkeypatch.setenv("UNSAF_PROVIDERS", str(folder / "elsewhere"))
        for vendor in ("OPENAI", "ANTHROPIC", "GEMINI"):
            monkeypatch.setenv(f"{vendor}_API_KEY", "your-key")

    def follow(self, language: str, block: str) -> None:
        """Do what one fenced block says."""
        match language:
            case "sh":
                for line in block.replace("\\\n", " ").splitlines():
                    if words := shlex.split(line, comments=True):
                        self.type(words)
            case "python":
                exec(compile(block, "example", "exec"), {"__name__": "__main__"})
            case "yaml":
                self.work_through(block)
            case "toml":
                name = re.match(r"# (\S+\.toml)\n", block)
                assert name, "the first line of a file must name it"
                file = self.folder / name[1]
                file.parent.mkdir(exist_ok=True)
                file.write_text(self.exchanged(block), "utf-8")
            case _:
                assert language in SHOWN_ONLY, f"nobody knows what to do with {language!r}"

    def type(self, words: list[str]) -> None:
        """Enter one command."""
        match words:
            case ["unsaf-async", "simulate", *options]:
                assert options[:2] == ["--port", REHEARSAL.rpartition(":")[2]]
                server = simulating("--port", "0", *options[2:])
                self.addresses[REHEARSAL] = server.__enter__()
                self.servers.append(server)
            case ["unsaf-async", *arguments]:
                arguments = [self.exchanged(argument) for argument in arguments]
                if arguments[0] == "run":
                    assert unsaf_async(*arguments, "--dry-run") == 0, shlex.join(words)
                assert unsaf_async(*arguments) == 0, shlex.join(words)
                self.ran.append(arguments[0])
            case ["export", assignment]:
                self._monkeypatch.setenv(*assignment.split("=", 1))
            case ["cp", "-r", *_]:
                subprocess.run(words, check=True)
            case ["make", target]:
                self.make(target)
            case [".", ".venv/bin/activate"]:
                assert "-m venv .venv" in (ROOT / "Makefile").read_text("utf-8")
            case ["python", "-m", "pip", "install", "--constraint", "constraints.txt", "."]:
                pass  # test_packaging.py installs the wheel that this builds
            case _:
                raise AssertionError(f"nobody knows how to run {shlex.join(words)!r}")

    def work_through(self, workflow: str) -> None:
        """Read a workflow of GitHub's, and run its steps as they stand, but for the installation; `gh` keeps what it is given."""
        yaml = pytest.importorskip("yaml")
        jobs = yaml.safe_load(workflow)["jobs"].values()
        self._monkeypatch.setenv("GITHUB_STEP_SUMMARY", "summary.md")
        programs = self.folder / "programs"
        programs.mkdir()
        (programs / "gh").write_text('#!/bin/sh\necho "$@" > gh.txt\nfor last; do :; done\ncat "$last" > gh-body.txt\n')
        (programs / "gh").chmod(0o755)
        steps = [step for job in jobs for step in job["steps"] if "run" in step]
        own = [step for step in steps if "\nunsaf-async " in step["run"]]
        assert own, "the workflow uses this program"
        for step in own:  # without it, as in a pull request from a fork
            fork = {"PATH": "/usr/bin:/bin", "GITHUB_EVENT_NAME": "pull_request", "GITHUB_STEP_SUMMARY": "fork.md"}
            subprocess.run(["bash", "-e", "-c", step["run"]], env=fork | dict.fromkeys(step["env"], ""), check=True)
            assert "gets no secrets" in (self.folder / "fork.md").read_text()
        for step in steps:
            if step in own:
                command = step["run"].strip().splitlines()[-1]
                self.type(shlex.split(os.path.expandvars(command), comments=True))
            elif not step["run"].startswith("pip install "):
                given = dict.fromkeys(step.get("env", {}), "7")
                there = os.environ | given | {"PATH": f"{programs}{os.pathsep}{os.environ['PATH']}"}
                subprocess.run(["bash", "-e", "-c", step["run"]], env=there, check=True)
        said = (self.folder / "gh-body.txt").read_text("utf-8")
        assert (self.folder / "gh.txt").read_text().startswith("pr comment 7 --edit-last --create-if-none --body-file ")
        assert said == (self.folder / "summary.md").read_text("utf-8")
        assert "● UnF1   ━ 95 % interval   ┃ what is asked: 0\n```" in said
        for job in jobs:
            for step in job["steps"]:
                assert ("run" in step) != ("uses" in step)
                if "upload-artifact" in step.get("uses", ""):
                    assert all(map(Path.exists, map(Path, step["with"]["path"].split()))), "what it keeps is there"

    def make(self, target: str) -> None:
        """See that `target` is there; of `demo`, do what it does once everything is installed."""
        # `make test` runs this test: the inner make must not take itself for a part of the outer one.
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
        done = subprocess.run(
            ["make", "-n", target], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
        )
        last = shlex.split(re.sub(r"^(\w+=\S+ )+", "", done.stdout.splitlines()[-1]))
        assert Path(last[0]).parts[:2] == (".venv", "bin")
        if target == "demo":
            self.type(["unsaf-async", *last[1:]])

    def exchanged(self, text: str) -> str:
        """`text` with the simulator's addresses."""
        for named, served in self.addresses.items():
            text = text.replace(named, served)
        return text

    def leave(self) -> None:
        """Stop the servers that were started."""
        for server in self.servers:
            server.__exit__(None, None, None)


def draw_photos(folder: Path) -> None:
    folder.mkdir()
    for index in range(3):
        Image.new("RGB", (120, 90), (60 * index, 90, 90)).save(folder / f"{index}.jpg")


def unsaf_async(*arguments: str) -> int:
    """The exit code of `unsaf-async ARGUMENTS`."""
    with pytest.raises(SystemExit) as exit_:
        main(list(arguments))
    assert isinstance(exit_.value.code, int)
    return exit_.value.code


def blocks(page: str) -> list[tuple[str, str]]:
    """(language, text) of each fenced block of a page, in order."""
    return re.findall(r"^```(\w*)\n(.*?)^```$", (ROOT / page).read_text("utf-8"), re.MULTILINE | re.DOTALL)


# --- commands and examples ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("page", PAGES)
def test_every_command_and_example_of_a_page_works(
    page: str, tmp_path: Path, simulator: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    user = User(tmp_path, simulator, monkeypatch)
    try:
        for language, block in blocks(page):
            user.follow(language, block)
    finally:
        user.leave()
    if page == "README.md":
        missing = {"run", "resume", "estimate", "show", "doctor", "cache"} - set(user.ran)
        assert not missing, "the README shows every command"


@pytest.mark.parametrize("page", PAGES)
def test_what_needs_no_key_needs_no_folder_that_a_checkout_lacks(page: str) -> None:
    text = "\n".join(block.replace("\\\n", " ") for _, block in blocks(page))
    for line in re.findall(r"^.*(?:--provider (?:scripted|tiny)|\"scripted\").*$", text, re.MULTILINE):
        assert not re.search(r"(?<!images/)photos/", line), line


def test_no_page_is_left_out() -> None:
    pages = {str(file.relative_to(ROOT)) for file in [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]}
    assert pages - {"CHANGELOG.md"} <= set(PAGES)


@pytest.mark.parametrize(
    "page",
    [*PAGES, "CHANGELOG.md", "providers/README.md", "benchmarks/README.md", "cache/README.md", "images/CREDITS.md"],
)
def test_every_link_to_a_file_of_ours_leads_somewhere(page: str) -> None:
    file = ROOT / page
    for target in re.findall(r"\]\((?!https?://)([^)\s]+)\)", file.read_text("utf-8")):
        path, _, heading = target.partition("#")
        linked = (file.parent / path).resolve() if path else file
        assert linked.exists(), f"{page}: {target}"
        headings = re.findall(r"^#+ (.+)$", linked.read_text("utf-8"), re.MULTILINE) if heading else []
        anchors = [re.sub(r"[^\w\s-]", "", title.lower()).replace(" ", "-") for title in headings]
        assert not heading or heading in anchors, f"{page}: {target}"


@pytest.mark.parametrize("page", [*PAGES, "CHANGELOG.md", "providers/README.md", "benchmarks/README.md"])
def test_prose_keeps_to_120_columns(page: str) -> None:
    text = (ROOT / page).read_text("utf-8")
    text = re.sub(r"^```.*?^```$|^<!-- generated: .*?^<!-- end: ", "", text, flags=re.MULTILINE | re.DOTALL)
    assert [line for line in text.splitlines() if len(line) > 120 and not line.startswith("|")] == []


# --- exit codes ---------------------------------------------------------------------------------------------------


def test_a_mistake_exits_with_2_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert unsaf_async("run", "--provider", "gpt-4p") == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_a_reached_cap_exits_with_3_and_says_how_to_go_on(
    tmp_path: Path, simulator: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    User(tmp_path, simulator, monkeypatch)
    options = ("--provider", "gpt-5.4-mini", "--images", "photos/", "--out", "runs/mine", "--quiet")
    assert unsaf_async("run", *options, "--max-cost", "0.001") == 2
    below = re.search(r"one image can cost \$([\d.]+) at worst", capsys.readouterr().err)
    assert below
    assert unsaf_async("run", *options, "--max-cost", str(1.01 * float(below[1]))) == 3
    assert "raise --max-cost to go on: `unsaf-async resume runs/mine --max-cost USD`;" in capsys.readouterr().err
    assert unsaf_async("resume", "runs/mine", "--max-cost", "5", "--quiet") == 0


def test_ctrl_c_exits_with_130_and_what_is_finished_is_not_made_again(tmp_path: Path) -> None:
    (tmp_path / "providers").mkdir()
    slow = (
        (ROOT / "providers" / "scripted.toml").read_text("utf-8").replace("extra = {}", "extra = { latency_s = 0.1 }")
    )
    (tmp_path / "providers" / "slow.toml").write_text(slow, "utf-8")
    options = ("run", "--provider", "slow", "--limit", "6", "--questions", "2", "--concurrency", "4")
    command = [sys.executable, "-m", "unsaf_async", *options, "--out", "mine"]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as run:
        ledger = tmp_path / "mine" / "ledger.jsonl"
        deadline = time.monotonic() + 30
        while not (ledger.is_file() and ledger.read_bytes().count(b"\n") > 10):
            assert time.monotonic() < deadline, "the run never began"
            time.sleep(0.05)
        run.send_signal(signal.SIGINT)
        _, said = run.communicate(timeout=30)
    assert run.returncode == 130
    assert "`unsaf-async resume mine` goes on" in said
    assert unsaf_async("resume", "mine", "--quiet") == 0
    result = json.loads((tmp_path / "mine" / "score.json").read_bytes())
    assert result["images"]["done"] == 6
    assert unsaf_async(*options, "--out", "whole", "--no-cache", "--quiet") == 0
    whole = json.loads((tmp_path / "whole" / "score.json").read_bytes())
    assert result["calls"]["by_role"] == whole["calls"]["by_role"], "no call was made twice"


# --- what the code tells by itself --------------------------------------------------------------------------------


def generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate", ROOT / "docs" / "generate.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def other_versions() -> list[str]:
    pinned = dict(re.findall(r"^(\S+)==(\S+)$", (ROOT / "constraints.txt").read_text("utf-8"), re.MULTILINE))
    shaping = ("click", "litellm", "numpy", "pydantic", "rich", "typer")
    return [f"{name} {version(name)}" for name in shaping if version(name) != pinned[name]]


@pytest.mark.skipif(bool(other_versions()), reason=f"generated with constraints.txt; here are {other_versions()}")
def test_the_generated_parts_are_fresh(capsys: pytest.CaptureFixture[str]) -> None:
    assert generator().main(["--check"]) == 0, capsys.readouterr().err


def test_every_command_and_option_has_help_and_stands_in_the_docs() -> None:
    from typer.main import get_command

    page = (ROOT / "docs" / "cli.md").read_text("utf-8")
    commands = generator().commands()
    assert ["cache", "explain"] in commands
    for words in commands:
        assert f"## `{' '.join(['unsaf-async', *words])}`" in page
        command: Any = get_command(importlib.import_module("unsaf_async.cli").app)
        for word in words:
            command = command.commands[word]
        assert command.help, words
        for parameter in command.params:
            assert getattr(parameter, "help", None), f"{words}: {parameter.name}"


def test_a_run_writes_what_the_published_schemas_say(tmp_path: Path) -> None:
    jsonschema = pytest.importorskip("jsonschema")
    assert unsaf_async("run", "--provider", "scripted", "--out", "run", "--limit", "3", "--quiet") == 0
    written = {
        "score": [(tmp_path / "run" / "score.json").read_bytes()],
        "manifest": [(tmp_path / "run" / "manifest.json").read_bytes()],
        "examination": (tmp_path / "run" / "journal.jsonl").read_bytes().splitlines(),
    }
    for name, texts in written.items():
        schema = json.loads((ROOT / "docs" / "schema" / f"{name}.json").read_bytes())
        jsonschema.Draft202012Validator.check_schema(schema)
        for text in texts:
            jsonschema.validate(json.loads(text), schema)


def test_the_files_of_a_run_are_those_that_the_docs_name(tmp_path: Path) -> None:
    assert unsaf_async("run", "--provider", "scripted", "--out", "run", "--limit", "1", "--no-cache", "--quiet") == 0
    table = (ROOT / "docs" / "score.md").read_text("utf-8").partition("## A run's folder")[2]
    named = set(re.findall(r"^\| `([\w.]+)/?` \|", table, re.MULTILINE))
    assert {file.name for file in (tmp_path / "run").iterdir()} == named


def test_the_figures_in_the_docs_are_the_codes() -> None:
    method = " ".join((ROOT / "docs" / "method.md").read_text("utf-8").split())
    guide = " ".join((ROOT / "docs" / "guide.md").read_text("utf-8").split())
    output = plan.EXPECTED_OUTPUT
    rule = stopping.StopWhenNarrow(0.1, rule="fixed-width")
    side_px = {Profile(name="any", backend="openai").image.max_side_px, ImageRules().max_side_px}
    assert side_px == {1024}
    claims = {
        f"{output['ask']} output tokens a question, {output['answer']} an answer, {output['judge']} a verdict": method,
        f"and {plan.EXPECTED_JUDGED_SHARE * 10:.0f} of 10 responses left to the judge": method,
        f"{output['ask']} tokens for a question, {output['answer']} for an answer": guide,
        f"the rules decide {10 - plan.EXPECTED_JUDGED_SHARE * 10:.0f} of 10": guide,
        f"more than {score.MALFORMED_LIMIT:.0%} of the written items".replace("%", " %"): method,
        f"more than {score.MALFORMED_LIMIT:.0%} of what the model wrote".replace("%", " %"): guide,
        f"above {score.UNSCORED_LIMIT:.0%} of the responses".replace("%", " %"): method,
        f"Below {score.FEW_IMAGES} images": method,
        f"stop at the first n >= {rule._minimum_images}": method,
        f"after {rule._minimum_images} images at least": guide,
        ", ".join(f"`{kind}`" for kind in KINDS[:-1]) + f" or `{KINDS[-1]}`": method,
    }
    for claim, page in claims.items():
        assert claim in page, claim
    assert plan.EXPECTED_REASONING_SHARE == 0.25, "method.md says a quarter"
    assert score.OBTAINED_LIMIT == 0.5, "both pages say half"
