"""A run's whole result: the score, what speaks for or against it, and what others measure on the same answers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, get_args

from pydantic import Field

from unsaf_async.errors import as_option
from unsaf_async.providers.masked_keys import MARK
from unsaf_async.records import ControlKind  # noqa: TC001 - pydantic reads it
from unsaf_async.runs.answered_by import ServicesTally
from unsaf_async.runs.stopped import Stopped  # noqa: TC001 - pydantic reads it
from unsaf_async.score.agreement import PanelScore, PanelTally
from unsaf_async.score.calibration import Corrected, DecidedTally, corrected_of
from unsaf_async.score.controls import ControlScore, ControlsTally
from unsaf_async.score.fidelity import Fidelity, FidelityTally
from unsaf_async.score.forms import Forms, FormsTally
from unsaf_async.score.grounded import Grounded, GroundedTally
from unsaf_async.score.judged_together import JudgedTogetherCounts, JudgedTogetherTally
from unsaf_async.score.label_errors import LabelCorrected, LabelTally
from unsaf_async.score.labelled import LabelledScore, LabelledTally
from unsaf_async.score.quality import Quality, QualityTally, warnings
from unsaf_async.score.run_score import Score, ScoreTally
from unsaf_async.score.signals import ProbabilityName, Signal, SignalName, SignalsTally
from unsaf_async.text import format_count

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from unsaf_async.records import Examination
    from unsaf_async.runs.folder import Manifest
    from unsaf_async.score.label_errors import TrustedLabel


class Findings(Score):
    """The score and what else is measured."""

    audits: dict[str, Fidelity] = Field(default_factory=dict)
    """How far the intended labels can be trusted, by auditor; {} without an audit."""
    quality: Quality | None = None
    """Of the questions that the model wrote; None if it wrote none."""
    panel: PanelScore | None = None
    """How far the judges of a panel agree; None without one."""
    judged_together: JudgedTogetherCounts | None = None
    """The judges' calls about several responses; None where each was judged alone."""
    corrected: Corrected | None = None
    """UnF1 corrected for the judge's known errors; None without a calibration."""
    label_corrected: LabelCorrected | None = None
    """UnF1 corrected for false labels by trusted ones; None without any."""
    grounded: Grounded | None = None
    """Whether answers are borne out; None outside grounded mode."""
    controls: dict[ControlKind, ControlScore] = Field(default_factory=dict)
    """What came of asking questions again without what answers them, by what was shown; {} without controls."""
    forms: Forms | None = None
    """The score of the answers by option, and how far it agrees with that in free words; None unless both were asked for."""
    signals: dict[SignalName, Signal] = Field(default_factory=dict)
    """Conventional signs of confidence."""
    answered_by: dict[str, dict[str, int]] = Field(default_factory=dict)
    """How many replies each model gave, by whom was asked ("self": the measured model) and by the id in the replies."""
    stopped: Stopped | None = None
    """Why the run's last session ended before its last image; None if it did not, or if it was killed and cannot say."""
    labelled: LabelledScore | None = None
    """Accuracy, abstention and calibration on a labelled set; None for other runs."""

    @property
    def f1_name(self) -> str:
        """What the F1 of abstaining is called: a labelled set's labels are no instruction, so there it is not UnF1."""
        return "Abstention F1" if self.labelled else "UnF1"


