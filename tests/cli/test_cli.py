"""The command line where all is well: what each command prints where, what it leaves on disk, and its exit code."""

from __future__ import annotations

import codecs
import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from commandline import Ended, command, process, serving
from driving import draw_images

from unsaf_async.calls.ledger import read_account
from unsaf_async.cli.streams import tell
from unsaf_async.prompts import load_pack
from unsaf_async.runs.journal import read_journal
from unsaf_async.simulate.settings import Simulation

if TYPE_CHECKING:
    from collections.abc import Callable

    from unsaf_async.simulate.server import Simulator

SMALL = ("--provider", "scripted", "--images", "photos", "--questions", "2", "--out", "run")
SMALL_RUN = (*SMALL, "--no-report")
"""Drawing the report takes several times as long as the run; tests/report tests it."""


@pytest.fixture(autouse=True)
def _photos(tmp_path: Path) -> None:
    draw_images(tmp_path / "photos", 3)


def at(simulator: Simulator) -> tuple[str, ...]:
    """The options that lead to `simulator`, at its own price."""
    price = ",".join(str(float(amount)) for amount in simulator.simulation.price)
    return ("--provider", "vllm", "--api-base", simulator.openai_base, "--price", price)


def manifest(folder: str = "run") -> dict[str, Any]:
    found: dict[str, Any] = json.loads(Path(folder, "manifest.json").read_bytes())
    return found


# --- what is imported -------------------------------------------------------------------------------------------------

HEAVY = ("litellm", "numpy", "scipy", "PIL", "aiohttp", "httpx", "openai", "rich.console", "rich.table", "rich.live")


@pytest.mark.parametrize(
    "statement",
    [
        "import unsaf_async; dir(unsaf_async)",
        "from unsaf_async.cli import _run; assert _run(['--help']) == 0",
        "from unsaf_async.cli import _run; assert _run(['run', '--help']) == 0",
        "from unsaf_async.cli import _run; assert _run(['cache', '--help']) == 0",
        "from unsaf_async.cli import _run; assert _run(['run', '--questions', 'x']) == 2",
    ],
)
def test_neither_the_package_nor_a_help_text_nor_a_wrong_option_imports_what_is_heavy(statement: str) -> None:
    script = f"import sys; {statement}; print('\\nLOADED', *sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.rpartition("LOADED")[2].split())
    assert loaded.isdisjoint(HEAVY)


def test_without_a_command_the_help_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    ended = command(capsys)
    assert (ended.code, ended.err) == (0, "")
    assert all(
        name in ended.out for name in ("run", "resume", "estimate", "show", "providers", "doctor", "simulate", "cache")
    )


