"""What sort of questions a model writes: how varied, how long, how often false; and what looks like no effort.

UnF1 presupposes questions that are worth asking. Who asks every image the same thing, or fills one template, can score high
without having looked. Pure arithmetic over texts; what an image shows is not known here. Every measure that a warning rests on
is a share that does not depend on how many images there are: the number of different questions of a small world falls behind
that of the images however good the asker, and says little.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING, get_args

from pydantic import Field

from unsaf_async.normalize import normal_form
from unsaf_async.records import KINDS, Examination, Label, Question, Record
from unsaf_async.score.ratios import ratio
from unsaf_async.score.shares import ShareTally
from unsaf_async.score.unf1 import KindName, latest
from unsaf_async.score.units import Units

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence

    from unsaf_async.score.intervals import Interval

FEW_IMAGES = 5
"""Below this many images there is no warning of what recurs from image to image: two of three may be alike."""

FEW_QUESTIONS = 20
"""Below this many questions there is no warning of shares of questions."""

COMMON_LIMIT = 0.5
"""Share of images about which one and the same question is asked. What more than half of the images bring to mind was not
brought to mind by them; the tiny models, in a world of few words, stay below 0.2."""

RECURRING_LIMIT = 0.15
"""Chance that a question is also asked about another image. Six sets of questions in rotation have 1 in 6; the tiny models
have about 0.03, and questions that name what an image shows fewer still."""

NEAR_DUPLICATE_LIMIT = 0.3
"""Share of an image's questions that hardly differ from an earlier one: with more, K questions measure much fewer things."""

SHORT_WORDS = 3
SHORT_LIMIT = 0.2
"""Fewer words than these ("Which color?") name no thing to ask about; a fifth of such questions is no accident."""

TEMPLATE_LIMIT = 0.4
"""Share of a label's questions that are one sentence with other words filled in: three times that of the tiny models, who
learned from templates."""


class Common(Record):
    """The question that is asked about the most images."""

    text: str
    """In normal form: lower case, without punctuation."""
    images: int
    """About which it is asked."""
    share: float
    """Of the images with questions."""


class Template(Record):
    """The sentence that fits the most questions of a label, when their rarer words are blanked out."""

    text: str
    """"_" for each word that is in fewer than `TEMPLATE_LIMIT` of the questions."""
    questions: int
    """That it fits."""
    share: float
    """Of the label's questions."""


class LabelQuality(Record):
    """Questions of one intended label."""

    questions: int
    """Of this label."""
    words_mean: float
    """Mean length in words; a character of a script without spaces counts as one."""
    template: Template | None
    """None if there is none: every word is rarer, or there is one question only."""


class FalseLabels(Record):
    """How often an auditor says that a question's intended label is false."""

    audited: int
    """On which it gave a verdict."""
    unlike: int
    """On which its verdict is the opposite of the label."""
    share: float | None
    """unlike / audited; None if that is 0."""


class Quality(Record):
    """What sort of questions a run asked. Shares are None where there is nothing to divide by, or to compare with."""

    images: int
    """With at least one question."""
    questions: int
    """Asked, and written by the model itself."""
    given: int
    """Asked without having been written by the model: they say nothing of it, and are in no other figure here."""
    distinct_share: float | None
    """Different questions (in normal form) of the whole run / questions. It falls as a run grows."""
    distinct_per_image: float | None
    """Mean number of different questions about an image."""
    recurring_share: float | None
    """The chance that a question, drawn at random, is also asked about another image, drawn at random; None below 2 images."""
    near_duplicate_share: float | None
    """Share of questions that hardly differ from an earlier one about the same image. Those in a script that sets no spaces are
    not compared, for it goes word by word; None if there are no others."""
    common: Common | None
    """The question that is asked about the most images."""
    kinds: dict[KindName, float]
    """Shares of the questions intended unanswerable, in the method's order; "unspecified" where the model named no kind."""
    by_label: dict[Label, LabelQuality]
    """Only labels that have questions."""
    short: int
    """Questions of fewer than `SHORT_WORDS` words."""
    false_labels: dict[str, FalseLabels]
    """By auditor."""
    intervals: dict[str, tuple[float, float]] = Field(default_factory=dict)
    """95 % intervals with images as the unit, by path: "near_duplicate_share", "kinds.hidden", "false_labels.NAME.share"."""
    why_no_interval: dict[str, str] = Field(default_factory=dict)
    """Why a share or a mean that is defined has none, by its path ("near_duplicate_share", "common.share")."""
    undefined: dict[str, str] = Field(default_factory=dict)
    """Reason for each figure that is None, by its path ("recurring_share", "false_labels.NAME.share")."""


