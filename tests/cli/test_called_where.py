"""What a user sees of where models are called: before the first call, in an estimate, and wherever the figures stand later."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

import pytest
from commandline import Ended, command, serving
from driving import draw_images

from unsaf_async.api import evaluate
from unsaf_async.runs.folder import read_manifest

SMALL = ("--images", "photos", "--questions", "1", "--no-cache", "--max-cost", "9", "--no-report", "--seed", "1")


@pytest.fixture(autouse=True)
def _photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    draw_images(tmp_path / "photos", 1)
    for name in ("OPENAI_API_KEY", "ANTHROPIC_API_KEY"):
        monkeypatch.setenv(name, "any-key")


def run(capsys: pytest.CaptureFixture[str], *options: str) -> Ended:
    ended = command(capsys, "run", *SMALL, "--out", "run", *options)
    assert ended.code == 0, ended
    return ended


def test_variables_reach_the_model_its_judge_and_its_auditor_and_are_told_before_the_first_call(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving() as simulator:
        monkeypatch.setenv("OPENAI_BASE_URL", simulator.openai_base)
        monkeypatch.setenv("ANTHROPIC_BASE_URL", simulator.url)
        ended = run(capsys, "--provider", "gpt-4o", "--judge", "claude-sonnet-4-5", "--audit", "claude-haiku-4-5")
        told = (
            f"unsaf-async: gpt-4o at {simulator.openai_base} (by OPENAI_BASE_URL); "
            f"judge claude-sonnet-4-5 at {simulator.url} (by ANTHROPIC_BASE_URL); "
            f"auditor claude-haiku-4-5 at {simulator.url} (by ANTHROPIC_BASE_URL)"
        )
    assert told in ended.err.splitlines()
    assert ended.err.index(told) < ended.err.index("images")
    assert "(local address), judge: claude-sonnet-4-5" in ended.out
    assert f"gpt-4o was called at {simulator.openai_base}: what answers there need not be the vendor's model." in (
        " ".join(ended.out.split())
    )


@pytest.mark.parametrize("quiet", [("-q",), ("-q", "--json")])
def test_without_progress_it_is_told_all_the_same(quiet: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    with serving() as simulator:
        ended = run(capsys, "--provider", "gpt-4o", "--judge", "rules", "--api-base", simulator.openai_base, *quiet)
    assert f"unsaf-async: gpt-4o at {simulator.openai_base}" in ended.err.splitlines()
    assert "images" not in ended.err


def test_a_program_finds_it_in_its_log(caplog: pytest.LogCaptureFixture) -> None:
    with serving() as simulator:
        base = simulator.openai_base
        small = evaluate(
            "gpt-4o", images=["photos"], api_base=base, judge="rules", questions=1, cache=None, max_cost=9.0
        )
        asyncio.run(small)
    assert f"gpt-4o at {simulator.openai_base}" in [record.getMessage() for record in caplog.records]


def test_a_cache_that_somebody_else_made_is_told_once(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    def said(*options: str) -> bool:
        arguments = ("run", "--images", "photos", "--provider", "scripted", "--questions", "1", "--no-report", *options)
        ended = command(capsys, *arguments)
        assert ended.code == 0, ended
        return "is not known as a cache of yours; its replies are taken for what the models said" in ended.err

    assert not said("--out", "one", "--cache", "mine")
    assert not said("--out", "two", "--cache", "mine")
    shutil.copytree("mine", "received")  # its mark is of another path
    assert said("--out", "three", "--cache", "received", "-q")
    assert not said("--out", "four", "--cache", "received")


def test_judges_and_auditors_have_addresses_of_their_own(capsys: pytest.CaptureFixture[str]) -> None:
    with serving() as one, serving() as other:
        bases = ("--api-base", one.openai_base, "--judge-api-base", other.url, "--audit-api-base", one.url)
        names = ("--provider", "gpt-4o", "--judge", "claude-sonnet-4-5", "--audit", "claude-haiku-4-5")
        ended = run(capsys, *names, *bases)
        assert f"judge claude-sonnet-4-5 at {other.url}; auditor claude-haiku-4-5 at {one.url}" in ended.err
        again = command(
            capsys,
            "audit",
            "run",
            "--provider",
            "gpt-5.4-mini",
            "--audit-api-base",
            other.openai_base,
            "-y",
            "--no-report",
        )
        assert f"auditor gpt-5.4-mini at {other.openai_base}" in again.err
        assert again.code == 0, again


def test_judges_and_auditors_are_called_at_several_addresses_each(capsys: pytest.CaptureFixture[str]) -> None:
    draw_images(Path("photos"), 3)
    with serving() as one, serving() as other:
        both = f"{one.openai_base}, {other.openai_base}"
        judged = ("--judge", "gpt-4o", "--judge-api-base", one.openai_base, "--judge-api-base", other.openai_base)
        audited = (
            "--audit",
            "gpt-5.4-mini",
            "--audit-api-base",
            one.openai_base,
            "--audit-api-base",
            other.openai_base,
        )
        ended = run(capsys, "--provider", "scripted", *judged, *audited)
        assert f"judge gpt-4o at {both}; auditor gpt-5.4-mini at {both}" in ended.err
        assert min(one.ledger.served, other.ledger.served) > 0
    manifest = read_manifest(Path("run"))
    assert {", ".join(profile.endpoints) for profile in manifest.others.values()} == {both}


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (("--judge-api-base", "http://h:1"), "--judge-api-base: is nobody's address; name a model with --judge"),
        (("--audit-api-base", "http://h:1"), "--audit-api-base: is nobody's address; name a model with --audit"),
        (("--judge", "gpt-4o", "--judge-api-base", "h:1"), "--judge-api-base is 'h:1'; give a URL"),
        (
            ("--judge", "gpt-4o", "--judge-api-base", "http://h:1", "--judge-api-base", "http://H:1/"),
            "--judge-api-base http://H:1: is given twice; give each address once",
        ),
        (
            ("--audit", "gpt-4o", "--audit-api-base", "http://h:1", "--audit-api-base", "http://h:1"),
            "--audit-api-base http://h:1: is given twice; give each address once",
        ),
        (
            ("--judge", "gpt-4o", "--judge-api-base", "http://h:1", "--audit", "gpt-4o"),
            "--audit gpt-4o: is called at http://h:1 already, and here at https://api.openai.com/v1; give one address",
        ),
    ],
)
def test_an_address_for_nobody_or_two_for_one_are_refused(
    options: tuple[str, ...], complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    ended = command(capsys, "run", *SMALL, "--provider", "gpt-5.4-mini", *options)
    assert (ended.code, ended.out) == (2, "")
    assert complaint in ended.err
    assert not Path("runs").exists()


@pytest.mark.parametrize("words", [("run", "--dry-run"), ("estimate",)])
def test_a_plan_says_where_its_models_would_be_called(
    words: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    ended = command(capsys, *words, "--images", "photos", "--provider", "gpt-5.4-mini", "--judge", "claude-sonnet-4-5")
    assert ended.code == 0
    assert ended.err.splitlines()[0] == (
        "unsaf-async: gpt-5.4-mini at https://api.openai.com/v1; judge claude-sonnet-4-5 at https://api.anthropic.com"
    )


def test_a_file_or_a_pack_in_the_working_directory_is_named_where_it_is_used(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    shipped = Path(__file__).parents[2] / "prompts" / "unsaf"
    (tmp_path / "unsaf").mkdir()
    for file in shipped.iterdir():
        if file.is_file():
            (tmp_path / "unsaf" / file.name).write_bytes(file.read_bytes())
    (tmp_path / "providers").mkdir()
    price = "price = { input_usd_per_mtok = 0, output_usd_per_mtok = 0 }\n"
    (tmp_path / "providers" / "scripted.toml").write_text(f'backend = "scripted"\nmodel = "scripted"\n{price}', "utf-8")
    ended = run(capsys, "--provider", "scripted")
    assert (
        "unsaf-async: scripted simulated in this process (providers/scripted.toml, in place of the shipped scripted)"
        in ended.err.splitlines()
    )
    assert f"unsaf-async: prompts of {tmp_path / 'unsaf'}, in place of the shipped unsaf" in ended.err.splitlines()


def test_replies_of_one_address_are_none_of_another(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    shared = ("--images", "photos", "--questions", "1", "--max-cost", "9", "--no-report", "--cache", "shared")
    with serving() as one, serving() as other:
        for out, simulator in (("a", one), ("b", other)):
            monkeypatch.setenv("OPENAI_BASE_URL", simulator.openai_base)
            assert command(capsys, "run", *shared, "--provider", "gpt-4o", "--out", out).code == 0
            assert simulator.ledger.requests > 0


def test_a_local_address_is_marked_wherever_figures_stand(capsys: pytest.CaptureFixture[str]) -> None:
    from unsaf_async.report.data import load_run
    from unsaf_async.report.page import render
    from unsaf_async.report.viewer import _Pages

    with serving() as simulator:
        run(capsys, "--provider", "gpt-4o", "--api-base", simulator.openai_base)
    assert command(capsys, "run", *SMALL, "--provider", "scripted", "--out", "other").code == 0
    assert "(local address)" in command(capsys, "show", "run").out
    compared = command(capsys, "compare", "run", "other").out
    assert "(local address)" in compared
    assert "is a simulated model" in " ".join(compared.split())
    index = _Pages(Path()).make_index()
    assert "gpt-4o (local address)" in index
    assert "scripted (simulated)" in index
    page = render([load_run(Path("run")), load_run(Path("other"))])
    assert "local address" in page
    assert "need not be the vendor" in page
