"""What every figure of a report means, in plain words, on the page itself: each name leads to its definition."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from unsaf_async.report.markup import el

if TYPE_CHECKING:
    from collections.abc import Iterable
    from xml.etree.ElementTree import Element

    from unsaf_async.report.markup import Child

_MEANINGS: dict[tuple[str, ...], str] = {
    ("UnF1",): "How well the model's declining fits what it had itself written as unanswerable: the harmonic mean of timidity "
    "and audacity, 2 TU / (2 TU + FU + FA). 1: it declined exactly those questions. 0: none of them.",
    ("Abstention F1",): "The same figure on a set whose labels are given: 2 TU / (2 TU + FU + FA).",
    ("95 % interval",): "Of 100 such runs on other images of the same sort, the intervals of about 95 hold the figure that all "
    "such images would give. It does not cover wrong labels or wrong verdicts.",
    ("bounds",): "Where the figure lies, whatever the unscored responses were. No chance is in them.",
    ("Precision (timidity)", "precision"): "Of the questions that it declined, the share meant to be unanswerable. Low: it "
    "declines what it could answer.",
    ("Recall (audacity)", "recall"): "Of the questions meant to be unanswerable, the share that it declined. Low: it answers "
    "what nobody can know from the image.",
    ("Over-refusal rate", "over-refusal"): "Of the questions meant to be answerable, the share that it declined.",
    ("Over-answer rate",): "Of the questions meant to be unanswerable, the share that it answered: 1 less the recall.",
    ("F1 of answering",): "The other class: how well its answering fits the questions meant to be answerable.",
    ("Macro F1",): "The mean of the F1 scores of declining and of answering: neither class counts for more.",
    ("Balanced accuracy",): "The mean of two shares: of the answerable questions answered, of the unanswerable ones declined. "
    ".5 is what declining by chance gives.",
    ("Matthews correlation",): "The correlation of what was meant and what was done, from −1 to 1. 0 is chance.",
    ("Abstention rate",): "Of all scored responses, the share that declined.",
    ("Audacity of answers",): "Of the questions that it answered, the share meant to be answerable: the second reading of the "
    "paper's audacity.",
    ("F1 of precisions",): "The harmonic mean of timidity and audacity of answers, by that second reading.",
    ("unscored",): "Responses of which nobody can say what they did: cut off, blocked, off topic. They count neither for nor "
    "against the model.",
    ("AUROC",): "Of two responses that differ, how often the sign puts them in the right order: of an unanswerable and an "
    "answerable question, or, where the truth is known, of a wrong and a right answer. 1: always; .5: chance; below .5 it points "
    "the wrong way.",
    ("ECE",): "Expected calibration error: how far confidence and the share that is right lie apart, on average. 0 is best.",
    ("Brier",): "The mean squared error of a confidence. 0 is best.",
    ("NLL",): "The mean negative logarithm of the confidence in what was so: how surprised one would be. 0 is best.",
    ("AURC", "E-AURC"): "The mean share of errors when only the surest responses are kept, over all shares kept; E-AURC: less "
    "the best that could be. 0 is best.",
    ("Youden's J",): "The share declined without the picture less the share declined with it. 1: it declines exactly where the "
    "evidence is gone. 0: the picture makes no difference.",
    ("p (Holm)",): "Were there no difference, how often chance alone would show one so large; made stricter for the number of "
    "comparisons.",
    ("infit",): "How a model's right and wrong responses scatter about what its ability makes likely. 1: as likely as the Rasch "
    "model has it. Above 1: wrong on easy questions and right on hard ones oftener than that. Below 1: less often.",
    ("detectable",): "The least true difference that so many images show in four comparisons of five.",
}  # fmt: skip
"""The names of a figure, as they stand on the page, and what it means."""

_ADDRESS = {name: "def-" + re.sub(r"\W+", "-", names[0].lower()).strip("-") for names in _MEANINGS for name in names}


def term(name: str) -> Child:
    """The name of a figure, as a link to what it means.

    Args:
        name: As it stands on the page.

    Returns:
        A link; the name itself where no meaning is known.
    """
    return el("a", name, href=f"#{_ADDRESS[name]}", class_="term") if name in _ADDRESS else name


def glossary(parts: Iterable[Element]) -> Element | None:
    """What the figures of a page mean.

    Args:
        parts: Of the page, with its terms.

    Returns:
        The section that every `term` in them leads to; None if there is none.
    """
    used = {link.get("href") for part in parts for link in part.iter("a") if link.get("class") == "term"}
    if not used:
        return None
    pairs = [
        part
        for names, words in _MEANINGS.items()
        if f"#{_ADDRESS[names[0]]}" in used
        for part in (el("dt", ", ".join(names), id=_ADDRESS[names[0]]), el("dd", words))
    ]
    return el("section", el("h2", "What the figures mean"), el("dl", pairs, class_="facts meanings"), id="meanings")