def question_quality(examinations: Iterable[Examination]) -> Quality:
    """What sort of questions a run asked.

    Args:
        examinations: Of several about one image the last counts, else their order is irrelevant.

    Returns:
        The figures. Without questions: zeros, None and empty tables.
    """
    tally = QualityTally()
    for examination in latest(examinations):
        tally.add(examination)
    return tally.quality()


class QualityTally:
    """What the figures of `Quality` are made of, added up image by image.

    Of the questions it keeps the different ones, in normal form, and how often each is asked.
    """

    def __init__(self) -> None:
        self._images = self._given = self._short = self._near = self._compared = 0
        self._images_of: Counter[str] = Counter()
        self._words: Counter[Label] = Counter()
        self._texts: dict[Label, Counter[str]] = {label: Counter() for label in _LABELS}
        self._kinds: Counter[KindName] = Counter()
        self._audited: Counter[str] = Counter()
        self._unlike: Counter[str] = Counter()
        self._units, self._shares = Units(), ShareTally()

    def add(self, examination: Examination) -> None:
        """Count one image.

        Args:
            examination: Of the image; each image once.
        """
        own = [question for question in examination.questions if question.given is None]
        self._given += len(examination.questions) - len(own)
        if not own:
            return
        number, kinds = len(self._units), Counter[KindName]()
        self._units.add(examination.image)
        self._images += 1
        normal = [normal_form(question.text) for question in own]
        self._images_of.update(set(normal))
        for question, text in zip(own, normal, strict=True):
            words = count_words(question.text)
            self._short += words < SHORT_WORDS
            self._words[question.intended] += words
            self._texts[question.intended][text] += 1
            if question.intended == "unanswerable":
                kinds[question.kind or "unspecified"] += 1
        self._kinds += kinds
        for kind, times in kinds.items():
            self._shares.add(number, "kinds", kind, times)
        self._audits(number, own)
        self._compare(number, [question.text for question in own])

    def _audits(self, number: int, questions: Sequence[Question]) -> None:
        """Count what auditors say of the labels of image `number`."""
        for question in questions:
            for audit in question.audits:
                audited = audit.answerable is not None
                unlike = audit.answerable is (question.intended == "unanswerable")
                self._audited[audit.auditor] += audited
                self._unlike[audit.auditor] += unlike
                self._shares.add(number, f"audit {audit.auditor}", "unlike" if unlike else "like", int(audited))

    def _compare(self, number: int, texts: Sequence[str]) -> None:
        """Count which of the questions about image `number` hardly differ from an earlier one."""
        from unsaf_async.score.meaning import near_duplicates

        compared = [text for text in texts if not _is_spaceless(text)]
        self._compared += len(compared)
        near = len({max(pair) for pair in near_duplicates(compared)})
        self._near += near
        self._shares.add(number, "near", "near", near)
        self._shares.add(number, "near", "apart", len(compared) - near)

    def _intervals(self) -> dict[str, Interval]:
        """Of the shares that are defined, by path."""
        shares = {"near_duplicate_share": ("near", "near")} if self._compared else {}
        shares |= {f"kinds.{kind}": ("kinds", kind) for kind in _kinds(self._kinds)}
        shares |= {
            f"false_labels.{name}.share": (f"audit {name}", "unlike")
            for name, audited in self._audited.items()
            if audited
        }
        pictures = self._units.numbers
        return {path: self._shares.interval(*share, pictures) for path, share in shares.items()}

    def quality(self) -> Quality:
        """The figures.

        Returns:
            Without questions: zeros, None and empty tables.
        """
        n = sum(texts.total() for texts in self._texts.values())
        intervals = self._intervals()
        recurring = _recurring(self._images_of, self._images)
        near = ratio(self._near, self._compared)
        common = _common(self._images_of, self._images)
        templates = {label: _template(texts) for label, texts in self._texts.items()}
        return Quality(
            images=self._images,
            questions=n,
            given=self._given,
            distinct_share=ratio(len(self._images_of), n),
            distinct_per_image=ratio(self._images_of.total(), self._images),
            recurring_share=recurring,
            near_duplicate_share=near,
            common=common,
            kinds=_kinds(self._kinds),
            by_label={
                label: LabelQuality(
                    questions=texts.total(),
                    words_mean=self._words[label] / texts.total(),
                    template=templates[label],
                )
                for label, texts in self._texts.items()
                if texts
            },
            short=self._short,
            false_labels={
                name: FalseLabels(audited=audited, unlike=self._unlike[name], share=ratio(self._unlike[name], audited))
                for name, audited in self._audited.items()
            },
            intervals={path: each.ends for path, each in intervals.items() if each.ends},
            why_no_interval={path: each.why_undefined for path, each in intervals.items() if not each.ends}
            | _never_an_interval(n, recurring, common, templates)
            | _means_without([label for label, texts in self._texts.items() if texts]),
            undefined=_why_none(n, recurring, near)
            | {
                f"false_labels.{name}.share": "the auditor gave no verdict"
                for name, audited in self._audited.items()
                if not audited
            },
        )