@pytest.mark.parametrize("group", [(), ("cache",), ("judge",), ("world",)])
def test_each_command_is_listed_with_one_whole_sentence_within_80_columns(
    group: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    listed = command(capsys, *group, "--help").out.partition("Commands:\n")[2].splitlines()
    assert listed
    assert all(re.fullmatch(r"  [a-z-]+ +[A-Z].*[^.]\.", line) and len(line) < 80 for line in listed), listed


# --- run --------------------------------------------------------------------------------------------------------------


def test_a_run_ends_with_its_score_on_stdout_and_its_folder_written(capsys: pytest.CaptureFixture[str]) -> None:
    ended = command(capsys, "run", *SMALL_RUN)
    assert ended.code == 0
    assert "UnF1" in ended.out
    assert "A simulated model was measured" in ended.out
    assert "Run folder: run" in ended.out
    assert ended.err.startswith("unsaf-async: images 3 of 3, UnF1")
    assert {"manifest.json", "images.jsonl", "journal.jsonl", "ledger.jsonl", "score.json"} <= {
        file.name for file in Path("run").iterdir()
    }


def test_json_prints_the_score_and_nothing_else_on_stdout(capsys: pytest.CaptureFixture[str]) -> None:
    ended = command(capsys, "run", *SMALL_RUN, "--json")
    assert ended.code == 0
    assert json.loads(ended.out) == json.loads(Path("run/score.json").read_bytes())


def test_json_without_a_named_folder_tells_on_stderr_which_one_was_made(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = [each for each in SMALL_RUN if each not in ("--out", "run")]
    ended = command(capsys, "run", *arguments, "--json", "--quiet")
    (made,) = Path("runs").iterdir()
    assert (ended.code, ended.err) == (0, f"unsaf-async: run folder: {made}\n")


def test_a_run_whose_last_image_makes_the_interval_narrow_enough_was_stopped_by_nothing(
    capsys: pytest.CaptureFixture[str],
) -> None:
    draw_images(Path("photos"), 20)
    Path("photos/broken.jpg").write_bytes(b"no picture")
    ended = command(capsys, "run", "--images", "photos", "--until-ci", "0.3", "--out", "run", "--json", "--no-report")
    found = json.loads(ended.out)
    assert (found["images"]["done"], found["images"]["failed"]) == (20, 1)
    assert found["unf1_ci_method"] == "logit_t"


def test_an_interval_that_stays_wider_than_was_asked_for_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    ended = command(capsys, "run", *SMALL_RUN, "--until-ci", "0.001", "--json")
    assert ended.code == 0
    found = json.loads(ended.out)
    assert found["unf1_ci_method"] == "logit_t", "the rule stopped nothing"
    (told,) = [each for each in found["warnings"] if "--until-ci" in each]
    assert told.startswith("--until-ci 0.001 is not reached with all 3 images")


def test_the_rule_s_half_width_and_the_ordinary_interval_are_told_apart(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("unsaf_async.progress.show.PLAIN_EVERY_S", 0.0)
    draw_images(Path("photos"), 22)
    ended = command(capsys, "run", "--images", "photos", "--until-ci", "0.01", "--out", "run", "--no-report")
    said = " ".join(ended.out.split())
    assert (
        "not reached with all 22 images: by the stop rule, which looks after every image, UnF1 is known to ± 0." in said
    )
    assert "the interval of UnF1 shown is the ordinary one" in said
    assert "by the stop rule, to reach ± 0.01)" in ended.err


def test_quiet_says_nothing_beside_the_score(capsys: pytest.CaptureFixture[str]) -> None:
    ended = command(capsys, "run", *SMALL_RUN, "--quiet")
    assert (ended.code, ended.err) == (0, "")
    assert "UnF1" in ended.out


def test_without_options_a_tiny_model_is_measured_on_the_shipped_scenes_in_a_folder_named_by_time_and_model(
    capsys: pytest.CaptureFixture[str],
) -> None:
    ended = command(capsys, "run", "--json")
    assert ended.code == 0
    assert json.loads(ended.out)["images"] == {"done": 60, "failed": 0, "total": 60}
    (folder,) = Path("runs").iterdir()
    assert folder.name.endswith("-tiny")


def test_the_scripted_model_is_measured_on_the_shipped_photos(capsys: pytest.CaptureFixture[str]) -> None:
    ended = command(capsys, "run", "--provider", "scripted", "--json")
    assert ended.code == 0
    assert json.loads(ended.out)["images"] == {"done": 10, "failed": 0, "total": 10}


def test_several_paths_may_follow_images_as_the_shell_expands_them(capsys: pytest.CaptureFixture[str]) -> None:
    ended = command(capsys, "run", "--images", "photos/0000.png", "photos/0002.png", "--limit", "5", "--json")
    assert ended.code == 0
    assert json.loads(ended.out)["images"]["done"] == 2


def test_limit_examines_so_many_and_the_seed_chooses_which(capsys: pytest.CaptureFixture[str]) -> None:
    chosen = set()
    for seed in map(str, range(8)):
        ended = command(capsys, "run", *SMALL[:4], "--out", seed, "--limit", "1", "--seed", seed, "--json")
        assert json.loads(ended.out)["images"] == {"done": 1, "failed": 0, "total": 1}
        chosen |= set(read_journal(Path(seed, "journal.jsonl")))
    assert len(chosen) > 1


@pytest.mark.parametrize("pack", ["unsaf/zh", "unsaf/de"])
def test_prompts_that_the_model_cannot_read_are_told_before_anything_is_sent(
    pack: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for asked in (("estimate",), ("run", "--out", "run")):
        ended = command(capsys, *asked, "--provider", "tiny", "--images", "photos", "--prompts", pack)
        assert ended.code == 2
        assert f"--prompts {pack}: a prompt has " in ended.err
        assert "tokens, and tiny-s reads 511; give prompts that are shorter, or another model" in ended.err
    assert not Path("run").exists()


def test_show_advises_no_resume_where_it_must_fail(capsys: pytest.CaptureFixture[str]) -> None:
    command(capsys, "run", "--provider", "tiny", "--images", "photos", "--limit", "1", "--out", "run", "--no-report")
    begun = json.loads(Path("run/manifest.json").read_text())
    Path("run/manifest.json").write_text(json.dumps(begun | {"images": 3}))
    assert "2 of 3 images are not done: `unsaf-async resume run` goes on" in command(capsys, "show", "run").out
    chinese = load_pack("unsaf/zh")
    edited = begun | {"images": 3, "pack": "unsaf/zh", "pack_version": chinese.version, "pack_sha256": chinese.sha256}
    Path("run/manifest.json").write_text(json.dumps(edited))
    said = command(capsys, "show", "run").out
    assert "2 of 3 images are not done: none of them can be: a prompt has 992 tokens, and tiny-s reads 511" in said


@pytest.mark.parametrize("slots", ["4", "80"])
def test_until_ci_stops_with_images_left_and_says_so(slots: str, capsys: pytest.CaptureFixture[str]) -> None:
    """However many slots there are: what is begun is finished, and paid."""
    draw_images(Path("photos"), 80)
    ended = command(capsys, "run", "--images", "photos", "--until-ci", "0.08", "--concurrency", slots, "--out", "run")
    assert ended.code == 0
    assert "narrow" in ended.err.splitlines()[-1]
    assert "every other interval is made for a number of images that is fixed beforehand" in " ".join(ended.out.split())
    assert 20 <= len(read_journal(Path("run/journal.jsonl"))) < 80
    found = json.loads(Path("run/score.json").read_text())
    assert found["unf1_ci_method"] == "fixed_width_stop"
    assert found["unf1_ci"][1] - found["unf1_ci"][0] <= 2 * 0.08
    assert [each for each in found["warnings"] if "of the run's" in each] == [
        f"{found['images']['done']} of the run's 80 images: they reach --until-ci 0.08"
    ]


def test_the_anytime_rule_takes_more_images_and_is_in_the_manifest_and_the_score(
    capsys: pytest.CaptureFixture[str],
) -> None:
    draw_images(Path("photos"), 80)
    ended = command(
        capsys, "run", "--images", "photos", "--until-ci", "0.15", "--anytime", "--out", "run", "--limit", "60"
    )
    assert ended.code == 0
    assert json.loads(Path("run/manifest.json").read_text())["anytime"] is True
    found = json.loads(Path("run/score.json").read_text())
    assert found["unf1_ci_method"] == "anytime"
    command(capsys, "resume", "run")
    assert json.loads(Path("run/score.json").read_text())["unf1_ci"] == found["unf1_ci"]


def test_anytime_without_a_width_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    ended = command(capsys, "run", *SMALL_RUN, "--anytime")
    assert ended.code == 2
    assert "--until-ci" in ended.err


def test_a_quick_interval_is_called_about_and_the_last_line_leaves_it_to_the_score(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("unsaf_async.progress.show.PLAIN_EVERY_S", 0.0)
    ended = command(capsys, "run", *SMALL_RUN)
    lines = [line for line in ended.err.splitlines() if "images" in line]
    assert any(re.search(r"images 2 of 3, .*UnF1 0\.\d+ \(about 0\.\d+ to \d\.\d+\), ", line) for line in lines)
    assert re.search(r"images 3 of 3, UnF1 0\.\d+, ", lines[-1])


def test_what_was_not_asked_for_is_told_in_a_line_without_brackets(capsys: pytest.CaptureFixture[str]) -> None:
    ended = command(capsys, "run", *SMALL_RUN, "--provider", "scripted")
    assert ended.out.startswith("scripted, judge: self\n")
    lines = ended.out.splitlines()
    assert "n/a: stated confidence, P(True): needs --confidence" in lines
    assert "n/a: self-consistency, semantic entropy: needs --samples K" in lines
    assert all(line == line.rstrip() for line in lines)


def test_a_plain_line_tells_of_each_image_that_failed(capsys: pytest.CaptureFixture[str]) -> None:
    Path("photos/broken.png").write_bytes(b"no picture")
    ended = command(capsys, "run", *SMALL_RUN)
    assert ended.code == 3
    assert "unsaf-async: broken.png: the file is text, not an image" in ended.err.splitlines()
    assert "1 of 4 images failed" in ended.err
    assert "3 of 4 done, 1 failed" in ended.out


def test_without_a_cache_a_run_keeps_its_replies_to_itself(capsys: pytest.CaptureFixture[str]) -> None:
    assert command(capsys, "run", *SMALL_RUN, "--no-cache").code == 0
    assert not Path("cache").exists()
    assert Path("run/replies/cache.db").is_file()


def test_the_cache_can_be_named_by_option_and_by_variable(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UNSAF_CACHE", "by-variable")
    assert command(capsys, "run", *SMALL_RUN).code == 0
    assert command(capsys, "run", *SMALL[:4], "--out", "other", "--cache", "by-option").code == 0
    assert Path("by-variable/cache.db").is_file()
    assert Path("by-option/cache.db").is_file()
    assert not Path("cache").exists()


def test_a_line_on_a_terminal_is_wrapped_at_words_and_whole_elsewhere(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    text = "gpt-5.4-mini at https://api.openai.com/v1/a/long/path; judge claude-sonnet-5-5 at https://api.anthropic.com"
    monkeypatch.setenv("COLUMNS", "40")
    tell(text)
    assert capsys.readouterr().err == f"unsaf-async: {text}\n"
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    tell(text)
    said = capsys.readouterr().err
    first, *others = said.splitlines()
    assert first == "unsaf-async: gpt-5.4-mini at"
    assert all(line.startswith("  ") for line in others)
    assert max(map(len, said.splitlines())) <= 2 + len("https://api.openai.com/v1/a/long/path;")
    assert said.split() == f"unsaf-async: {text}".split()


# --- plans and estimates ----------------------------------------------------------------------------------------------


def test_an_estimate_and_a_dry_run_say_the_same_and_leave_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    before = sorted(Path().rglob("*"))
    estimate = command(capsys, "estimate", *SMALL, "--provider", "gpt-5.4-mini", "--max-cost", "1")
    dry_run = command(capsys, "run", *SMALL_RUN, "--provider", "gpt-5.4-mini", "--max-cost", "1", "--dry-run")
    assert estimate.code == dry_run.code == 0
    assert estimate.out == dry_run.out
    assert "gpt-5.4-mini" in estimate.out
    assert "images     3" in estimate.out
    assert sorted(Path().rglob("*")) == before


def test_an_estimate_as_json_gives_figures_in_order_of_size(capsys: pytest.CaptureFixture[str]) -> None:
    ended = command(capsys, "estimate", *SMALL, "--provider", "gpt-5.4-mini", "--json")
    figures = json.loads(ended.out)
    assert figures["images"] == 3
    assert figures["unreadable"] == 0
    assert 0 < figures["expected_usd"] < figures["worst_usd"] == pytest.approx(3 * figures["per_image_worst_usd"])


def test_an_estimate_with_until_ci_is_of_the_images_that_its_rule_is_expected_to_take(
    capsys: pytest.CaptureFixture[str],
) -> None:
    def estimated(*arguments: str) -> dict[str, Any]:
        ended = command(capsys, "estimate", "--provider", "gpt-5.4-mini", "--json", *arguments)
        return dict(json.loads(ended.out))

    draw_images(Path("forty"), 40)
    whole = estimated("--images", "forty", "--questions", "6")
    assert (whole["until_ci_images"], whole["assumed"]) == (None, "")
    stopped = estimated("--images", "forty", "--questions", "6", "--until-ci", "0.1")
    assert 20 <= stopped["until_ci_images"] < 40
    assert stopped["expected_usd"] == pytest.approx(whole["expected_usd"] * stopped["until_ci_images"] / 40)
    assert stopped["worst_usd"] == whole["worst_usd"]
    longer = estimated("--images", "forty", "--questions", "6", "--until-ci", "0.1", "--anytime")
    assert longer["until_ci_images"] > 1.5 * stopped["until_ci_images"]
    assert longer["expected_usd"] == whole["expected_usd"]
    said = command(capsys, "estimate", "--provider", "gpt-5.4-mini", "--images", "forty", "--until-ci", "0.02").out
    assert "more than there are: all 40 will be examined; assumed: UnF1 about 0.7, 6 questions of each label" in said


def test_a_plan_names_the_price_of_each_model_that_is_called(capsys: pytest.CaptureFixture[str]) -> None:
    others = ("--judge", "claude-sonnet-5-5", "--judge", "self", "--audit", "gemini-3.5-flash-lite")
    said = command(
        capsys, "estimate", *SMALL, "--provider", "gpt-5.4-mini", *others, *("--audit", "claude-sonnet-5-5")
    ).out
    for name in ("gpt-5.4-mini", "claude-sonnet-5-5 (judge and auditor)", "gemini-3.5-flash-lite (auditor)"):
        assert re.search(rf"{re.escape(name)}: \$[\d.]+ in, \$[\d.]+ out per million tokens \(", said), name
    assert "auditor    gemini-3.5-flash-lite, claude-sonnet-5-5\n" in said


def test_an_estimate_calls_nobody_and_needs_no_key(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = (
        "--provider",
        "vllm",
        "--api-base",
        "http://127.0.0.1:9/v1",
        "--price",
        "1,2",
        "--judge",
        "gpt-5.4-mini",
    )
    ended = command(capsys, "estimate", *SMALL, *arguments)
    assert ended.code == 0
    assert "whatever it serves" in ended.out


@pytest.mark.parametrize(
    ("name", "called", "where"),
    [
        ("tiny", "tiny (tiny-s)", "in this process"),
        ("scripted", "scripted", "simulated in this process"),
        ("gpt-4o", "gpt-4o (openai/gpt-4o)", "at https://api.openai.com/v1"),
    ],
)
def test_an_estimate_says_of_what_it_is_and_where_the_model_is(
    name: str, called: str, where: str, capsys: pytest.CaptureFixture[str]
) -> None:
    ended = command(capsys, "estimate", *SMALL, "--provider", name)
    first, second, *_ = ended.out.splitlines()
    assert first.startswith(f"{called}: 3 images, ")
    assert second.split(maxsplit=1) == ["model", where]
    assert all(line == line.rstrip() for line in ended.out.splitlines())


# --- money ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("consent", [("-y",), ("--max-cost", "5")], ids=["yes", "cap"])
def test_with_a_yes_or_a_cap_a_paid_run_begins_and_its_books_agree_with_the_servers(
    capsys: pytest.CaptureFixture[str], consent: tuple[str, ...]
) -> None:
    with serving(Simulation(price=(2.5, 10))) as simulator:
        ended = command(capsys, "run", *SMALL_RUN, *at(simulator), *consent, "--json")
        assert ended.code == 0
        score = json.loads(ended.out)
        assert score["cost_usd"] == pytest.approx(float(simulator.ledger.billed_usd), abs=1e-9)
        assert score["calls"]["made"] == simulator.ledger.requests


def test_a_cap_for_some_of_the_images_stops_early_and_a_higher_one_finishes(capsys: pytest.CaptureFixture[str]) -> None:
    with serving(Simulation(price=(2.5, 10))) as simulator:
        figures = json.loads(command(capsys, "estimate", *SMALL, *at(simulator), "--json").out)
        cap = f"{1.01 * figures['per_image_worst_usd']:.6f}"
        ended = command(capsys, "run", *SMALL_RUN, *at(simulator), "--max-cost", cap, "--concurrency", "1")
        assert ended.code == 3
        assert f"--max-cost {float(cap):g}" in ended.err
        assert "resume run --max-cost USD" in ended.err
        assert float(simulator.ledger.billed_usd) <= float(cap)
        done = len(read_journal(Path("run/journal.jsonl")))
        assert 0 < done < 3
        shown = command(capsys, "show", "run")
        assert f"{3 - done} of 3 images are not done" in shown.out
        assert command(capsys, "resume", "run", "--max-cost", "5").code == 0
        assert all(entry.served == 1 for entry in simulator.ledger.entries.values())


def test_the_cost_line_says_what_of_it_is_for_attempts_of_unknown_fate(capsys: pytest.CaptureFixture[str]) -> None:
    lost = Simulation(price=(2.5, 10), faults={"disconnect_after": 0.2}, seed=2)
    with serving(lost) as simulator:
        ended = command(capsys, "run", *SMALL_RUN, *at(simulator), "--max-cost", "5")
    account = read_account(Path("run/ledger.jsonl"))
    assert account.unknown > 1
    told = f"; ${account.unknown_nano_usd / 1e9:.4f} of it for {account.unknown} attempts of unknown fate, booked at their worst"
    assert next(line for line in ended.out.splitlines() if line.startswith("Cost: ")).endswith(told)
    assert told in command(capsys, "show", "run").out


# --- judges -----------------------------------------------------------------------------------------------------------


def test_the_rules_as_judge_make_no_call(capsys: pytest.CaptureFixture[str]) -> None:
    score = json.loads(command(capsys, "run", *SMALL_RUN, "--judge", "rules", "--json").out)
    assert score["judge"] == "rules"
    assert score["calls"]["by_role"]["judge"] == 0


def test_another_provider_as_judge_gets_the_verdicts_and_nothing_else(capsys: pytest.CaptureFixture[str]) -> None:
    with serving(Simulation()) as subject, serving(Simulation()) as judge:
        Path("providers").mkdir()
        Path("providers/referee.toml").write_text(
            f'backend = "openai"\nendpoint = "{judge.openai_base}"\n'
            "[price]\ninput_usd_per_mtok = 0\noutput_usd_per_mtok = 0\n"
        )
        ended = command(
            capsys, "run", "--images", "photos", "--out", "run", *at(subject), "--judge", "referee", "--json"
        )
        assert ended.code == 0
        score = json.loads(ended.out)
        assert score["judge"] == "referee"
        assert judge.ledger.requests == score["calls"]["by_role"]["judge"] > 0
        assert not judge.ledger.images
        assert subject.ledger.requests == score["calls"]["by_role"]["ask"] + score["calls"]["by_role"]["answer"]


# --- going on, and looking back ---------------------------------------------------------------------------------------


def test_show_gives_the_runs_score_again(capsys: pytest.CaptureFixture[str]) -> None:
    ran = json.loads(command(capsys, "run", *SMALL_RUN, "--json").out)
    shown = json.loads(command(capsys, "show", "run", "--json").out)
    assert shown == ran
    assert shown["wall_s"] > 0
    assert f"UnF1 {ran['unf1']:.3f}" in command(capsys, "show", "run").out


def test_the_same_out_again_goes_on_without_paying_again_and_takes_new_limits(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with serving(Simulation(price=(1, 1))) as simulator:
        first = command(capsys, "run", *SMALL_RUN, *at(simulator), "--max-cost", "5", "--json")
        requests = simulator.ledger.requests
        again = command(capsys, "run", *SMALL_RUN, *at(simulator), "--max-cost", "6", "--concurrency", "3", "--json")
        assert first.code == again.code == 0
        assert simulator.ledger.requests == requests
        assert json.loads(again.out)["unf1"] == json.loads(first.out)["unf1"]
    assert manifest()["max_cost_usd"] == 6
    assert manifest()["subject"]["limits"]["concurrency"] == 3


def test_a_finished_run_resumes_to_the_same_score_without_a_call(capsys: pytest.CaptureFixture[str]) -> None:
    first = json.loads(command(capsys, "run", *SMALL_RUN, "--json").out)
    resumed = command(capsys, "resume", "run", "--rpm", "90", "--json")
    assert resumed.code == 0
    again = json.loads(resumed.out)
    assert (again["unf1"], again["calls"]) == (first["unf1"], first["calls"])
    assert manifest()["subject"]["limits"]["requests_per_minute"] == 90


def test_a_run_whose_cache_is_damaged_is_resumed_with_another_or_none(capsys: pytest.CaptureFixture[str]) -> None:
    first = json.loads(command(capsys, "run", *SMALL_RUN, "--json").out)
    Path("cache/cache.db").write_bytes(b"no database")
    assert command(capsys, "resume", "run", "--samples", "1").code == 2  # with nothing to ask it would not be opened
    for options in (("--cache", "other", "--samples", "1"), ("--no-cache", "--samples", "2")):
        resumed = command(capsys, "resume", "run", *options, "--json")
        assert resumed.code == 0
        assert json.loads(resumed.out)["unf1"] == first["unf1"]


def test_a_run_can_be_resumed_from_another_folder(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving(Simulation(price=(2.5, 10))) as simulator:
        planned = json.loads(command(capsys, "estimate", *SMALL, *at(simulator), "--json").out)
        cap = f"{1.001 * planned['per_image_worst_usd']:.6f}"
        assert command(capsys, "run", *SMALL_RUN, *at(simulator), "--max-cost", cap).code == 3
        (tmp_path / "elsewhere").mkdir()
        monkeypatch.chdir(tmp_path / "elsewhere")
        assert command(capsys, "resume", "../run", "--max-cost", "5").code == 0
    assert not (tmp_path / "elsewhere" / "cache").exists()


# --- providers, doctor, cache -----------------------------------------------------------------------------------------


def test_providers_lists_shipped_and_own_profiles_and_never_a_key(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret-0123456789")
    Path("providers").mkdir()
    Path("providers/mine.toml").write_text('backend = "openai"\nendpoint = "http://127.0.0.1:9/v1"\n')
    monkeypatch.setenv("COLUMNS", "80")
    table = command(capsys, "providers")
    listed = command(capsys, "providers", "--json")
    assert table.code == listed.code == 0
    assert "…" not in table.out.partition("\n\n")[0], "names and aliases are what one types"
    aliases = [alias for row in json.loads(listed.out) for alias in row["aliases"]]
    words = table.out.replace(",", " ").split()
    assert set(aliases) <= set(words), "whole at 80 columns"
    for name in ("gpt-5.4-mini", "claude-sonnet-5-5", "gemini-3.5-flash-lite", "vllm", "scripted", "mine"):
        assert any(line.split()[0] == name for line in table.out.splitlines() if line)
    assert "OPENAI_API_KEY set" in table.out
    assert "ANTHROPIC_API_KEY not set" in table.out
    rows = {row["name"]: row for row in json.loads(listed.out)}
    assert rows["gpt-5.4-mini"]["key_set"] is True
    assert rows["claude-sonnet-5-5"]["key_set"] is False
    assert rows["mine"]["price"] is None
    assert "sk-secret" not in table.out + listed.out


def test_doctor_finds_the_simulated_model_well(capsys: pytest.CaptureFixture[str]) -> None:
    ended = command(capsys, "doctor", "--provider", "scripted")
    assert (ended.code, ended.err) == (0, "")
    for what in ("answers", "image", "JSON schema", "temperature", "seed", "log-probabilities", "rate headers"):
        assert what in ended.out


def test_doctor_tells_that_another_model_answered(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-any-text")
    with serving(Simulation(substitute={"gpt-5.4": "gpt-5.4-mini"})) as simulator:
        to = ("--api-base", simulator.openai_base, "-y")
        assert "gpt-5.4 was asked, another model answered" in unbroken(
            command(capsys, "doctor", "--provider", "gpt-5.4", *to)
        )
        assert "another model" not in unbroken(command(capsys, "doctor", "--provider", "gpt-5.4-mini", *to))


def unbroken(ended: Ended) -> str:
    """What a command printed, as one line."""
    return " ".join(ended.out.split())


def test_doctor_over_a_socket_reads_the_rate_headers_and_adds_up_its_cost(capsys: pytest.CaptureFixture[str]) -> None:
    from unsaf_async.simulate.settings import ServerLimits

    with serving(Simulation(price=(2.5, 10), limits=ServerLimits(requests_per_minute=600))) as simulator:
        ended = command(capsys, "doctor", *at(simulator))
        assert (ended.code, ended.complaint) == (0, "")
        assert "600 requests/min" in ended.out
        assert f"Cost: ${float(simulator.ledger.billed_usd):.4f}" in ended.out


def test_the_cache_tells_what_it_holds_and_can_be_cleared(capsys: pytest.CaptureFixture[str]) -> None:
    made = json.loads(command(capsys, "run", *SMALL_RUN, "--json").out)["calls"]["made"]
    info = command(capsys, "cache", "info")
    assert info.code == 0
    assert f"cache: {made} replies" in info.out
    assert "scripted" in info.out
    cleared = command(capsys, "cache", "clear", "--yes")
    assert (cleared.code, cleared.out) == (0, f"cache: {made} replies dropped\n")
    assert "cache: 0 replies" in command(capsys, "cache", "info").out


def test_cache_explain_says_hit_and_what_differs_in_a_miss(capsys: pytest.CaptureFixture[str]) -> None:
    command(capsys, "run", *SMALL_RUN)
    hit = command(capsys, "cache", "explain", *SMALL[:-2], "--limit", "3")
    assert hit.code == 0
    assert [line.split(": ", 2)[2].split(" ")[0] for line in hit.out.splitlines()] == ["hit"] * 6
    miss = command(capsys, "cache", "explain", *SMALL[:4], "--questions", "3")
    assert "miss" in miss.out
    assert miss.out.splitlines()[-1] == "1 of 3 images; --limit N looks at more"
    assert "the prompt's wording" in miss.out


# --- processes: signals, pipes, terminals -----------------------------------------------------------------------------


def start(*arguments: str, **pipes: Any) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-m", "unsaf_async", *arguments], text=True, **pipes)


def until(holds: Callable[[], object], running: subprocess.Popen[str], within_s: float = 20.0) -> None:
    ends = time.monotonic() + within_s
    while not holds():
        assert running.poll() is None, "the process ended too early"
        assert time.monotonic() < ends, "waited in vain"
        time.sleep(0.02)


def test_ctrl_c_lets_calls_under_way_finish_and_resume_asks_for_none_of_them_again() -> None:
    draw_images(Path("photos"), 24)  # work for 20 s, so that the second process finds the first one at it
    with serving(Simulation(price=(2.5, 10), latency=0.2)) as simulator:
        arguments = ("run", *SMALL_RUN, *at(simulator), "--max-cost", "5", "--concurrency", "2")
        running = start(*arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        until(lambda: simulator.ledger.served >= 12, running)
        busy = process("resume", "run")
        running.send_signal(signal.SIGINT)
        _, err = running.communicate(timeout=20)
        assert running.returncode == 130
        assert "waiting for the calls under way" in err
        assert err.splitlines()[-1].startswith("unsaf-async: interrupted; `unsaf-async resume run` goes on")
        assert busy.code == 2
        assert "another process" in busy.err
        account = read_account(Path("run/ledger.jsonl"))
        assert account.unknown == 0
        assert account.cost_usd == pytest.approx(float(simulator.ledger.billed_usd), abs=1e-9)
        assert len(read_journal(Path("run/journal.jsonl"))) < 24
        resumed = process("resume", "run", "--concurrency", "32", "--json")
        assert resumed.code == 0
        assert json.loads(resumed.out)["images"] == {"done": 24, "failed": 0, "total": 24}
        assert all(entry.served == 1 for entry in simulator.ledger.entries.values())


def test_a_second_ctrl_c_ends_at_once() -> None:
    with serving(Simulation(latency=30.0)) as simulator:
        running = start("run", *SMALL_RUN, *at(simulator), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        until(lambda: simulator.ledger.in_flight, running)
        running.send_signal(signal.SIGINT)
        assert running.stderr is not None
        assert f"vllm at {simulator.openai_base}" in running.stderr.readline()
        assert "again to stop now" in running.stderr.readline()
        running.send_signal(signal.SIGINT)
        _, err = running.communicate(timeout=10)
        assert running.returncode == 130
        assert err == "unsaf-async: interrupted; `unsaf-async resume run` goes on; what is finished is kept\n"


def test_a_reader_that_leaves_is_no_failure() -> None:
    running = start("providers", stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert running.stdout is not None
    running.stdout.close()
    assert running.stderr is not None
    told = running.stderr.read().splitlines()
    assert [
        line for line in told if " ends it on " not in line and " ended it on " not in line and "price end" not in line
    ] == []
    assert running.wait(20) == 0
    running.stderr.close()


def test_the_simulator_serves_until_it_is_interrupted() -> None:
    import urllib.request

    running = start("simulate", "--port", "0", "--latency", "0.01", stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert running.stdout is not None
    url = running.stdout.readline().split()[2]
    with urllib.request.urlopen(f"{url}/health", timeout=10) as answer:
        assert json.loads(answer.read())["status"] == "ok"
    running.send_signal(signal.SIGINT)
    out, err = running.communicate(timeout=10)
    assert (running.returncode, err) == (0, "")
    assert out.endswith("ended\n")


class Terminal:
    """A command on a pseudo-terminal of 80 columns, as a person sees it."""

    def __init__(self, *arguments: str) -> None:
        self._screen, inside = pty.openpty()
        self._characters = codecs.getincrementaldecoder("utf-8")()  # what is read may end within one
        self.text = ""
        environment = {**os.environ, "TERM": "xterm", "COLUMNS": "80", "LINES": "30"}
        self._running = start(*arguments, stdin=inside, stdout=inside, stderr=inside, env=environment)
        os.close(inside)

    def _read(self, ends: float) -> bool:
        """Take in what is new on the screen; False if nothing comes before `ends` (monotonic), or ever again."""
        if not select.select([self._screen], [], [], max(0.0, ends - time.monotonic()))[0]:
            return False
        try:
            data = os.read(self._screen, 65536)
        except OSError:  # Linux: nobody has the other side open any more
            return False
        self.text += self._characters.decode(data)
        return bool(data)

    def shows(self, words: str, within_s: float = 60.0) -> bool:
        """Whether `words` come on the screen; reads on until they do."""
        ends = time.monotonic() + within_s
        while words not in self.text:
            if not self._read(ends):
                return False
        return True

    def read_until(self, words: str) -> None:
        """Read on until `words` are on the screen."""
        assert self.shows(words), self.text

    def type(self, text: str) -> None:
        os.write(self._screen, text.encode())

    def interrupt_until(self, words: str) -> None:
        """Press Ctrl-C until `words` are on the screen: readline misses one that comes just before it waits.

        Not again before it is likely missed: a command that is ending would be interrupted in that.
        """
        for _ in range(5):
            self._running.send_signal(signal.SIGINT)
            if self.shows(words, 10.0):
                return
        raise AssertionError(self.text)

    def end(self) -> int:
        """Read to the end; the exit code."""
        ends = time.monotonic() + 60.0
        while self._read(ends):
            pass
        os.close(self._screen)
        return self._running.wait(60)


def test_a_terminal_is_asked_before_more_than_a_dollar_and_no_means_no() -> None:
    with serving(Simulation(price=(250, 1000))) as simulator:
        terminal = Terminal("run", *SMALL_RUN, *at(simulator))
        terminal.read_until("Begin? [y/N]:")
        terminal.type("n\n")
        assert terminal.end() == 130
        assert "expected" in terminal.text
        assert "not started" in terminal.text
        assert simulator.ledger.requests == 0
    assert not Path("run").exists()


def test_ctrl_c_at_the_question_is_a_no() -> None:
    with serving(Simulation(price=(250, 1000))) as simulator:
        terminal = Terminal("run", *SMALL_RUN, *at(simulator))
        terminal.read_until("Begin? [y/N]:")
        terminal.interrupt_until("not started")
        assert terminal.end() == 130
        assert terminal.text.endswith("\r\nunsaf-async: not started\r\n")
        assert simulator.ledger.requests == 0


def test_after_a_yes_the_terminal_shows_the_run_live_within_its_columns() -> None:
    Path("photos/[bold]broken[bold].png").write_bytes(b"no picture")
    with serving(Simulation(price=(250, 1000), latency=0.4)) as simulator:
        terminal = Terminal("run", *SMALL_RUN, *at(simulator), "--rpm", "3000")
        terminal.read_until("Begin? [y/N]:")
        terminal.type("y\n")
        assert terminal.end() == 3
        assert simulator.ledger.served > 0
    for words in ("in flight; ", " slots, ", "of 3,000 requests/min", " spent, ", "UnF1", "\r\nRun folder: run\r\n"):
        assert words in terminal.text
    assert "[bold]broken[bold].png: the file is text, not an image\r\n" in terminal.text
    assert "4 of 4, 1 failed; done" in terminal.text  # the last picture; which others are drawn depends on the time


def test_a_run_that_spawns_its_server_needs_no_address_in_its_profile(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "providers").mkdir()
    free = "price = { input_usd_per_mtok = 0, output_usd_per_mtok = 0 }\n"
    (tmp_path / "providers" / "local.toml").write_text(f'backend = "openai"\n{free}', "utf-8")
    assert command(capsys, "run", "--provider", "local", "--spawn", "tiny-s", "--dry-run").code == 0
    assert command(capsys, "run", "--provider", "local", "--dry-run").code == 2


def test_what_is_advised_where_a_model_refuses_all_requests_is_a_command_that_runs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with serving(Simulation(stream_only=True)) as simulator:
        here = ("--model", "simulated", "--api-base", simulator.openai_base)
        what = (
            "--images",
            *map(str, draw_images(tmp_path / "images", 1)),
            "--questions",
            "1",
            "--out",
            str(tmp_path / "run"),
        )
        refused = command(capsys, "run", "--provider", "vllm", *here, *what, "--no-cache", "--no-report")
        advised = re.search(r"`unsaf-async (doctor [^`]*)`, with --model and --api-base as here, shows", refused.err)
        assert advised
        probed = command(capsys, *advised[1].split(), *here)
    assert "Got unexpected" not in probed.err
    assert "stream" in probed.out + probed.err


def test_an_estimate_says_first_what_it_is_of_and_a_free_run_is_called_free(
    capsys: pytest.CaptureFixture[str],
) -> None:
    draw_images(Path("two"), 2)
    free = command(capsys, "estimate", "--provider", "scripted", "--images", "two", "--questions", "3").out
    paid = command(
        capsys, "estimate", "--provider", "gpt-5.4-mini", "--images", "two", "--questions", "4", "--price", "2.5,10"
    ).out
    assert free.startswith("scripted: 2 images, 3 + 3 questions each\n")
    assert paid.startswith("gpt-5.4-mini (openai/gpt-5.4-mini): 2 images, 4 + 4 questions each\n")
    assert "expected  free: no model of this run has a price" in free
    assert "$0.0000" not in free
    assert "free" not in paid
