"""How the settings of two runs differ, in words."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from unsaf_async.errors import as_option
from unsaf_async.prompts import short_name
from unsaf_async.providers.addresses import not_the_vendors
from unsaf_async.text import FORM_WORDS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from unsaf_async.records import Examination
    from unsaf_async.runs.folder import Manifest


@dataclass(frozen=True)
class _Setting:
    """A setting in which runs may differ."""

    title: str
    """Of the sentence about it."""
    value: Callable[[Manifest], str | Mapping[str, object] | None]
    """In words; or as fields, of which those are named that differ; None: the run has no such setting and is skipped."""
    consequence: str | Callable[[Iterable[Manifest]], str]
    """What follows for the comparison, of all runs or of these."""


def differences_in_setting(
    manifests: Mapping[str, Manifest], examinations: Mapping[str, Sequence[Examination]] | None = None
) -> list[str]:
    """A sentence for each way in which the runs were not made alike.

    Args:
        manifests: By the runs' names.
        examinations: By the same names, so that what the runs were asked can be compared, too; None: it is not.

    Returns:
        The sentences, "title: this in a, b; that in c. So consequence"; [] if nothing differs.
    """
    sentences = [_difference(setting, manifests) for setting in SETTINGS]
    if examinations is not None:
        sentences.append(_difference_in_given(examinations))
    simulated = [name for name, each in manifests.items() if each.subject.backend == "scripted"]
    if simulated:
        sentences.append(
            f"{_listed(simulated)} {'is a simulated model' if len(simulated) == 1 else 'are simulated models'}: "
            "such figures say nothing about any real model"
        )
    sentences += [f"{name}: {note}" for name, each in manifests.items() if (note := not_the_vendors(each.subject))]
    return [sentence for sentence in sentences if sentence]


def changes_in_setting(before: Manifest, now: Manifest) -> list[str]:
    """A line for each way in which a run would be made otherwise than it was begun.

    Args:
        before: Of the run that has begun.
        now: Of the run as it is asked for.

    Returns:
        The lines, "title: this when it began, that now"; [] if nothing differs.
    """
    found = ((setting.title, list(_groups(setting, {"before": before, "now": now}))) for setting in SETTINGS)
    return [f"{title}: {values[0]} when it began, {values[1]} now" for title, values in found if len(values) == 2]


def _difference(setting: _Setting, manifests: Mapping[str, Manifest]) -> str | None:
    """The sentence about one setting; None if it is equal in all runs that have it."""
    groups = _groups(setting, manifests)
    if len(groups) < 2:
        return None
    groups_in_words = "; ".join(f"{value} in {_listed(names)}" for value, names in groups.items())
    consequence = setting.consequence
    if not isinstance(consequence, str):
        consequence = consequence(manifests.values())
    return f"{setting.title}: {groups_in_words}. So {consequence}"


def _groups(setting: _Setting, manifests: Mapping[str, Manifest]) -> dict[str, list[str]]:
    """The names of the runs that have a setting, by its value in words, in their order."""
    values = {name: value for name, each in manifests.items() if (value := setting.value(each)) is not None}
    fields = dict.fromkeys(field for value in values.values() if not isinstance(value, str) for field in value)
    differing = [
        field
        for field in fields
        if len({repr(value.get(field)) for value in values.values() if not isinstance(value, str)}) > 1
    ]
    groups: dict[str, list[str]] = defaultdict(list)
    for name, value in values.items():
        groups[value if isinstance(value, str) else _in_words(value, differing)].append(name)
    return groups


def _in_words(value: Mapping[str, object], fields: Sequence[str]) -> str:
    return ", ".join(f"{field} {'none' if value.get(field) is None else value[field]}" for field in fields)


def _request_fields(manifest: Manifest) -> dict[str, object]:
    """The further fields of the model's requests. The hash of its weights is none: with other weights it is another model."""
    return {name: value for name, value in manifest.subject.extra.items() if name != "files_sha256"}


def _judges(manifest: Manifest) -> str:
    profiles = {"self": manifest.subject, **manifest.others}
    models = [profiles[name].model or profiles[name].name if name in profiles else name for name in manifest.judges]
    return " + ".join(models) or "the rules alone"


def _judges_matter(manifests: Iterable[Manifest]) -> str:
    lenient = ", and a model may be lenient with itself" if any("self" in each.judges for each in manifests) else ""
    return f"part of a difference may be theirs{lenient}; {as_option('judge')} gives all the same one"


