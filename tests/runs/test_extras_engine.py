"""What is measured beside the answers, through the engine: every call counted and paid once, the cap kept, nothing lost."""

from __future__ import annotations

import asyncio
import random
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from commandline import command
from doubles import IMAGE, Function, profile, reply
from driving import KEY, PRICE, ROUTES, Outcome, draw_images, drive_at
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from runs.test_cap import CONTENT, KNOWN, UNKNOWN, simulations
from runs.test_kill import _under_way
from truths import measured, resume, resumed, scripted_model, served_model

from unsaf_async.calls.ledger import read_account
from unsaf_async.calls.request import ModelClient, RequestBuilder
from unsaf_async.examine.extras import ExtraMeasures, Extras
from unsaf_async.prompts import load_pack
from unsaf_async.providers.profile import Takes
from unsaf_async.records import CallRecord, Question
from unsaf_async.runs.begin import begin
from unsaf_async.runs.estimate import estimate, estimate_more
from unsaf_async.runs.findings import Findings
from unsaf_async.runs.folder import read_manifest, reopen
from unsaf_async.runs.journal import read_journal
from unsaf_async.runs.prepare import asking_more, prepare
from unsaf_async.runs.runner import Runner
from unsaf_async.runs.saved import SavedRun
from unsaf_async.runs.settings import Settings
from unsaf_async.simulate.model import Awareness
from unsaf_async.simulate.server import Simulator
from unsaf_async.simulate.settings import Simulation

if TYPE_CHECKING:
    from collections.abc import Sequence

    from unsaf_async.records import Examination

EVERYTHING: dict[str, Any] = {"grounded": True, "confidence": True, "samples": 2}
AUDITORS = ("auditor-a", "auditor-b")
PANEL = ("self", "judge-a", "judge-b")
BESIDE = ("audit", "ground", "confidence", "p-true", "sample")


def others(simulator: Simulator, *, attempts: int = 6) -> None:
    """Two auditors and two judges, served by `simulator` at its own price."""
    price = (float(simulator.simulation.price[0]), float(simulator.simulation.price[1]))
    for name in (*AUDITORS, "judge-a", "judge-b"):
        served_model(name, simulator.openai_base, price, attempts=attempts)


def questions(kept: Sequence[Examination]) -> list[Question]:
    return [question for examination in kept for question in examination.questions]


def answers(kept: Sequence[Examination]) -> list[tuple[str, str, str | None, str | None]]:
    """What was asked and answered, whatever stands beside it."""
    return sorted((each.text, each.response, each.act, each.unscored) for each in questions(kept))


def made(folder: Path) -> dict[str, int]:
    """Calls by role, by the run's own ledger; roles without a call are left out."""
    return {role: number for role, number in read_account(folder / "ledger.jsonl").made.items() if number}


def more_made(before: dict[str, int], after: dict[str, int]) -> dict[str, int]:
    return {role: number - before.get(role, 0) for role, number in after.items() if number != before.get(role, 0)}


# --- every wire -------------------------------------------------------------------------------------------------------

WITHOUT_LOGPROBS = {"anthropic", "gemini"}