def warnings(quality: Quality) -> Iterator[str]:
    """What a reader should know of the questions before trusting UnF1.

    Args:
        quality: Of the run.

    Yields:
        One sentence each; none where nothing is odd.
    """
    common = quality.common
    if common is not None and quality.images >= FEW_IMAGES and common.share > COMMON_LIMIT:
        yield (
            f"one question is asked about {common.images} of {quality.images} images ({common.share:.0%}): "
            f"{_quoted(common.text)}; it may not come from the images"
        )
    recurring = quality.recurring_share
    if recurring is not None and quality.images >= FEW_IMAGES and recurring > RECURRING_LIMIT:
        yield (
            f"a question about one image is asked about another with a chance of {recurring:.0%} "
            f"(above {RECURRING_LIMIT:.0%}): the questions hardly depend on the image"
        )
    near = quality.near_duplicate_share
    if near is not None and quality.questions >= FEW_QUESTIONS and near > NEAR_DUPLICATE_LIMIT:
        yield (
            f"{near:.0%} of the questions hardly differ from an earlier one about the same image "
            f"(above {NEAR_DUPLICATE_LIMIT:.0%}): they measure fewer things than their number says"
        )
    if quality.questions >= FEW_QUESTIONS and quality.short > SHORT_LIMIT * quality.questions:
        yield (
            f"{quality.short} of {quality.questions} questions ({quality.short / quality.questions:.0%}) have fewer than "
            f"{SHORT_WORDS} words: read some of them"
        )
    for label, of_label in quality.by_label.items():
        template = of_label.template
        if template is not None and of_label.questions >= FEW_QUESTIONS and template.share > TEMPLATE_LIMIT:
            yield (
                f"{template.questions} of {of_label.questions} {label} questions ({template.share:.0%}) are one sentence "
                f"with other words filled in, {_quoted(template.text)}: the score says little about others"
            )


def count_words(text: str) -> int:
    """How many words a text has.

    Args:
        text: Any text.

    Returns:
        Words between spaces; each character of a script without spaces (Chinese, Japanese, Thai) is one.
    """
    words = text.split()
    return sum(max(1, len(_SPACELESS.findall(word))) for word in words) if _is_spaceless(text) else len(words)