def _rubric(manifest: Manifest) -> str:
    """By which words a run's judge judges, in words."""
    anew = manifest.judged_anew
    return short_name(anew.rubric_name) if anew and anew.rubric else "that of the run's prompts"


def _extras(manifest: Manifest) -> str:
    """The extra measures, in words."""
    asked = [f"audits by {_listed(manifest.auditors)}"] if manifest.auditors else []
    asked += ["grounds"] if manifest.grounded else []
    asked += ["confidence"] if manifest.confidence else []
    asked += [f"{manifest.samples} further draws"] if manifest.samples else []
    asked += [f"controls ({', '.join(manifest.controls)})"] if manifest.controls else []
    return ", ".join(asked) or "nothing"


def _temperatures(manifest: Manifest) -> str:
    """At which temperature a run's model answered, in words."""
    taken = manifest.subject.takes.temperature and "temperature" not in manifest.adapted.get("self", {})
    return "0 for answers and verdicts" if taken else "the provider's own throughout"


def _source(manifest: Manifest) -> str:
    """Where the questions are from, in words."""
    if manifest.source is None:
        return "the model's own"
    return f"{'the labelled set' if manifest.source.kind == 'labelled' else 'the run of'} {manifest.source.name}"


def _difference_in_given(examinations: Mapping[str, Sequence[Examination]]) -> str | None:
    """A sentence if the runs with given questions were given other questions about the same images."""
    asked = {
        name: {
            (each.image.id, question.given.text)
            for each in run
            for question in each.questions
            if question.given is not None
        }
        for name, run in examinations.items()
    }
    asked = {name: questions for name, questions in asked.items() if questions}
    if len(asked) < 2 or len({frozenset(questions) for questions in asked.values()}) == 1:
        return None
    common = set.intersection(*asked.values())
    counts = ", ".join(f"{len(questions)} in {name}" for name, questions in asked.items())
    return f"Given questions differ: {counts}, of which {len(common)} are the same. So the runs did not sit the same examination"


def _listed(names: Sequence[str]) -> str:
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))


SETTINGS = (
    _Setting(
        "Prompts differ",
        lambda run: f"{short_name(run.pack)} {run.pack_version} ({run.pack_sha256[:8]})",
        "the models were asked in other words",
    ),
    _Setting(
        "Forms differ",
        lambda run: FORM_WORDS[run.form],
        "the figures are of two measurements: options show that declining is possible, and a guess is as easy as an answer",
    ),
    _Setting("Questions are not from the same source", _source, "easy questions raise UnF1 as much as awareness does"),
    _Setting(
        "Questions per image and instruction differ",
        lambda run: str(run.questions) if run.source is None else None,
        "whoever writes more has to reach for less obvious ones",
    ),
    _Setting("Judges differ", _judges, _judges_matter),
    _Setting("Judging prompts differ", _rubric, "part of a difference may be theirs"),
    _Setting(
        "Responses judged in one call differ",
        lambda run: f"at most {run.judge_together}" if run.judges else None,
        "a judge may decide otherwise where it sees several at once: `judge calibrate` measures it",
    ),
    _Setting("Extra measures differ", _extras, "their costs and times are for unequal work"),
    _Setting(
        "Temperatures differ",
        _temperatures,
        "an answer drawn at random abstains at another rate than the likeliest one",
    ),
    _Setting("Further fields of the requests differ", _request_fields, "they may change how a model answers"),
    _Setting(
        "Seeds differ",
        lambda run: str(run.seed),
        "images come in another order, and models that take a seed draw otherwise",
    ),
    _Setting(
        "Output limits differ (tokens)",
        lambda run: run.subject.output_tokens.model_dump(),
        "replies are cut off at another length",
    ),
    _Setting(
        "Image sizes differ",
        lambda run: run.subject.image.model_dump(),
        "the models may have seen the same image at other sizes",
    ),
    _Setting(
        "Stopping rules differ",
        lambda run: "all images" if run.until_ci is None else f"until ± {run.until_ci:g}{' at any time' * run.anytime}",
        "a run that stops early holds fewer images",
    ),
    _Setting(
        "Versions of unsaf-async differ",
        lambda run: run.versions.get("unsaf-async", "unknown"),
        "rules and parsing may have changed in between",
    ),
)
"""In the order of the sentences."""
