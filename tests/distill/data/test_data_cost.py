"""What the data of an export have cost: by the runs' own accounts, with what of it is not sure and what nobody can tell."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from commandline import command, serving
from distill.data.small_runs import asked, call, run_of
from PIL import Image

from unsaf_async.calls.ledger import Account
from unsaf_async.distill.data.cost import cost_of
from unsaf_async.providers.prices import Price
from unsaf_async.providers.profile import Profile
from unsaf_async.runs.folder import JudgedAnew, Source
from unsaf_async.runs.saved import NOTHING_HELD, Held, SavedRun
from unsaf_async.simulate.settings import Simulation

if TYPE_CHECKING:
    from pathlib import Path

DEAR = Profile(
    name="dear", backend="openai", model="dear", price=Price(input_usd_per_mtok=1.0, output_usd_per_mtok=2.0)
)
FREE = Profile(name="free", backend="tiny", model="free", price=Price(input_usd_per_mtok=0.0, output_usd_per_mtok=0.0))


def paid(
    usd: float, profile: Profile = DEAR, *, account: Account | None = None, held: Held = NOTHING_HELD, **more: Any
) -> SavedRun:
    """A run that has paid so much."""
    of = {"subject": profile, "judges": (), "run_id": str(usd), **more}
    run = run_of(asked(), **of)
    vars(run).update(account=account or Account(), held=held, spent_usd=usd)
    return run


def test_the_cost_is_the_sum_of_all_runs_and_its_share_a_row() -> None:
    found = cost_of([paid(1.5), paid(0.25)])
    assert (found.usd, found.usd_a_row(7)) == (1.75, 0.25)
    assert list(found.in_words(7)) == [
        "Cost: $1.7500 for 2 runs, what was left out included; $0.250000 a row (7 rows)."
    ]
    assert found.usd_a_row(0) is None


def test_what_is_of_unknown_fate_is_named_and_what_is_held_in_batches_is_beside_it() -> None:
    # of 0.6 USD of unknown fate, 0.5 are held for batches
    account = Account(unknown_nano_usd=600_000_000, unknown=5)
    found = cost_of([paid(2.0, account=account, held=Held(batches=1, calls=3, usd=0.5))])
    assert found.usd == 1.5
    assert list(found.in_words(2))[1:] == [
        "$0.1000 of it are for 2 attempts of unknown fate, booked at their worst.",
        "Beside it $0.5000 at most are held for 3 calls in batches with a vendor.",
    ]


def test_models_that_are_free_by_their_price_have_no_cost_and_not_one_of_0() -> None:
    found = cost_of([paid(0.0, FREE)])
    assert (found.usd, found.usd_a_row(10)) == (None, None)
    assert list(found.in_words(10)) == [
        "Cost: n/a: the price of free is 0, and what it costs to run it is not known here."
    ]
    both = cost_of([paid(0.0, FREE), paid(3.0)])
    assert both.usd == 3.0
    assert "1 run of these not counted: the price of free is 0" in list(both.in_words(10))[1]
    judged = cost_of([paid(3.0, FREE, judges=("dear",), others={"dear": DEAR})])
    assert judged.usd == 3.0
    assert list(judged.in_words(10))[1:] == ["Not counted: what it costs to run free, whose price is 0."]


def test_answers_that_the_rules_judge_anew_cost_nothing_more_and_free_ones_have_no_cost() -> None:
    anew = {"judges": (), "judged_anew": JudgedAnew(run_id="first")}
    assert cost_of([paid(0.0, DEAR, **anew)]).usd == 0.0
    assert cost_of([paid(0.0, FREE, **anew)]).usd is None


def test_without_a_price_there_is_no_cost() -> None:
    found = cost_of([paid(0.0, Profile(name="new", backend="openai", model="new"))])
    assert list(found.in_words(3)) == ["Cost: n/a: no price of new is known."]


def test_replies_that_others_paid_for_are_named_with_what_they_cost() -> None:
    taken = call().model_copy(update={"cached": True, "cost_usd": 0.125})
    run = run_of(asked(answer=taken), subject=DEAR, judges=(), judged_anew=JudgedAnew(run_id="first"))
    vars(run).update(account=Account(), held=NOTHING_HELD, spent_usd=0.0)
    (said,) = [line for line in cost_of([run]).in_words(1) if "not paid again" in line]
    assert said.startswith("Replies that cost $0.1250 when they were made")


def test_questions_of_a_run_that_is_not_exported_are_named() -> None:
    source = Source(kind="run", name="x", path="", run_id="1.0")
    words = "Not counted: what it cost to write questions that are another run's"
    alone = list(cost_of([paid(2.0, source=source)]).in_words(1))
    both = list(cost_of([paid(2.0, source=source), paid(1.0)]).in_words(1))
    assert [any(line.startswith(words) for line in lines) for lines in (alone, both)] == [True, False]


def test_a_damaged_ledger_costs_the_figure_and_not_the_export(tmp_path: Path) -> None:
    (tmp_path / "ledger.jsonl").write_text("{}\n")
    run = SavedRun(tmp_path)
    vars(run).update({**vars(run_of(asked(), subject=DEAR, judges=())), "folder": tmp_path})
    (said,) = cost_of([run]).in_words(1)
    assert said == "Cost: n/a: an account is damaged."
    assert str(tmp_path) not in said


def test_the_card_and_the_terminal_say_what_a_vendors_run_has_cost(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("imagehash")
    (tmp_path / "photos").mkdir()
    for n in range(2):
        Image.new("RGB", (64, 48), (90 * n, 40, 90)).save(tmp_path / "photos" / f"{n}.png")
    monkeypatch.setenv("OPENAI_API_KEY", "any-key")
    with serving(Simulation(any_model=True)) as simulator:
        given = ("--provider", "gpt-5.4-mini", "--api-base", simulator.openai_base, "--images", "photos")
        ran = command(capsys, "run", *given, "--questions", "3", "--out", "run", "--no-cache", "-q", "-y")
        assert ran.code == 0, ran.err
    spent_usd = SavedRun(tmp_path / "run").spent_usd
    assert spent_usd > 0
    made = ("--format", "openai", "--splits", "100/0/0", "--accept-teacher-terms")
    done = command(capsys, "export", "run", *made, "-o", "out")
    assert done.code == 0, done.err
    rows = (tmp_path / "out" / "items.jsonl").read_text("utf-8").count("\n")
    said = f"Cost: ${spent_usd:.4f} for 1 run, what was left out included; ${spent_usd / rows:.6f} a row ({rows} rows)."
    assert said in " ".join(done.out.split())
    card = (tmp_path / "out" / "README.md").read_text("utf-8")
    assert f"- {said}" in card
    assert f"  - cost ${spent_usd:.4f}\n" in card
