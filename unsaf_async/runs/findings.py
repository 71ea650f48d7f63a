"""A run's whole result: the score, what speaks for or against it, and what others measure on the same answers."""

from __future__ import annotations

from typing import TYPE_CHECKING, get_args

from pydantic import Field

from unsaf_async.errors import as_option
from unsaf_async.runs.answered_by import about_services, answered_by
from unsaf_async.score.agreement import PanelScore, panel_agreement
from unsaf_async.score.calibration import Corrected, corrected_unf1
from unsaf_async.score.fidelity import Fidelity, label_fidelity
from unsaf_async.score.grounded import Grounded
from unsaf_async.score.grounded import grounded as grounded_of
from unsaf_async.score.labelled import LabelledScore, ProbabilityName, labelled_score
from unsaf_async.score.quality import Quality, question_quality, warnings
from unsaf_async.score.run_score import Score
from unsaf_async.score.signals import Signal, SignalName
from unsaf_async.score.signals import signals as signals_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from unsaf_async.records import Examination
    from unsaf_async.runs.folder import Manifest


class Findings(Score):
    """The score and what else is measured."""

    audits: dict[str, Fidelity] = Field(default_factory=dict)
    """How far the intended labels can be trusted, by auditor; {} without an audit."""
    quality: Quality | None = None
    """Of the questions that the model wrote; None if it wrote none."""
    panel: PanelScore | None = None
    """How far the judges of a panel agree; None without one."""
    corrected: Corrected | None = None
    """UnF1 corrected for the judge's known errors; None without a calibration."""
    grounded: Grounded | None = None
    """Whether answers are borne out; None outside grounded mode."""
    signals: dict[SignalName, Signal] = Field(default_factory=dict)
    """Conventional signs of confidence."""
    answered_by: dict[str, dict[str, int]] = Field(default_factory=dict)
    """How many replies each model gave, by whom was asked ("self": the measured model) and by the id in the replies."""
    labelled: LabelledScore | None = None
    """Accuracy, abstention and calibration on a labelled set; None for other runs."""


def findings(score: Score, manifest: Manifest, examinations: Sequence[Examination]) -> Findings:
    """A run's score with everything else that is measured. Pure; takes some seconds for 1,000 images with further draws.

    Args:
        score: The run's.
        manifest: The run's.
        examinations: The run's, one an image. Resampled figures depend on their order.

    Returns:
        The findings. What was not measured is None or {}.
    """
    source = manifest.source
    quality = question_quality(examinations) if source is None else None
    answers = (each.answer.outcome for one in examinations for each in one.questions)
    why = _why_none(manifest, came=any(outcome != "failed" for outcome in answers))
    result = Findings.model_construct(
        **dict(score),
        audits=label_fidelity(examinations, seed=manifest.seed),
        quality=quality,
        panel=panel_agreement(examinations, seed=manifest.seed),
        corrected=corrected_unf1(examinations, manifest.calibration.confusions.by_decider, seed=manifest.seed)
        if manifest.calibration
        else None,
        grounded=grounded_of(examinations, seed=manifest.seed) if manifest.grounded else None,
        signals=signals_of(examinations, why, seed=manifest.seed),
        answered_by=answered_by(manifest, examinations),
        labelled=labelled_score(
            examinations, yes_no_set=source.yes_no, why_none=_why_no_probability(why), seed=manifest.seed
        )
        if source and source.kind == "labelled"
        else None,
    )
    more = [*(warnings(quality) if quality else ()), *_about_models(manifest), *about_services(manifest, examinations)]
    return result.model_copy(update={"warnings": [*result.warnings, *more]})


def _why_none(manifest: Manifest, *, came: bool) -> dict[SignalName, str]:
    """Why a signal is not there, by its name. came: whether any response did."""
    if not came:
        return dict.fromkeys(get_args(SignalName), "no response came")
    name = manifest.subject.name
    gives = manifest.gives_logprobs
    tokens = f"{name} returned no log-probabilities" if gives else f"{name} gives no log-probabilities"
    drawn = "no draw came back" if manifest.samples else f"needs {as_option('samples')} K"
    no_confidence = f"{name} gave no figure" if manifest.confidence else f"needs {as_option('confidence')}"
    return {
        "declined": "no response was scored",
        **dict.fromkeys(("mean_logprob", "min_logprob", "perplexity"), tokens),
        "stated": no_confidence,
        "p_true": no_confidence if gives or not manifest.confidence else tokens,
        **dict.fromkeys(("self_consistency", "semantic_entropy"), drawn),
    }


def _why_no_probability(why: dict[SignalName, str]) -> dict[ProbabilityName, str]:
    return {
        "token_probability": why["mean_logprob"],
        "stated": why["stated"],
        "p_true": why["p_true"],
        "self_consistency": why["self_consistency"],
    }


def _about_models(manifest: Manifest) -> Iterator[str]:
    """What a reader should know of who judges and audits."""
    subject = manifest.subject
    for name in manifest.auditors:
        profile = manifest.profile(name)
        if (profile.model, profile.endpoint) == (subject.model, subject.endpoint):
            yield f"{name} audits its own questions: it will rarely contradict itself; name another model"
