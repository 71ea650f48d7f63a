"""What sort of questions a model writes: how varied, how long, how often false; and what looks like no effort.

UnF1 presupposes questions that are worth asking. Who asks every image the same thing, or fills one template, can score high
without having looked. Pure arithmetic over texts; what an image shows is not known here. Every measure that a warning rests on
is a share that does not depend on how many images there are: the number of different questions of a small world falls behind
that of the images however good the asker, and says little.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, get_args

from unsaf_async.normalize import normal_form
from unsaf_async.records import KINDS, Examination, Label, Question, Record
from unsaf_async.score.ratios import ratio
from unsaf_async.score.unf1 import KindName, latest

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

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


def question_quality(examinations: Iterable[Examination]) -> Quality:
    """What sort of questions a run asked.

    Args:
        examinations: Of several about one image the last counts, else their order is irrelevant.

    Returns:
        The figures. Without questions: zeros, None and empty tables.
    """
    asked = [
        examination.questions
        for examination in sorted(latest(examinations), key=lambda examination: examination.image.id)
    ]
    by_image = [own for questions in asked if (own := [question for question in questions if question.given is None])]
    everything = [question for questions in by_image for question in questions]
    images_of = Counter(
        text for questions in by_image for text in {normal_form(question.text) for question in questions}
    )
    n = len(everything)
    return Quality(
        images=len(by_image),
        questions=n,
        given=sum(map(len, asked)) - n,
        distinct_share=ratio(len(images_of), n),
        distinct_per_image=ratio(images_of.total(), len(by_image)),
        recurring_share=_recurring(images_of, len(by_image)),
        near_duplicate_share=_near_duplicates(by_image),
        common=_common(images_of, len(by_image)),
        kinds=_kinds(everything),
        by_label={
            label: _of_label(texts)
            for label in _LABELS
            if (texts := [question.text for question in everything if question.intended == label])
        },
        short=sum(count_words(question.text) < SHORT_WORDS for question in everything),
        false_labels=_false_labels(everything),
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
    return sum(max(1, sum(map(_is_word, word))) for word in text.split())


_LABELS: tuple[Label, ...] = get_args(Label)


def _is_word(character: str) -> bool:
    return "\u0e01" <= character <= "\u0e2e" or "\u3041" <= character <= "\u30ff" or "\u3400" <= character <= "\u9fff"


def _recurring(images_of: Counter[str], images: int) -> float | None:
    """Over pairs of a question of an image and another image, the share in which that one has it, too.

    A question that c of n images have is in c (c - 1) of the (n - 1) sum c pairs. That mean over pairs does not depend on n.
    """
    pairs = (images - 1) * images_of.total()
    return sum(c * (c - 1) for c in images_of.values()) / pairs if pairs > 0 else None


def _near_duplicates(by_image: Sequence[Sequence[Question]]) -> float | None:
    from unsaf_async.score.meaning import near_duplicates

    compared = [
        [question.text for question in questions if not any(map(_is_word, question.text))] for questions in by_image
    ]
    near = sum(len({max(pair) for pair in near_duplicates(texts)}) for texts in compared)
    return ratio(near, sum(map(len, compared)))


def _common(images_of: Counter[str], images: int) -> Common | None:
    if not images_of:
        return None
    text, count = min(images_of.items(), key=lambda item: (-item[1], item[0]))
    return Common(text=text, images=count, share=count / images)


def _kinds(questions: Sequence[Question]) -> dict[KindName, float]:
    by_kind = Counter[KindName](
        question.kind or "unspecified" for question in questions if question.intended == "unanswerable"
    )
    names: tuple[KindName, ...] = (*KINDS, "unspecified")
    return {kind: by_kind[kind] / by_kind.total() for kind in names if by_kind[kind]}


def _of_label(texts: Sequence[str]) -> LabelQuality:
    words = sum(map(count_words, texts))
    return LabelQuality(questions=len(texts), words_mean=words / len(texts), template=_template(texts))


def _template(texts: Sequence[str]) -> Template | None:
    """The sentence that fits most of `texts`, when the rarer words are blanked out; None if there is none.

    A word of a template that fits a share of the texts is in as many of them at least: blanking out what is rarer than the
    limit loses no template that is worth a warning.
    """
    split = [normal_form(text).split() for text in texts]
    holding = Counter(word for words in split for word in set(words))
    kept = {word for word, count in holding.items() if count > TEMPLATE_LIMIT * len(texts)}
    templates = Counter(
        " ".join(word if word in kept else "_" for word in words) for words in split if not kept.isdisjoint(words)
    )
    if len(texts) < 2 or not templates:
        return None
    text, count = min(templates.items(), key=lambda item: (-item[1], item[0]))
    return Template(text=text, questions=count, share=count / len(texts))


def _false_labels(questions: Sequence[Question]) -> dict[str, FalseLabels]:
    audited, unlike = Counter[str](), Counter[str]()
    for question in questions:
        for audit in question.audits:
            audited[audit.auditor] += audit.answerable is not None
            unlike[audit.auditor] += audit.answerable is (question.intended == "unanswerable")
    return {
        name: FalseLabels(audited=n, unlike=unlike[name], share=ratio(unlike[name], n)) for name, n in audited.items()
    }


def _quoted(text: str) -> str:
    return f'"{text if len(text) <= 80 else text[:79] + "…"}"'