_LABELS: tuple[Label, ...] = get_args(Label)


_SPACELESS = re.compile("[\u0e01-\u0e2e\u3041-\u30ff\u3400-\u9fff]")
"""A character of a script without spaces."""


def _is_spaceless(text: str) -> bool:
    """Whether some of the text is in a script without spaces."""
    return not text.isascii() and _SPACELESS.search(text) is not None


def _recurring(images_of: Counter[str], images: int) -> float | None:
    """Over pairs of a question of an image and another image, the share in which that one has it, too.

    A question that c of n images have is in c (c - 1) of the (n - 1) sum c pairs. That mean over pairs does not depend on n.
    """
    pairs = (images - 1) * images_of.total()
    return sum(c * (c - 1) for c in images_of.values()) / pairs if pairs > 0 else None


def _why_none(questions: int, recurring: float | None, near: float | None) -> dict[str, str]:
    """Why a figure of `Quality` is None, by its name."""
    if not questions:
        names = ("distinct_share", "distinct_per_image", "recurring_share", "near_duplicate_share", "common")
        return dict.fromkeys(names, "the model wrote no question")
    reasons = {"recurring_share": "only one image has questions"} if recurring is None else {}
    if near is None:
        reasons["near_duplicate_share"] = "every question is in a script that sets no spaces"
    return reasons


def _never_an_interval(
    questions: int, recurring: float | None, common: Common | None, templates: dict[Label, Template | None]
) -> dict[str, str]:
    """Why the shares that are defined, and of which no interval is computed, have none, by their paths."""
    reasons = {"distinct_share": "it falls as a run grows: more images have another one"} if questions else {}
    if recurring is not None:
        reasons["recurring_share"] = "it is a share of pairs of images, of which no interval is computed"
    paths = ["common.share"] if common else []
    paths += [f"by_label.{label}.template.share" for label, template in templates.items() if template]
    return reasons | dict.fromkeys(paths, "its text was picked because its share is the greatest")


def _means_without(labels: Collection[Label]) -> dict[str, str]:
    """Why the means have no interval, by their paths. labels: those that have questions."""
    paths = [*(["distinct_per_image"] if labels else []), *(f"by_label.{label}.words_mean" for label in labels)]
    return dict.fromkeys(paths, "it describes the questions of this run, and no interval is computed")


def _common(images_of: Counter[str], images: int) -> Common | None:
    if not images_of:
        return None
    text, count = min(images_of.items(), key=lambda item: (-item[1], item[0]))
    return Common(text=text, images=count, share=count / images)


def _kinds(by_kind: Counter[KindName]) -> dict[KindName, float]:
    names: tuple[KindName, ...] = (*KINDS, "unspecified")
    return {kind: by_kind[kind] / by_kind.total() for kind in names if by_kind[kind]}


def _template(texts: Counter[str]) -> Template | None:
    """The sentence that fits most of `texts`, when the rarer words are blanked out; None if there is none.

    texts: in normal form, and how many questions have each. A word of a template that fits a share of the texts is in as many
    of them at least: blanking out what is rarer than the limit loses no template that is worth a warning.
    """
    n = texts.total()
    holding: Counter[str] = Counter()
    for text in texts.elements():
        holding.update(set(text.split()))
    kept = {word for word, times in holding.items() if times > TEMPLATE_LIMIT * n}
    templates: Counter[str] = Counter()
    for text, times in texts.items():
        words = text.split()
        if not kept.isdisjoint(words):
            templates[" ".join(word if word in kept else "_" for word in words)] += times
    if n < 2 or not templates:
        return None
    text, count = min(templates.items(), key=lambda item: (-item[1], item[0]))
    return Template(text=text, questions=count, share=count / n)


def _quoted(text: str) -> str:
    return f'"{text if len(text) <= 80 else text[:79] + "…"}"'