class Tallies:
    """All that a run's findings are made of, added up image by image, in the order of the images' ids."""

    def __init__(self, manifest: Manifest, labels: Mapping[str, TrustedLabel] | None = None) -> None:
        """Tallies of no image.

        Args:
            manifest: The run's.
            labels: Its trusted labels, by the questions' keys.
        """
        self.manifest = manifest
        self.score = ScoreTally()
        source = manifest.source
        self._quality = QualityTally() if source is None else None
        self._fidelity, self._panel, self._signals = FidelityTally(), PanelTally(), SignalsTally()
        self._together = JudgedTogetherTally() if manifest.judge_together > 1 else None
        self._decided = DecidedTally() if manifest.calibration else None
        known = manifest.calibration.confusions.by_decider if manifest.calibration else None
        self._trusted = LabelTally(labels, manifest.seed, known) if labels else None
        self._grounded = GroundedTally() if manifest.grounded else None
        self._controls = ControlsTally() if manifest.controls else None
        self._labelled = (
            LabelledTally(yes_no_set=source.yes_no) if source is not None and source.kind == "labelled" else None
        )
        self._forms = FormsTally() if manifest.form == "both" else None
        self.services = ServicesTally(manifest)
        self._came = False
        every = (self.score, self._quality, self._fidelity, self._panel, self._signals, self._decided, self._trusted)
        more = (self._grounded, self._together, self._controls, self._labelled, self._forms, self.services)
        self._all: list[_Tally] = [each for each in (*every, *more) if each is not None]

    def add(self, examination: Examination) -> None:
        """Count one image.

        Args:
            examination: Of the image; each image once. Resampled figures depend on the order.
        """
        for tally in self._all:
            tally.add(examination)
        self._came = self._came or any(each.answer.outcome != "failed" for each in examination.questions)

    def findings(self, score: Score) -> Findings:
        """A run's score with everything else that is measured. Takes some seconds for 10,000 images.

        Args:
            score: The run's.

        Returns:
            The findings. What was not measured is None or {}.
        """
        manifest, seed = self.manifest, self.manifest.seed
        quality = self._quality.quality() if self._quality else None
        why = _why_none(manifest, came=self._came)
        result = Findings.model_construct(
            **dict(score),
            audits=self._fidelity.fidelity(),
            quality=quality,
            panel=self._panel.panel(),
            judged_together=self._together.counts if self._together else None,
            corrected=corrected_of(
                self._decided, manifest.calibration.confusions.by_decider, seed=seed, between=score.unf1_between
            )
            if self._decided and manifest.calibration
            else None,
            label_corrected=self._trusted.corrected(score.unf1_between) if self._trusted else None,
            grounded=self._grounded.grounded() if self._grounded else None,
            controls=self._controls.controls() if self._controls else {},
            forms=self._forms.forms(
                questions_per_label=None if manifest.source else manifest.questions,
                provider=manifest.subject.name,
                images_total=manifest.images,
                seed=seed,
                between=score.unf1_between,
            )
            if self._forms
            else None,
            signals=self._signals.signals(why),
            answered_by=self.services.answered_by,
            labelled=self._labelled.labelled(_why_no_probability(why), seed=seed) if self._labelled else None,
        )
        about_models = (*_about_models(manifest), *_about_keys(manifest), *self.services.about())
        together = result.judged_together.warning if result.judged_together else ""
        more = [*(warnings(quality) if quality else ()), *filter(None, (together,)), *about_models]
        return result.model_copy(update={"warnings": [*result.warnings, *more]})


def findings(score: Score, manifest: Manifest, examinations: Iterable[Examination]) -> Findings:
    """A run's score with everything else that is measured: see `Tallies`.

    Args:
        score: The run's.
        manifest: The run's.
        examinations: The run's, one an image. Resampled figures depend on their order.

    Returns:
        The findings. What was not measured is None or {}.
    """
    tallies = Tallies(manifest)
    for examination in examinations:
        tallies.add(examination)
    return tallies.findings(score)


class _Tally(Protocol):
    def add(self, examination: Examination) -> None:
        """Count one image."""


def _why_none(manifest: Manifest, *, came: bool) -> dict[SignalName, str]:
    """Why a signal is not there, by its name. came: whether any response did."""
    if not came:
        return dict.fromkeys(get_args(SignalName), "no response came")
    name = manifest.subject.name
    gives = manifest.gives_logprobs
    tokens = (
        f"{name} returned no log-probabilities with a scored response"
        if gives
        else f"{name} gives no log-probabilities"
    )
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


def _about_keys(manifest: Manifest) -> Iterator[str]:
    """What came back of the keys that were sent."""
    for name, replies in manifest.keys_hidden.items():
        held = f"{format_count(replies, 'reply', 'replies')} of {name} held a key that was sent to it"
        yield f"{held}: {MARK} stands in its place; use a new key from now on"


def _about_models(manifest: Manifest) -> Iterator[str]:
    """What a reader should know of who judges and audits."""
    subject = manifest.subject
    for name in manifest.auditors:
        profile = manifest.profile(name)
        if (profile.model, profile.endpoint) == (subject.model, subject.endpoint):
            yield f"{name} audits its own questions: it will rarely contradict itself; name another model"
