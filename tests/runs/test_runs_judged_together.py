"""Runs whose judge is asked about several responses in one call: same verdicts, fewer calls, each booked once; kills and caps."""

from __future__ import annotations

import asyncio
import random
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from commandline import command
from driving import KEY, PRICE, Outcome, draw_images, drive, drive_at
from truths import measured, resumed, scripted_model

from unsaf_async.calls.batches.batches import Waits
from unsaf_async.calls.ledger import read_account
from unsaf_async.compare.settings_diff import differences_in_setting
from unsaf_async.errors import UserError
from unsaf_async.runs.estimate import estimate
from unsaf_async.runs.folder import read_manifest
from unsaf_async.runs.prepare import prepare
from unsaf_async.runs.saved import SavedRun, pack_of
from unsaf_async.runs.settings import Settings
from unsaf_async.runs.suite import as_suite
from unsaf_async.simulate.model import Awareness
from unsaf_async.simulate.server import Simulator
from unsaf_async.simulate.settings import BatchRules, Simulation

if TYPE_CHECKING:
    from pathlib import Path

    from unsaf_async.records import Examination

OPEN = Awareness(hedge=1.0, abstain_unanswerable=0.2)
"""A model of whose responses the rules leave a third open."""
QUICK = Waits(quiet_s=0.15, first_look_s=0.03, longest_look_s=0.1, again_s=0.05, longest_again_s=0.2)
SAME = {"counts", "unf1", "unf1_ci", "unf1_bounds", "unscored", "by_kind", "images", "questions"}


@pytest.fixture(autouse=True)
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI", "ANTHROPIC", "GEMINI"):
        monkeypatch.setenv(f"{name}_API_KEY", KEY)


def acts(outcome: Outcome) -> list[list[tuple[str, str | None, str | None]]]:
    images = sorted(outcome.examinations, key=lambda each: each.image.id)
    return [[(question.text, question.act, question.decided_by) for question in each.questions] for each in images]


def paid_usd(examinations: list[Examination]) -> float:
    """What the journal's calls cost, by their own records."""
    return sum(call.cost_usd for each in examinations for call in each.calls if not call.cached)


@pytest.mark.parametrize("vendor", ["openai", "anthropic", "gemini"])
async def test_each_verdict_is_the_same_for_fewer_calls_and_each_call_is_booked_once(
    tmp_path: Path, vendor: str
) -> None:
    simulation = Simulation(awareness=OPEN, price=PRICE, latency=0.0)
    alone = await drive(simulation, vendor, tmp_path / "alone", images=4, questions=5)
    together = await drive(simulation, vendor, tmp_path / "together", images=4, questions=5, judge_together=50)
    assert acts(together) == acts(alone)
    assert together.score.model_dump(include=SAME) == alone.score.model_dump(include=SAME)
    assert together.runner.folder.manifest.judge_together == 50
    counts = together.score.judged_together  # type: ignore[attr-defined]
    left = [sum(each.decided_by == "judge" for each in image.questions) for image in alone.examinations]
    assert (counts.calls, counts.asked_alone) == (sum(each > 1 for each in left), 0)
    assert counts.responses == sum(each for each in left if each > 1) > 6
    made = together.score.calls
    assert made is not None
    assert made.by_role["judge"] == sum(map(bool, left)) < sum(left)
    assert together.ledger.requests == made.made
    assert sum(len(each.calls) for each in together.examinations) == made.made
    assert float(together.ledger.billed_usd) < float(alone.ledger.billed_usd)
    assert paid_usd(together.examinations) == pytest.approx(together.score.cost_usd, abs=1e-7)
    assert together.score.cost_usd == pytest.approx(float(together.ledger.billed_usd), abs=1e-7)


async def test_verdicts_that_a_judge_skips_are_asked_for_alone_and_counted(tmp_path: Path) -> None:
    skipping = Simulation(awareness=replace(OPEN, skip_verdict=0.4), price=PRICE, latency=0.0)
    alone = await drive(skipping, "openai", tmp_path / "alone", images=4, questions=5)
    together = await drive(skipping, "openai", tmp_path / "together", images=4, questions=5, judge_together=50)
    assert acts(together) == acts(alone)
    counts = together.score.judged_together  # type: ignore[attr-defined]
    assert 0 < counts.asked_alone < counts.responses
    judged = [
        question for each in together.examinations for question in each.questions if question.decided_by == "judge"
    ]
    lone = len(judged) - counts.responses  # the only one of its image that is left open
    assert sum(question.judge is not None for question in judged) == counts.asked_alone + lone
    assert together.score.calls is not None
    assert together.score.calls.by_role["judge"] == counts.calls + counts.asked_alone + lone


