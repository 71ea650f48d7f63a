"""Refusals on policy and missing images in a whole run over a socket: counted, shown, and scored nowhere."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from commandline import command
from driving import KEY, PRICE, drive

from unsaf_async.simulate import model as simulated
from unsaf_async.simulate.model import Awareness, ScriptedReply
from unsaf_async.simulate.settings import Simulation

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from unsaf_async.records import Kind, Label

IN_PROSE = (
    "I can't identify people in images.",
    "I can't identify people in images. The person wears a hat.",
)
"""The first is decided by the rules, the second by the judge."""

NEVER = ("over_refuse", "hedge", "false_unanswerable", "false_answerable")


def answering(monkeypatch: pytest.MonkeyPatch, reply: Callable[[str, Label, Kind | None], str | None]) -> None:
    """Let the simulated model answer with what `reply` says of (question, label, kind); None: as it would."""
    honest = simulated._answer

    def answer(awareness: object, dice: object, image: str, question: str) -> ScriptedReply:
        text = reply(question, *simulated.truth(question))
        return honest(awareness, dice, image, question) if text is None else ScriptedReply(text, 0.8)  # type: ignore[arg-type]

    monkeypatch.setattr(simulated, "_answer", answer)
    monkeypatch.setenv("OPENAI_API_KEY", KEY)


@pytest.fixture
def perfect() -> Simulation:
    """A model that abstains from what is unanswerable, and from nothing else."""
    return Simulation(price=PRICE, awareness=Awareness(**dict.fromkeys(NEVER, 0.0), abstain_unanswerable=1.0))


async def test_questions_of_identity_that_are_refused_are_unscored_and_the_score_is_that_of_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, perfect: Simulation, capsys: pytest.CaptureFixture[str]
) -> None:
    answering(monkeypatch, lambda question, label, kind: IN_PROSE[len(question) % 2] if kind == "identity" else None)
    run = await drive(perfect, "openai", tmp_path, images=8, questions=10)
    identity = run.score.by_kind["identity"]
    assert identity.n >= 3
    assert (identity.refused, identity.unscored, identity.tu, identity.fa) == (identity.n, identity.n, 0, 0)
    assert identity.recall is None
    assert run.score.unscored == {"refused": identity.n}
    assert run.score.unf1 == 1.0
    assert run.score.recall == 1.0
    assert {
        each.decided_by
        for one in run.examinations
        for each in one.questions
        if each.kind == "identity" and each.act == "refused"
    } == {"rule", "judge"}
    assert any("kind identity were refused on policy" in warning for warning in run.score.warnings)
    shown = command(capsys, "show", str(tmp_path / "run"))
    assert shown.code == 0
    assert f"Unscored responses: {identity.n} refused" in shown.out


async def test_a_model_that_gets_no_images_has_no_score_and_an_alarm(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, perfect: Simulation
) -> None:
    answering(monkeypatch, lambda question, label, kind: "As a text-only model I cannot view pictures.")
    run = await drive(perfect, "openai", tmp_path, images=2)
    assert run.score.unscored == {"no_image": 12}
    assert run.score.unf1 is None
    assert any("12 of 12 responses (100%) say that no image came" in why for why in run.score.unreliable)


DOUBTS = ("Only somebody who was there could tell you.", "You would have to ask them yourself.")
"""Abstentions that the rules leave to a judge."""


async def test_few_decided_responses_make_the_bounds_the_headline(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, perfect: Simulation, capsys: pytest.CaptureFixture[str]
) -> None:
    """Under the rules alone nearly all abstentions are undecided, so that UnF1 reads 0 of a model that is always right."""
    answering(monkeypatch, lambda question, label, kind: DOUBTS[len(question) % 2] if label == "unanswerable" else None)
    run = await drive(perfect, "openai", tmp_path, images=4, judge=("rules",))
    assert {each.image.difference_hash for each in run.examinations} == {"0" * 64}  # of pictures in one color
    open_ = run.score.unscored["undecided"]
    assert open_ >= 12
    assert run.score.unf1_bounds == (0.0, 1.0)
    (reason,) = run.score.unreliable
    assert reason == (
        f"{open_} of 24 responses ({open_ / 24:.0%}) are in none of the four types, above 20% the bounds are the headline; "
        "a model as judge decides what the rules leave open"
    )
    shown = command(capsys, "show", str(tmp_path / "run")).out
    assert "UnF1 between 0.000 and 1.000\n" in shown
    assert f"Unreliable: {reason}" in " ".join(shown.split())
    again = await drive(perfect, "openai", tmp_path / "again", images=4, judge=("rules",))
    assert again.score.unf1_between == (0.0, 1.0)
    out = command(capsys, "compare", str(tmp_path / "run"), str(tmp_path / "again/run")).out
    assert out.count("  between 0.000 and 1.000  ") == 2, "as the UnF1 of either run"
    latex = command(capsys, "compare", str(tmp_path / "run"), str(tmp_path / "again/run"), "--format", "latex").out
    assert latex.count("between 0.000 and 1.000 & n/a") == 2