@pytest.mark.parametrize("route", ROUTES)
async def test_everything_beside_the_answers_is_counted_and_billed_to_the_cent(
    route: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("OPENAI", "ANTHROPIC", "GEMINI"):
        monkeypatch.setenv(f"{name}_API_KEY", KEY)
    async with Simulator(Simulation(any_model=True, price=PRICE)) as simulator:
        others(simulator)
        run = await drive_at(simulator, route, tmp_path, images=2, judge=PANEL, audit=AUDITORS, **EVERYTHING)
        billed_usd = float(simulator.ledger.billed_usd)
        requests = simulator.ledger.requests
    found = run.score
    assert isinstance(found, Findings)
    asked = questions(run.examinations)
    logprobs = route not in WITHOUT_LOGPROBS
    true_answers = [each for each in asked if each.intended == "answerable" and each.act == "answered"]
    assert found.calls is not None
    roles = found.calls.by_role
    assert roles["audit"] == 2 * len(asked)
    assert roles["confidence"] == len(asked)
    assert roles.get("p-true", 0) == (len(asked) if logprobs else 0)
    assert roles["sample"] + _cached(asked, "sample") == 2 * len(asked)
    assert roles["ground"] == len(true_answers) > 0
    assert roles["judge"] + _cached(asked, "judge") == 3 * sum(bool(each.votes) for each in asked)
    assert sum(roles.values()) == requests == found.calls.made
    assert found.cost_usd == pytest.approx(billed_usd, abs=1e-9 * requests)

    assert all(len(each.audits) == 2 and len(each.samples) == 2 and each.stated for each in asked)
    assert [each for each in asked if each.support] == true_answers
    assert set(found.audits) == {*AUDITORS, "all"}
    assert found.grounded is not None
    assert found.grounded.judged == len(true_answers)
    assert {name for name, told in found.signals.items() if not told.n} == (
        set() if logprobs else {"mean_logprob", "min_logprob", "perplexity", "p_true"}
    )
    name = ROUTES[route][0]
    for told in found.signals.values():
        assert told.n or told.why_undefined == f"{name} gives no log-probabilities"
    assert SavedRun(tmp_path / "run").findings.model_dump(exclude={"wall_s"}) == found.model_dump(exclude={"wall_s"})
    assert Findings.model_validate_json((tmp_path / "run" / "score.json").read_bytes()) == found


def _cached(asked: Sequence[Question], role: str) -> int:
    return sum(call.cached for each in asked for call in each.calls if call.role == role)


# --- money ------------------------------------------------------------------------------------------------------------


def _capped(simulation: Simulation, share: float, **options: Any) -> Outcome:
    """A run under a cap of `share` times what one image costs at worst."""

    async def main(folder: Path) -> Outcome:
        async with Simulator(simulation) as simulator:
            others(simulator)
            price = ",".join(str(float(amount)) for amount in simulation.price)
            images = draw_images(folder / "images", options["images"])
            asked = Settings("vllm", **{**options, "images": images}, price=price, api_base=simulator.openai_base)
            cap = share * estimate(await prepare(asked)).per_image_worst_usd
            return await drive_at(simulator, "vllm", folder, max_cost=cap, **options)

    with tempfile.TemporaryDirectory() as folder:
        return asyncio.run(main(Path(folder)))


of_own_images: dict[str, st.SearchStrategy[Any]] = {
    "audit": st.sampled_from([(), ("auditor-a",), AUDITORS]),
    "judge": st.sampled_from(["self", "judge-a", PANEL]),
    "grounded": st.booleans(),
    "confidence": st.booleans(),
    "samples": st.integers(0, 2),
}
wishes = st.fixed_dictionaries(of_own_images | {"controls": st.sampled_from([(), "other", ("blank", "other")])})


def test_the_server_never_bills_more_than_the_cap_whatever_is_asked_beside() -> None:
    spent, stopped = 0, 0

    @settings(max_examples=20, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
    @given(
        simulation=simulations(faults=(*KNOWN, *UNKNOWN, *CONTENT)),
        wished=wishes,
        share=st.floats(0.5, 1.8),
        concurrency=st.integers(1, 40),
    )
    def hold(simulation: Simulation, wished: dict[str, Any], share: float, concurrency: int) -> None:
        nonlocal spent, stopped
        run = _capped(simulation, share, images=2, questions=2, concurrency=concurrency, **wished)
        cap = run.runner.folder.manifest.max_cost_usd
        billed_usd = float(run.ledger.billed_usd)
        assert run.score.cost_usd is not None
        assert cap is not None
        assert billed_usd <= run.score.cost_usd + 1e-9 <= cap + 2e-9
        if not any(run.ledger.faults[name] for name in UNKNOWN):
            assert run.score.cost_usd == pytest.approx(billed_usd, abs=1e-9 * max(1, run.ledger.requests))
        spent += billed_usd > 0
        stopped += run.runner.why_stopped is not None

    hold()
    assert min(spent, stopped) >= 5, "the cap was hardly ever put to the test"


def test_images_with_all_that_is_asked_of_them_are_whole_or_not_begun() -> None:
    begun, stopped = 0, 0

    @settings(max_examples=8, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
    @given(
        simulation=simulations(faults=KNOWN),
        wished=st.fixed_dictionaries(of_own_images),
        share=st.floats(1.0, 1.1),
        concurrency=st.integers(1, 40),
    )
    def hold(simulation: Simulation, wished: dict[str, Any], share: float, concurrency: int) -> None:
        nonlocal begun, stopped
        run = _capped(simulation, share, images=4, questions=2, concurrency=concurrency, **wished)
        assert len(run.ledger.images) == len(run.examinations), "an image was paid for, but is not in the journal"
        assert not [call for each in run.examinations for call in each.calls if call.outcome == "failed"]
        extras = run.runner.folder.manifest.extras
        assert not [question for question in questions(run.examinations) if extras.pending(question)]
        begun += len(run.examinations) > 0
        if len(run.examinations) < 4:
            stopped += len(run.examinations) > 0
            assert run.runner.why_stopped is not None
            assert "--max-cost" in run.runner.why_stopped

    hold()
    assert begun >= 5
    assert stopped >= 3, "hardly ever was there money for some images and not for all"


@settings(max_examples=5, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(wished=wishes, price=st.sampled_from([(0.15, 0.6), (2.5, 10), (1, 75)]), k=st.integers(1, 4))
def test_an_estimates_worst_case_is_never_below_what_was_spent_and_its_expectation_lies_below_it(
    wished: dict[str, Any], price: tuple[float, float], k: int
) -> None:
    async def main(folder: Path) -> None:
        async with Simulator(Simulation(any_model=True, price=price)) as simulator:
            others(simulator)
            run = await drive_at(simulator, "vllm", folder, images=2, questions=k, **wished)
            prices = f"{price[0]},{price[1]}"
            asked = Settings(
                "vllm",
                images=[folder / "images"],
                questions=k,
                price=prices,
                api_base=simulator.openai_base,
                **wished,
            )
            told = estimate(await prepare(asked))
        assert run.score.cost_usd is not None
        assert run.score.cost_usd <= told.worst_usd
        assert 0 < told.expected_usd < told.worst_usd
        assert told.worst_usd == pytest.approx(2 * told.per_image_worst_usd, abs=1e-8)

    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(main(Path(folder)))


@pytest.mark.parametrize(
    "text", ["Based on the image, (A) True", "Answer: A", "As the image shows, B", "Both could be"]
)
def test_a_reply_that_only_begins_with_the_letters_of_another_word_is_no_probability(text: str) -> None:
    said = reply(text, logprobs=(-0.01, -0.2, -0.3))
    client = ModelClient(RequestBuilder(profile(takes=Takes(logprobs=True)), 6, 0), Function(lambda _: said))
    asked = Question(
        text="What is it?", intended="answerable", answer=CallRecord(role="answer", outcome="ok"), act="answered"
    )
    follow_ups = Extras(ExtraMeasures(p_true=True), load_pack("unsaf"), client)
    found = asyncio.run(follow_ups.measure(asked, IMAGE)).p_true
    assert found is not None
    assert (found.value, found.why) == (None, 'the reply does not begin with the letter "A" or "B"')


# --- more of a finished run -------------------------------------------------------------------------------------------


async def test_a_finished_run_is_asked_for_more_and_nothing_that_was_there_is_asked_again(tmp_path: Path) -> None:
    out = tmp_path / "run"
    async with Simulator(Simulation(any_model=True, price=PRICE)) as simulator:
        others(simulator)
        first = await drive_at(simulator, "vllm", tmp_path, images=3)
        n = len(questions(first.examinations))
        true_answers = sum(q.intended == "answerable" and q.act == "answered" for q in questions(first.examinations))
        steps: list[tuple[dict[str, Any], dict[str, int]]] = [
            ({"audit": ("auditor-a",)}, {"audit": n}),
            ({"audit": ("auditor-b",)}, {"audit": n}),
            ({"grounded": True}, {"ground": true_answers}),
            ({"confidence": True}, {"confidence": n, "p-true": n}),
            ({"samples": 1}, {"sample": n}),
            ({"samples": 3}, {"sample": 2 * n}),
            ({"audit": AUDITORS, "samples": 2}, {}),
        ]
        kept = first.examinations
        for more, asked in steps:
            before, requests = made(out), simulator.ledger.requests
            # With a store of its own: what is asked again is not found there, and reaches the server.
            gone_on = await resume(out, cache="", **more)
            assert more_made(before, made(out)) == asked, more
            assert simulator.ledger.requests - requests == sum(asked.values())
            assert answers(gone_on.kept) == answers(kept)
            _keeps_all(kept, gone_on.kept)
            assert gone_on.runner.unfinished is None
            kept = gone_on.kept
        billed_usd = float(simulator.ledger.billed_usd)
    assert [audit.auditor for audit in questions(kept)[0].audits] == list(AUDITORS)
    assert {len(question.samples) for question in questions(kept)} == {3}
    found = SavedRun(out).findings
    assert set(found.audits) == {*AUDITORS, "all"}
    assert found.cost_usd == pytest.approx(billed_usd, abs=1e-9 * simulator.ledger.requests)
    assert first.score.model_dump(include={"unf1", "unf1_ci", "counts", "by_kind"}) == found.model_dump(
        include={"unf1", "unf1_ci", "counts", "by_kind"}
    )


def _keeps_all(before: Sequence[Examination], after: Sequence[Examination]) -> None:
    """Everything that stood on a question stands there still."""
    later = {(each.image.id, question.text): question for each in after for question in each.questions}
    for each in before:
        for old in each.questions:
            new = later[each.image.id, old.text]
            assert new.audits[: len(old.audits)] == old.audits
            assert new.samples[: len(old.samples)] == old.samples
            assert (old.support, old.stated, old.p_true) == (
                old.support and new.support,
                old.stated and new.stated,
                old.p_true and new.p_true,
            )
            assert (new.judge, new.votes, new.token_confidence) == (old.judge, old.votes, old.token_confidence)


async def test_draws_asked_for_later_are_the_draws_that_would_have_been_there_from_the_start(tmp_path: Path) -> None:
    async with Simulator(Simulation(any_model=True, price=PRICE)) as simulator:
        at_once = await drive_at(simulator, "vllm", tmp_path / "at-once", images=2, samples=3)
        await drive_at(simulator, "vllm", tmp_path / "later", images=2, samples=1)
        later = await resume(tmp_path / "later" / "run", samples=3)
    texts = [
        {question.text: [sample.text for sample in question.samples] for question in questions(kept)}
        for kept in (at_once.examinations, later.kept)
    ]
    assert texts[0] == texts[1]
    assert any(len(set(drawn)) > 1 for drawn in texts[0].values())


@pytest.mark.parametrize("fault", ["500", "disconnect"])
async def test_where_only_calls_beside_the_answers_failed_only_these_are_asked_again(
    fault: str, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    async with Simulator(Simulation(any_model=True, price=PRICE)) as healthy:
        base = await drive_at(healthy, "vllm", tmp_path, images=3)
        price = (PRICE[0], PRICE[1])
        async with Simulator(Simulation(any_model=True, price=PRICE, faults={fault: 0.3}, fault_seed=1)) as broken:
            served_model("auditor-a", broken.openai_base, price, attempts=1)
            partly = await resume(out, audit=("auditor-a",), cache="")
        failed = sum(each.audits[0].call.outcome == "failed" for each in questions(partly.kept))
        n = len(questions(partly.kept))
        assert 0 < failed < n
        assert partly.runner.unfinished is not None
        assert "hold calls that failed" in partly.runner.unfinished
        assert answers(partly.kept) == answers(base.examinations)
        found = partly.found.audits["auditor-a"]
        assert (found.audited, found.failed, found.not_asked) == (n - failed, failed, 0)

        # The same auditor, well again: where it listens now is not what the question is about.
        manifest = read_manifest(out)
        moved = manifest.others["auditor-a"].model_copy(update={"endpoint": healthy.openai_base})
        before, requests = made(out), healthy.ledger.requests
        whole = await resume(out, others={**manifest.others, "auditor-a": moved})
        assert more_made(before, made(out)) == {"audit": failed}
        assert healthy.ledger.requests - requests == failed
    assert whole.runner.unfinished is None
    assert answers(whole.kept) == answers(base.examinations)
    assert whole.found.audits["auditor-a"].audited == n
    said = {question.text: question.audits for question in questions(partly.kept) if question.audits[0].answerable}
    assert all(question.audits == said.get(question.text, question.audits) for question in questions(whole.kept))


async def test_the_estimate_of_asking_more_counts_what_failed_the_last_time(tmp_path: Path) -> None:
    async with Simulator(Simulation(any_model=True, price=PRICE)) as healthy:
        await drive_at(healthy, "vllm", tmp_path, images=3)
        async with Simulator(Simulation(any_model=True, price=PRICE, faults={"500": 0.3}, fault_seed=1)) as broken:
            served_model("auditor-a", broken.openai_base, (float(PRICE[0]), float(PRICE[1])), attempts=1)
            partly = await resume(tmp_path / "run", audit=("auditor-a",))
    failed = sum(each.audits[0].call.outcome == "failed" for each in questions(partly.kept))
    with reopen(tmp_path / "run") as folder:
        told = estimate_more(folder, folder.manifest)
    assert failed > 0
    assert (told.calls, told.worst_usd > 0) == (failed, True)


def test_images_that_changed_or_are_gone_since_leave_their_examination_as_it_was(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    images = draw_images(tmp_path / "images", 4)
    scripted_model("subject")
    scripted_model("auditor", audit_error=0)
    measured("subject", images, Path("run"))
    before = read_journal(Path("run/journal.jsonl"))
    Image.new("RGB", (40, 30), (1, 2, 3)).save(images[0])
    images[1].unlink()
    ended = command(capsys, "audit", "run", "--provider", "auditor", "--quiet")
    assert ended.code == 3
    last = ended.err.splitlines()[-1]
    assert "2 examined images were left as they are" in last
    assert images[0].name in last or images[1].name in last
    assert "resume" in last
    after = read_journal(Path("run/journal.jsonl"))
    for file in images[:2]:
        assert after[file.name] == before[file.name]
    for file in images[2:]:
        assert all(len(question.audits) == 1 for question in after[file.name].questions)
    found = SavedRun(Path("run")).findings
    assert found.audits["auditor"].not_asked == sum(len(before[file.name].questions) for file in images[:2])


def test_a_picture_saved_anew_without_a_changed_pixel_is_the_same_image(tmp_path: Path) -> None:
    images = draw_images(tmp_path / "images", 1)
    scripted_model("subject")
    scripted_model("auditor")
    measured("subject", images, Path("run"))
    with Image.open(images[0]) as picture:
        picture.save(images[0], compress_level=0)
    gone_on = resumed(Path("run"), audit=("auditor",))
    assert gone_on.runner.unfinished is None
    assert all(len(question.audits) == 1 for question in questions(gone_on.kept))


async def test_what_asking_more_costs_at_most_by_its_estimate_is_enough_to_ask_it(tmp_path: Path) -> None:
    """As a cap: what is spent, and what the estimate says of the rest. What is there already needs no money any more."""
    out = tmp_path / "run"
    async with Simulator(Simulation(any_model=True, price=PRICE)) as simulator:
        others(simulator)
        first = await drive_at(simulator, "vllm", tmp_path, images=2, audit=("auditor-a",), samples=4)
        with reopen(out) as folder:
            more = await asking_more(folder.manifest, ("auditor-b",), grounded=False, confidence=False, samples=0)
            told = estimate_more(folder, more)
        assert told.calls == len(questions(first.examinations))
        assert first.score.cost_usd is not None
        gone_on = await resume(out, audit=("auditor-b",), max_cost_usd=first.score.cost_usd + told.worst_usd)
    assert gone_on.runner.why_stopped is None
    assert gone_on.found.cost_usd is not None
    assert first.score.cost_usd < gone_on.found.cost_usd <= first.score.cost_usd + told.worst_usd


def test_a_run_begun_again_without_what_it_was_asked_for_beside_keeps_what_was_found(tmp_path: Path) -> None:
    images = draw_images(tmp_path / "images", 2)
    scripted_model("subject")
    scripted_model("auditor")
    first = measured("subject", images, Path("run"), audit=("auditor",), **EVERYTHING)
    again = measured("subject", images, Path("run"))
    assert again.kept == first.kept
    assert again.found.grounded == first.found.grounded
    assert again.found.audits == first.found.audits
    assert read_manifest(Path("run")).extras == replace(first.runner.folder.manifest.extras, auditors=("auditor",))


async def test_an_audit_killed_in_its_middle_loses_nothing_and_pays_no_more_than_what_was_under_way_twice(
    tmp_path: Path,
) -> None:
    out = tmp_path / "run"
    chance, kills, slots = random.Random(1), 2, 4
    async with Simulator(Simulation(any_model=True, price=PRICE, latency=0.05)) as simulator:
        served_model("auditor-a", simulator.openai_base, (float(PRICE[0]), float(PRICE[1])), concurrency=slots)
        first = await drive_at(simulator, "vllm", tmp_path, images=12)
        n, in_flight = len(questions(first.examinations)), 0
        began = simulator.ledger.requests
        for _ in range(kills):
            before = simulator.ledger.requests
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "unsaf_async", "audit", "run", "--provider", "auditor-a", "-y", "--quiet",
                cwd=tmp_path, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE,
            )  # fmt: skip
            while simulator.ledger.requests == before and process.returncode is None:  # noqa: ASYNC110 - another process
                await asyncio.sleep(0.002)
            await asyncio.sleep(chance.uniform(0.05, 0.25))
            assert process.returncode is None, "the audit was over before it could be killed: make it longer"
            process.kill()
            await process.communicate()
            while simulator.ledger.in_flight:  # noqa: ASYNC110 - the server notices by itself that its client is gone
                await asyncio.sleep(0.005)
            in_flight += _under_way(out / "ledger.jsonl")
            assert answers(list(read_journal(out / "journal.jsonl").values())) == answers(first.examinations)
        whole = await resume(out)
        requests = simulator.ledger.requests - began
        billed_usd = float(simulator.ledger.billed_usd)
    assert in_flight > 0
    # Those under way, and as many at most whose replies were here and not yet on disk.
    assert n <= requests <= n + 2 * kills * slots
    assert answers(whole.kept) == answers(first.examinations)
    _keeps_all(first.examinations, whole.kept)
    assert {len(question.audits) for question in questions(whole.kept)} == {1}
    assert whole.found.audits["auditor-a"].audited == n
    assert whole.found.cost_usd is not None
    assert whole.found.cost_usd >= billed_usd - 1e-9, "what was under way at a kill may have been billed"


@pytest.mark.parametrize("option", ["--judge", "--audit"])
def test_one_model_under_two_of_its_names_is_one_judge_and_one_auditor(
    option: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    draw_images(tmp_path / "photos", 1)
    scripted_model("subject", hedge=1)
    Path("providers/house.toml").write_text(
        'backend = "scripted"\nprice = { input_usd_per_mtok = 0, output_usd_per_mtok = 0 }\n'
        '[models."house-model"]\nmodel = "scripted"\naliases = ["arbiter"]\n'
    )
    named = (option, "arbiter", option, "house-model")
    ended = command(capsys, "run", "--provider", "subject", "--images", "photos", "--quiet", *named)
    assert ended.code == 2
    assert "is given twice" in ended.err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("resume", "run", "--grounded"), ("--grounded", "see no image")),
        (("resume", "run", "--samples", "21"), ("--samples is 21", "0 to 20")),
        (("resume", "run", "--audit", "nobody-knows-it"), ("--audit", "is unknown")),
        (("audit", "run", "--provider", "nobody-knows-it"), ("--provider", "is unknown")),
        (("audit", "run", "--provider", "other", "--provider", "other"), ("--provider other", "given twice")),
        (("audit", "nowhere", "--provider", "other"), ("nowhere", "is no run's folder")),
        (("audit", "run", "--provider", "paid"), ("this costs money", "--max-cost USD, or -y")),
        (
            ("run", "--provider", "other", "--questions-from", "nowhere"),
            ("--questions-from nowhere", "no run's folder"),
        ),
        (("run", "--provider", "other", "--questions-from", "run", "--images", "images"), ("--questions-from",)),
    ],
)
def test_what_is_wrong_with_asking_more_is_said_in_one_line_and_changes_nothing(
    arguments: tuple[str, ...], words: tuple[str, ...], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    images = draw_images(tmp_path / "images", 1)
    scripted_model("other", seed=1)
    scripted_model("paid", input_usd_per_mtok=1)
    measured("scripted", images, Path("run"), judge="rules")
    before = {file.name: file.read_bytes() for file in Path("run").glob("*.json*")}
    ended = command(capsys, *arguments)
    assert (ended.code, ended.out) == (2, "")
    (line,) = ended.err.splitlines()
    assert all(word in line for word in words), line
    assert {file.name: file.read_bytes() for file in Path("run").glob("*.json*")} == before


# --- questions of another run -----------------------------------------------------------------------------------------


def test_the_questions_of_another_run_are_asked_and_none_is_written(tmp_path: Path) -> None:
    images = draw_images(tmp_path / "images", 4)
    scripted_model("asker", seed=1)
    scripted_model("answerer", seed=2, abstain_unanswerable=0.3)
    asked = measured("asker", images, Path("asked"))
    given = measured("answerer", (), Path("answered"), questions_from=Path("asked"), audit=("asker",), samples=1)
    assert sorted((q.text, q.intended, q.kind or "") for q in questions(given.kept)) == sorted(
        (q.text, q.intended, q.kind or "") for q in questions(asked.kept)
    )
    assert "ask" not in made(Path("answered"))
    assert all(not each.asks and not each.missing for each in given.kept)
    assert given.found.questions_per_label is None
    assert given.found.quality is None
    assert given.found.unf1 != asked.found.unf1
    source = read_manifest(Path("answered")).source
    assert source is not None
    assert (source.kind, source.name, source.run_id) == ("run", "asker", read_manifest(Path("asked")).run_id)


def test_the_questions_of_another_run_are_not_put_to_a_picture_that_is_another_one_by_now(tmp_path: Path) -> None:
    images = draw_images(tmp_path / "images", 3)
    scripted_model("asker", seed=1)
    scripted_model("answerer", seed=2)
    measured("asker", images, Path("asked"))
    Image.new("RGB", (40, 30), (1, 2, 3)).save(images[0])
    given = measured("answerer", (), Path("answered"), questions_from=Path("asked"))
    by_name = {each.image.id: each for each in given.kept}
    assert by_name[images[0].name].questions == ()
    assert "changed" in (by_name[images[0].name].failure or "")
    assert all(by_name[file.name].questions for file in images[1:])


async def test_a_run_on_given_questions_stops_at_its_cap_and_goes_on(tmp_path: Path) -> None:
    async with Simulator(Simulation(any_model=True, price=PRICE)) as simulator:
        await drive_at(simulator, "vllm", tmp_path / "one", images=4)
        how: dict[str, Any] = {
            "questions_from": tmp_path / "one" / "run", "price": "2.5,10", "api_base": simulator.openai_base, "seed": 7,
            "cache": tmp_path / "other-cache", "questions": 3,
        }  # fmt: skip
        prepared = await prepare(Settings("vllm", **how))
        told = estimate(prepared)
        capped = replace(
            prepared,
            settings=replace(prepared.settings, out=tmp_path / "two", max_cost=1.02 * told.per_image_worst_usd),
        )
        with begin(capped) as folder:
            runner = Runner(folder)
            stopped = await runner.run()
        assert runner.exhausted
        assert 0 < stopped.images.done < 4
        before = read_journal(tmp_path / "two" / "journal.jsonl")
        whole = await resume(tmp_path / "two", max_cost_usd=None)
    assert whole.found.images.done == 4
    assert whole.found.cost_usd is not None
    assert whole.found.cost_usd <= told.worst_usd
    assert all(each in whole.kept for each in before.values())
    assert "ask" not in made(tmp_path / "two")
    assert whole.found.questions_per_label is None


# --- the truth --------------------------------------------------------------------------------------------------------


def test_auditors_find_the_planted_false_labels_and_what_they_confirm_scores_as_without_them(tmp_path: Path) -> None:
    planted = {"unanswerable": 0.2, "answerable": 0.1}
    scripted_model("subject", seed=1, false_unanswerable=0.2, false_answerable=0.1)
    scripted_model("exact", seed=2, audit_error=0)
    scripted_model("careless", seed=3, audit_error=0.05)
    images = draw_images(tmp_path / "images", 80)
    run = measured("subject", images, Path("run"), questions=6, audit=("exact", "careless"))
    without = Awareness(false_unanswerable=0, false_answerable=0).expected_unf1()
    assert run.found.unf1 is not None
    for name, error in (("exact", 0.0), ("careless", 0.05)):
        told = run.found.audits[name]
        assert (told.audited, told.failed, told.not_asked) == (len(questions(run.kept)), 0, 0)
        # An auditor that errs confirms a true label, and contradicts a false one, that much more rarely.
        expected = {label: (1 - rate) * (1 - error) + rate * error for label, rate in planted.items()}
        for label, share in expected.items():
            found = told.by_label[label]  # type: ignore[index]
            assert abs(found.share - share) < 2.5 * (share * (1 - share) / found.n) ** 0.5
        low, high = told.agreement.share_ci or (1, 0)
        assert low <= (expected["answerable"] + expected["unanswerable"]) / 2 <= high
        assert told.unf1_agreed is not None
        assert abs(told.unf1_agreed - without) < abs(run.found.unf1 - without) / 2
        print(f"{name}: agreement {told.agreement.share}, {told.agreement.share_ci}; UnF1 {run.found.unf1:.3f}, agreed "
              f"{told.unf1_agreed:.3f} {told.unf1_agreed_ci}, without false labels {without:.3f}")  # fmt: skip
    low, high = run.found.audits["exact"].unf1_agreed_ci or (1, 0)
    assert low <= without <= high
    assert run.found.unf1_ci is not None
    assert run.found.unf1_ci[1] < without
    joint = run.found.audits["all"]
    assert joint.by_label["answerable"].agreed <= min(
        run.found.audits[name].by_label["answerable"].agreed for name in ("exact", "careless")
    )