@pytest.mark.parametrize("vendor", ["openai", "anthropic", "gemini"])
async def test_calls_about_several_go_in_batches_too(tmp_path: Path, vendor: str) -> None:
    simulation = Simulation(
        awareness=OPEN, price=PRICE, batches=BatchRules(validate_s=0, work_s=0.02, finalize_s=0), latency=0.0
    )
    options = {"images": 3, "questions": 4, "judge_together": 50}
    async with Simulator(simulation) as simulator:
        alone = await drive_at(simulator, vendor, tmp_path / "alone", **options)
        simulator.ledger.reset()
        batched = await drive_at(simulator, vendor, tmp_path / "batched", batch=True, waits=QUICK, **options)
        assert acts(batched) == acts(alone)
        assert batched.score.judged_together == alone.score.judged_together  # type: ignore[attr-defined]
        assert not simulator.ledger.repeated()
        spent = read_account(batched.runner.folder.files.ledger).cost_usd
        assert spent == pytest.approx(float(simulator.ledger.billed_usd), abs=1e-7)
        assert sum(len(batch.rows) for batch in simulator.ledger.batches.values()) > 0


def test_a_panel_votes_on_calls_about_several_and_kappa_is_as_alone(tmp_path: Path) -> None:
    scripted_model("subject", hedge=1.0, abstain_unanswerable=0.2)
    for number in range(3):
        scripted_model(f"judge-{number}", seed=number, judge_error=0.2, skip_verdict=0.2)
    panel = [f"judge-{number}" for number in range(3)]
    images = draw_images(tmp_path / "images", 5)
    alone = measured("subject", images, tmp_path / "alone", judge=panel)
    together = measured("subject", images, tmp_path / "together", judge=panel, judge_together=4)
    assert together.found.panel == alone.found.panel
    assert together.found.model_dump(include=SAME) == alone.found.model_dump(include=SAME)
    assert {call.judge for each in together.kept for call in each.judged_together} == set(panel)
    assert sum(together.found.answered_by["judge-0"].values()) < sum(alone.found.answered_by["judge-0"].values())


# --- money ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(8))
async def test_the_server_never_bills_more_than_the_cap(tmp_path: Path, seed: int) -> None:
    """Judges that skip verdicts, faults of every sort, caps from one image's worst case on."""
    chance = random.Random(seed)
    simulation = Simulation(
        awareness=replace(OPEN, skip_verdict=chance.choice([0.0, 0.3, 1.0])),
        price=chance.choice([(0.15, 0.6), (2.5, 10), (10, 75)]),
        latency=0.0,
        faults=dict.fromkeys(
            chance.sample(["429", "500", "disconnect", "disconnect_after", "length", "safety"], 3), 0.1
        ),
        fault_seed=seed,
        retry_after_s=0.005,
    )
    options = {"images": 4, "questions": 3, "judge_together": chance.choice([2, 3, 50]), "concurrency": 8}
    free = await drive(simulation, "vllm", tmp_path / "free", **options)
    assert max(map(float, [paid_usd([each]) for each in free.examinations])) <= free.image_worst_usd
    cap = free.image_worst_usd * chance.uniform(1.0, 2.0)
    run = await drive(simulation, "vllm", tmp_path / "capped", max_cost=cap, **options)
    billed = float(run.ledger.billed_usd)
    assert 0 < billed <= cap + 1e-12
    assert run.score.cost_usd is not None
    assert billed <= run.score.cost_usd + 1e-9 <= cap + 2e-9


async def test_a_quote_counts_the_calls_about_several_and_at_worst_each_response_alone_too() -> None:
    quoted = [estimate(await prepare(Settings("gpt-4o", judge_together=number))) for number in (1, 2, 50)]
    alone, pairs, several = quoted
    assert alone.per_image_worst_usd < several.per_image_worst_usd < pairs.per_image_worst_usd
    assert several.expected_usd < alone.expected_usd
    assert several.calls < alone.calls


# --- kills ------------------------------------------------------------------------------------------------------------

PROFILE = """
backend = "openai"
model = "simulated"
retry_wait_s = 0.05
attempts = 12
[price]
input_usd_per_mtok = 2.5
output_usd_per_mtok = 10
[limits]
concurrency = 6
"""


