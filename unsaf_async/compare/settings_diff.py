"""How the settings of two runs differ, in words."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from unsaf_async.records import Examination
    from unsaf_async.runs.folder import Manifest


def differences_in_setting(
    manifests: Mapping[str, Manifest], examinations: Mapping[str, Sequence[Examination]] | None = None
) -> list[str]:
    """A sentence for each way in which the runs were not made alike; [] if nothing differs.

    manifests: by the runs' names. examinations: by the same names, so that what the runs were asked can be compared, too.
    """
    found: list[str | None] = [
        _apart(
            "Prompts differ",
            {
                name: f"{_last(each.pack)} {each.pack_version} ({each.pack_sha256[:8]})"
                for name, each in manifests.items()
            },
            "the models were asked in other words",
        ),
        _apart(
            "Questions are not from the same source",
            {name: _whose(each) for name, each in manifests.items()},
            "easy questions raise UnF1 as much as awareness does",
        ),
        _apart(
            "Questions per image and instruction differ",
            {name: str(each.questions) for name, each in manifests.items() if each.source is None},
            "whoever writes more has to reach for less obvious ones",
        ),
        _apart(
            "Judges differ",
            {name: _judges(each) for name, each in manifests.items()},
            "part of a difference may be theirs"
            + (
                ", and a model may be lenient with itself"
                if any("self" in each.judges for each in manifests.values())
                else ""
            )
            + "; --judge gives all the same one",
        ),
        _apart(
            "What is asked beside the answers differs",
            {name: _beside(each) for name, each in manifests.items()},
            "their costs and times are for unequal work",
        ),
        _apart(
            "Temperatures differ",
            {
                name: "0 for answers and verdicts"
                if each.subject.takes.temperature
                else "the provider's own throughout"
                for name, each in manifests.items()
            },
            "an answer drawn at random abstains at another rate than the likeliest one",
        ),
        _apart_in_fields(
            "Further fields of the requests differ",
            {name: _extra(each) for name, each in manifests.items()},
            "they may change how a model answers",
        ),
        _apart(
            "Seeds differ",
            {name: str(each.seed) for name, each in manifests.items()},
            "images come in another order, and models that take a seed draw otherwise",
        ),
        _apart_in_fields(
            "Output limits differ (tokens)",
            {name: each.subject.output_tokens.model_dump() for name, each in manifests.items()},
            "replies are cut off at another length",
        ),
        _apart_in_fields(
            "Image sizes differ",
            {name: each.subject.image.model_dump() for name, each in manifests.items()},
            "the models may have seen the same image at other sizes",
        ),
        _apart(
            "Stopping rules differ",
            {
                name: "all images" if each.until_ci is None else f"until ± {each.until_ci:g}"
                for name, each in manifests.items()
            },
            "a run that stops early holds fewer images",
        ),
        _apart(
            "Versions of unsaf-async differ",
            {name: each.versions.get("unsaf-async", "unknown") for name, each in manifests.items()},
            "rules and parsing may have changed in between",
        ),
    ]
    if examinations is not None:
        found.append(_apart_in_given(examinations))
    simulated = [name for name, each in manifests.items() if each.subject.backend == "scripted"]
    if simulated:
        found.append(
            f"{_listed(simulated)} {'is a simulated model' if len(simulated) == 1 else 'are simulated models'}: "
            "such figures say nothing about any real model"
        )
    return [sentence for sentence in found if sentence]


def _apart(what: str, values: Mapping[str, str], so: str) -> str | None:
    """ "what: this in a, b; that in c: so"; None if all values are equal."""
    groups: dict[str, list[str]] = defaultdict(list)
    for name, value in values.items():
        groups[value].append(name)
    if len(groups) < 2:
        return None
    return f"{what}: {'; '.join(f'{value} in {_listed(names)}' for value, names in groups.items())}. So {so}"


def _apart_in_fields(what: str, values: Mapping[str, Mapping[str, object]], so: str) -> str | None:
    """As `_apart`, naming only the fields that are not equal in all."""
    fields = dict.fromkeys(field for value in values.values() for field in value)
    differing = [field for field in fields if len({repr(value.get(field)) for value in values.values()}) > 1]
    said = {
        name: ", ".join(f"{field} {'none' if value.get(field) is None else value[field]}" for field in differing)
        for name, value in values.items()
    }
    return _apart(what, said, so)


def _extra(manifest: Manifest) -> dict[str, object]:
    """The further fields of the model's requests. What tells its weights apart is no such field: the model is another one."""
    return {name: value for name, value in manifest.subject.extra.items() if name != "files_sha256"}


def _judges(manifest: Manifest) -> str:
    profiles = {"self": manifest.subject, **manifest.others}
    models = [profiles[name].model or profiles[name].name if name in profiles else name for name in manifest.judges]
    return " + ".join(models) or "the rules alone"


def _beside(manifest: Manifest) -> str:
    """What was asked beside the answers, in words."""
    asked = [f"audits by {_listed(manifest.auditors)}"] if manifest.auditors else []
    asked += ["grounds"] if manifest.grounded else []
    asked += ["confidence"] if manifest.confidence else []
    asked += [f"{manifest.samples} further draws"] if manifest.samples else []
    return ", ".join(asked) or "nothing"


def _last(pack: str) -> str:
    """A pack's name; of a folder, its last part."""
    return Path(pack).name or pack


def _whose(manifest: Manifest) -> str:
    """Whose questions they are, in words."""
    if manifest.source is None:
        return "the model's own"
    return f"{'the labelled set' if manifest.source.kind == 'labelled' else 'the run of'} {manifest.source.name}"


def _apart_in_given(examinations: Mapping[str, Sequence[Examination]]) -> str | None:
    """A sentence if the runs with given questions were given other questions about the same images."""
    asked = {
        name: {
            (each.image.id, question.given.text)
            for each in found
            for question in each.questions
            if question.given is not None
        }
        for name, found in examinations.items()
    }
    asked = {name: questions for name, questions in asked.items() if questions}
    if len(asked) < 2 or len({frozenset(questions) for questions in asked.values()}) == 1:
        return None
    common = set.intersection(*asked.values())
    counts = ", ".join(f"{len(questions)} in {name}" for name, questions in asked.items())
    return f"Given questions differ: {counts}, of which {len(common)} are the same. So the runs did not sit the same examination"


def _listed(names: Sequence[str]) -> str:
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))