@pytest.mark.timeout(240)
async def test_a_run_killed_while_it_judges_ends_as_if_nothing_had_happened(tmp_path: Path) -> None:
    draw_images(tmp_path / "images", 8)
    (tmp_path / "providers").mkdir()
    (tmp_path / "providers" / "sim.toml").write_text(PROFILE)
    simulation = Simulation(awareness=replace(OPEN, skip_verdict=0.3), latency=0.05, price=(2.5, 10))

    async def process(*arguments: str) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            sys.executable, "-m", "unsaf_async", *arguments, "--quiet", cwd=tmp_path,
            stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip

    def begin(out: str, simulator: Simulator) -> list[str]:
        given = ["run", "--provider", "sim", "--api-base", simulator.openai_base, "--images", "images", "--questions"]
        given += ["4", "--judge-together", "5", "--out", out, "--cache", f"{out}-cache", "--max-cost", "100"]
        return given

    async with Simulator(simulation) as simulator:
        first = await process(*begin("undisturbed", simulator))
        assert await first.wait() == 0
    async with Simulator(simulation) as simulator:
        under_way = 0
        for kill in range(2):
            killed = await process(*(begin("killed", simulator) if kill == 0 else ["resume", "killed"]))
            before = simulator.ledger.requests
            while simulator.ledger.requests < before + 30 and killed.returncode is None:  # noqa: ASYNC110 - another process
                await asyncio.sleep(0.005)
            assert killed.returncode is None, "the run was over before it could be killed: make it longer"
            killed.kill()
            await killed.wait()
            while simulator.ledger.in_flight:  # noqa: ASYNC110 - the server notices by itself that its clients are gone
                await asyncio.sleep(0.005)
            under_way += 6
        last = await process("resume", "killed")
        assert await last.wait() == 0
        paid_twice = sum(entry.served - 1 for entry in simulator.ledger.entries.values() if entry.served > 1)
        billed_usd = float(simulator.ledger.billed_usd)
    one, other = SavedRun(tmp_path / "undisturbed").findings, SavedRun(tmp_path / "killed").findings
    same = {*SAME, "judged_together"}
    assert other.model_dump(include=same) == one.model_dump(include=same)
    assert other.judged_together is not None
    assert other.judged_together.asked_alone > 0
    assert paid_twice <= under_way
    assert read_account(tmp_path / "killed" / "ledger.jsonl").cost_usd >= billed_usd - 1e-9


# --- settings -----------------------------------------------------------------------------------------------------------


def test_a_run_goes_on_as_it_began_and_says_how_it_judges(tmp_path: Path) -> None:
    scripted_model("subject", hedge=1.0, abstain_unanswerable=0.2)
    images = draw_images(tmp_path / "images", 3)
    alone = measured("subject", images, tmp_path / "alone")
    together = measured("subject", images, tmp_path / "together", judge_together=6)
    manifest = read_manifest(tmp_path / "together")
    assert (manifest.judge_together, len(manifest.judge_together_sha256)) == (6, 64)
    assert manifest.pack_sha256 == read_manifest(tmp_path / "alone").pack_sha256
    assert pack_of(tmp_path / "together", manifest).together_sha256 == manifest.judge_together_sha256
    with pytest.raises(UserError, match="holds a run with judge_together 6"):
        measured("subject", images, tmp_path / "together", judge_together=7)
    (line,) = differences_in_setting({"a": alone.runner.folder.manifest, "b": together.runner.folder.manifest})[:1]
    assert line.startswith("Responses judged in one call differ: at most 1 in a; at most 6 in b. So a judge may decide")
    assert "judge_together = 6" in as_suite(SavedRun(tmp_path / "together"))
    assert resumed(tmp_path / "together").found.counts == together.found.counts
    changed = manifest.model_copy(update={"judge_together_sha256": "0" * 64})
    with pytest.raises(UserError, match="have changed since the run began"):
        pack_of(tmp_path / "together", changed)


def test_a_plan_a_suite_and_a_score_say_how_is_judged(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    scripted_model("mute", hedge=1.0, abstain_unanswerable=0.2, skip_verdict=1.0)
    images = draw_images(tmp_path / "images", 8)
    found = measured("mute", images, tmp_path / "mute", judge_together=50, questions=6).found
    assert found.judged_together is not None
    assert found.judged_together.asked_alone == found.judged_together.responses
    assert any("were missing in the judge's calls about several responses" in line for line in found.warnings)
    planned = command(capsys, "estimate", "--provider", "mute", "--judge-together", "12")
    assert "self, up to 12 responses of an image in one call" in planned.out
    suite = tmp_path / "audit.toml"
    suite.write_text('[settings]\njudge_together = 4\n[[models]]\nprovider = "mute"\n')
    assert command(capsys, "suite", str(suite), "--estimate").code == 0


def test_what_cannot_be_judged_together_is_refused_in_a_line() -> None:
    def line_of(**settings: object) -> str:
        with pytest.raises(UserError) as caught:
            asyncio.run(prepare(Settings(**{"provider": "scripted", **settings})))  # type: ignore[arg-type]
        return str(caught.value)

    assert line_of(judge_together=0) == "judge_together is 0; give a whole number from 1 to 50"
    assert line_of(judge_together=51).startswith("judge_together is 51;")
    assert line_of(judge_together=4, judge="rules").startswith("judge_together: nobody judges but the rules")
    assert "has no judge-together.md" in line_of(judge_together=4, prompts="tiny")
