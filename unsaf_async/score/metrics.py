"""The conventional metrics, for comparison with UnF1: discrimination, calibration, selective risk, answers.

Pure arithmetic over sequences and arrays; it knows no record of a run, no file and no provider. A figure that its data do not
define is None. Numbers handed in must be finite; NaN raises `ValueError`, as do sequences of different lengths.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from unsaf_async.records import Record
from unsaf_async.score.ratios import ratio
from unsaf_async.score.vqa_script import ARTICLES, CONTRACTIONS, NUMBERS, left_one_out, script_accuracy, script_form

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import ArrayLike, NDArray

YesNo = Literal["yes", "no", "abstained"]
"""What a response to a yes/no question came to."""

BINS = 15
"""Of a reliability diagram, and of the expected calibration error."""

NLL_CLIP = 1e-6
"""Confidences are kept this far from 0 and 1 for the log-likelihood: one false certainty then costs 13.8 nats, not infinity."""

FEWEST_ANNOTATORS = 4
"""From so many reference answers on, the VQA formula can reach 1: it leaves one out and wants three that agree."""

# --- discrimination -----------------------------------------------------------------------------------------------


def auroc(scores: ArrayLike, positive: ArrayLike) -> float | None:
    """The share of (positive, negative) pairs in which the positive has the higher score; ties count half.

    As scikit-learn's `roc_auc_score`, whose import would cost every run a second.

    Args:
        scores: Shape [n].
        positive: Shape [n]: whether the item is of the positive class.

    Returns:
        In [0, 1]; None if either class is missing.
    """
    values, is_positive = _two_classes(scores, positive)
    if is_positive.all() or not is_positive.any():
        return None
    negatives, positives = np.sort(values[~is_positive]), values[is_positive]
    won_twice = np.searchsorted(negatives, positives, "left") + np.searchsorted(negatives, positives, "right")
    return float(won_twice.sum() / (2 * len(negatives) * len(positives)))


# --- calibration --------------------------------------------------------------------------------------------------


class Bin(Record):
    """One bin of a reliability diagram."""

    confidence_mean: float
    """Of its items."""
    accuracy: float
    """The share of its items that are right."""
    n: int
    """Its items."""


def reliability(confidence: ArrayLike, correct: ArrayLike, bins: int = BINS) -> list[Bin]:
    """The reliability diagram with bins of equal mass.

    An item of rank r (0 to n - 1 by confidence) is in bin
    k = 1 ... bins if (k - 1) / bins < r / (n - 1) <= k / bins, and the least in the first. Equal confidences have their mean
    rank, so they share a bin whatever their order, and the masses are then unequal. With no more items than bins each distinct
    confidence has a bin to itself.

    Without ties these are the bins of scikit-learn's `calibration_curve(strategy="quantile")`. With ties that one may put all
    confidences below a frequent one into its bin: of seven times .9 and once .2, four bins become one.

    Args:
        confidence: Shape [n], in [0, 1].
        correct: Shape [n], in [0, 1]; a soft accuracy will do.
        bins: How many, >= 1.

    Returns:
        The bins that have items, by ascending confidence; [] without items.

    Raises:
        ValueError: For fewer than 1 bin.
    """
    sure, right = _unit_columns(confidence, correct)
    where = bin_numbers(sure, bins)
    return [
        Bin(confidence_mean=float(sure[inside].mean()), accuracy=float(right[inside].mean()), n=int(inside.sum()))
        for inside in (where == number for number in np.unique(where))
    ]


def bin_numbers(confidence: NDArray[np.float64], bins: int = BINS) -> NDArray[np.int64]:
    """The bin of each item in the diagram of `reliability`.

    Args:
        confidence: Shape [n], in [0, 1].
        bins: How many, >= 1.

    Returns:
        Shape [n], from 0; some numbers below `bins` may be missing.

    Raises:
        ValueError: For fewer than 1 bin.
    """
    if bins < 1:
        raise ValueError(f"{bins} bins; at least 1 is needed")
    _, block, sizes = np.unique(confidence, return_inverse=True, return_counts=True)
    # In whole numbers, since rounding must not move an item across an edge.
    twice_rank = (2 * np.cumsum(sizes) - sizes - 1)[block]
    return np.asarray(np.maximum(0, -(-bins * twice_rank // max(1, 2 * (len(confidence) - 1))) - 1))


def ece(confidence: ArrayLike, correct: ArrayLike, bins: int = BINS) -> float | None:
    """Expected calibration error: the mean of |accuracy - mean confidence| over the bins of `reliability`, by their items.

    Equal mass instead of equal width: models state few distinct confidences, nearly all of them
    high, and equal widths put nearly all items into one bin. Source: Naeini, Cooper & Hauskrecht, "Obtaining Well Calibrated
    Probabilities Using Bayesian Binning" (AAAI 2015); bins of equal mass: Nguyen & O'Connor (EMNLP 2015).

    Args:
        confidence: Shape [n], in [0, 1].
        correct: Shape [n], in [0, 1]; a soft accuracy will do.
        bins: How many, >= 1.

    Returns:
        In [0, 1], 0 best; None without items.
    """
    diagram = reliability(confidence, correct, bins)
    n = sum(each.n for each in diagram)
    return sum(each.n * abs(each.accuracy - each.confidence_mean) for each in diagram) / n if n else None


def brier(confidence: ArrayLike, correct: ArrayLike) -> float | None:
    """Brier score: the mean of (confidence - correct)² (Brier 1950, one class).

    Args:
        confidence: Shape [n], in [0, 1].
        correct: Shape [n], in [0, 1]; a soft accuracy will do.

    Returns:
        In [0, 1], 0 best; None without items.
    """
    sure, right = _unit_columns(confidence, correct)
    return float(np.mean((sure - right) ** 2)) if len(sure) else None


def nll(confidence: ArrayLike, correct: ArrayLike) -> float | None:
    """Mean negative log-likelihood: -[y ln c + (1 - y) ln(1 - c)], with the confidence c clipped to [NLL_CLIP, 1 - NLL_CLIP].

    Args:
        confidence: Shape [n], in [0, 1].
        correct: Shape [n], in [0, 1]; a soft accuracy will do.

    Returns:
        Nats, >= 0, 0 best; None without items.
    """
    sure, right = _unit_columns(confidence, correct)
    return float(np.mean(log_losses(sure, right))) if len(sure) else None


def log_losses(confidence: NDArray[np.float64], correct: NDArray[np.float64]) -> NDArray[np.float64]:
    """What `nll` is the mean of.

    Args:
        confidence: Shape [n], in [0, 1].
        correct: Shape [n], in [0, 1].

    Returns:
        Nats, shape [n].
    """
    clipped = np.clip(confidence, NLL_CLIP, 1 - NLL_CLIP)
    return np.asarray(-(correct * np.log(clipped) + (1 - correct) * np.log1p(-clipped)))


# --- selective risk -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class RiskCoverage:
    """The risk-coverage curve: what the error is among the items that the model is most sure of.

    coverage: [n], k / n for k = 1 ... n. risk: [n], the mean error of the k most confident items, in [0, 1].
    aurc: the mean of the risks. optimal_aurc: that of the best ordering. e_aurc: aurc - optimal_aurc, >= 0.
    """

    coverage: NDArray[np.float64]
    risk: NDArray[np.float64]
    aurc: float
    optimal_aurc: float
    e_aurc: float


def risk_coverage(confidence: ArrayLike, correct: ArrayLike) -> RiskCoverage | None:
    """The risk-coverage curve with its area.

    An item's error is 1 - correct. Items of equal confidence have no order: where k cuts through them, the risk is its
    expectation over all their orders, so the curve does not depend on how the data are sorted.

    Source: Geifman, Uziel & El-Yaniv, "Bias-Reduced Uncertainty Estimation for Deep Neural Classifiers" (ICLR 2019),
    <https://arxiv.org/abs/1805.08206>: AURC is the mean risk over the n thresholds and E-AURC = AURC - AURC*. For AURC* the
    paper approximates r + (1 - r) ln(1 - r), with r the error rate; here it is exact, the AURC of the ordering that puts
    correct items first.

    Args:
        confidence: Shape [n], on any scale.
        correct: Shape [n], in [0, 1]; a soft accuracy will do.

    Returns:
        None without items.
    """
    sure, right = columns(confidence, correct)
    _in_unit(right)
    if not len(sure):
        return None
    n = len(sure)
    coverage = np.arange(1, n + 1) / n
    risk = _risks(-sure, 1 - right)
    aurc, optimal = float(risk.mean()), float(_risks(1 - right, 1 - right).mean())
    # Rounding may pass the optimum by one unit in the last place.
    return RiskCoverage(coverage=coverage, risk=risk, aurc=aurc, optimal_aurc=optimal, e_aurc=max(0.0, aurc - optimal))


def _risks(key: NDArray[np.float64], error: NDArray[np.float64]) -> NDArray[np.float64]:
    """[n]: the expected mean error of the first k items by ascending `key`; within ties the sum of errors grows linearly."""
    _, block, sizes = np.unique(key, return_inverse=True, return_counts=True)
    ends = np.concatenate([[0], np.cumsum(sizes)])
    errors = np.concatenate([[0], np.cumsum(np.bincount(block, weights=error))])
    k = np.arange(1, len(key) + 1)
    expected: NDArray[np.float64] = np.interp(k, ends, errors) / k
    return expected


# --- free answers -------------------------------------------------------------------------------------------------


def vqa_accuracy(answer: str, answers: Sequence[str]) -> float | None:
    """VQA accuracy of an answer by its published formula.

    With 10 annotators it is the mean, over the 10 ways to leave one out, of min(m / 3, 1), where m is how
    many of the other 9 equal the answer; for n >= 4 annotators likewise. Texts are compared as `script_form`, which is what the
    official script makes of them. Below 4 the formula cannot reach 1 even if all agree (nothing can with 1), and such sets list
    accepted answers and no votes: there it is 1 if the answer equals any reference as `normal_answer`, and 0 otherwise.

    Source: Antol et al., "VQA" (ICCV 2015); Goyal et al. (CVPR 2017); <https://visualqa.org/evaluation.html>. One thing is as
    published and not as the official script has it: that one compares texts as they stand where all references are equal, so
    that "Red." is wrong against ten times "red". `script_accuracy` does so, too. What has an
    empty form, such as "" and the reference "a", is compared as the official script does it, so that "" is wrong against ten
    times "a".

    Args:
        answer: What the model answered.
        answers: The references, one an annotator.

    Returns:
        In [0, 1]; None without references.
    """
    votes = len(answers) >= FEWEST_ANNOTATORS
    form = script_form if votes else normal_answer
    own = form(answer)
    if not own and answers:
        return script_accuracy(answer, answers) if votes else float(answer.strip() in {*map(str.strip, answers)} - {""})
    return _soft([form(each) == own for each in answers])


def vqa_accuracy_contained(answer: str, answers: Sequence[str]) -> float | None:
    """VQA accuracy of the best reference that an answer contains.

    For models that answer in sentences: "The car is red." contains "red". A reference is contained if its words stand in the
    answer, whole and in order, both as `normal_answer`, and no "no", "not" or "n't" stands right before them; a number is not
    contained in a longer one ("12" in "12.5", "3" in "3:30"); "yes" and "no" are contained if `yes_no` reads them. Each contained
    reference gets its own `vqa_accuracy`, and the best one counts.

    Never below `vqa_accuracy`, and generous: who lists many things contains many references, and "far from red" contains "red".
    Report it as a separate figure, never under the name of the published one.

    Args:
        answer: What the model answered.
        answers: The references, one an annotator.

    Returns:
        In [0, 1]; None without references.
    """
    normal, polarity = normal_answer(answer), yes_no(answer)
    if not normal or not answers:
        return vqa_accuracy(answer, answers)
    references = [normal_answer(each) for each in answers]

    def contained(reference: str) -> bool:
        if reference == normal:
            return True
        if reference in ("yes", "no"):
            return reference == polarity
        return bool(reference) and any(
            not _NEGATED.search(normal[: match.start()])
            for match in re.finditer(rf"{_NOT_WITHIN_BEFORE}{re.escape(reference)}{_NOT_WITHIN_BEHIND}", normal)
        )

    scores = [_soft([other == each for other in references]) for each in sorted(set(references)) if contained(each)]
    return max(score for score in (*scores, vqa_accuracy(answer, answers)) if score is not None)


def normal_answer(text: str) -> str:
    """The form in which meanings are compared, after the rules of the VQA evaluation; idempotent.

    Lower case; full stops go unless a digit follows; commas between digits go; other punctuation becomes a space, except the
    apostrophe and the colon; number words up to ten become digits ("none" is 0); articles go; missing apostrophes of contractions
    come back ("dont" is "don't").

    Source: <https://visualqa.org/evaluation.html>. Here, too: typographic apostrophes count as plain ones, and an article stays
    where nothing else would remain (the answer "A" is a letter). What the official script makes of a text is `script_form`.

    Args:
        text: An answer or a reference.

    Returns:
        The normal form; "" for punctuation alone.
    """
    text = text.lower()
    if not text.isascii():
        text = text.translate(_PLAIN)
    if "," in text:
        text = _DIGIT_COMMA.sub("", text)
    if "." in text:
        text = _STOP.sub("", text)
    # Each of a million questions comes here: what is in ASCII takes the quicker way.
    spaced = text.translate(ASCII_PUNCTUATION) if text.isascii() else _PUNCTUATION.sub(" ", text)
    words = [NUMBERS.get(word, word) for word in spaced.split()]
    words = [word for word in words if word not in ARTICLES] or words
    return " ".join([_CONTRACTIONS.get(word, word) for word in words])


def _soft(matches: list[bool]) -> float | None:
    """The VQA formula; below `FEWEST_ANNOTATORS` whether anything matches."""
    if len(matches) < FEWEST_ANNOTATORS:
        return float(any(matches)) if matches else None
    return left_one_out(sum(matches), len(matches))


_PLAIN = str.maketrans("’‘ʼ“”", "'''\"\"")
_STOP = re.compile(r"\.(?!\d)")
_DIGIT_COMMA = re.compile(r"(?<=\d),(?=\d)")
_PUNCTUATION = re.compile(r"[^\w\s'.:]|_")
ASCII_PUNCTUATION = {number: " " for number in range(128) if _PUNCTUATION.match(chr(number))}
"""What becomes of each character of a text in ASCII: `str.translate` takes it."""
_NOT_WITHIN_BEFORE, _NOT_WITHIN_BEHIND = r"(?<![\w'])(?<!\d[.:])(?<!^\.)(?<!\s\.)", r"(?![\w']|[.:]\d)"
"""No part of a word or of a number stands before, and behind."""
_NEGATED = re.compile(r"(?:\b(?:no|not)|n't) $")
# Those of the official script, less what it breaks, and with three that it lacks.
_CONTRACTIONS = {short: whole for short, whole in CONTRACTIONS.items() if "'" in whole} | {
    "im": "i'm",
    "ive": "i've",
    "shes": "she's",
}


# --- yes and no ---------------------------------------------------------------------------------------------------


def yes_no(response: str) -> Literal["yes", "no"] | None:
    """Whether a response to a yes/no question says yes or no.

    Only the words count: "yes" (yeah, yep, yup) and "no" (nope, nah) standing as an answer, anywhere in the response. A "no" that
    belongs to a noun ("no dog", "no idea", "No. 5") or lies inside a word ("know") is none, nor is "not". Sentences are not
    interpreted: "There is a dog" and "There is no dog" are both None, since without the question neither is an answer, and
    reading only the negative ones would lean towards no. So "I am not sure" is None, too.

    POPE's official script differs: see `official_pope_counts`.

    Args:
        response: As written, without thoughts.

    Returns:
        None if it says neither, or both.
    """
    text = _MARKUP.sub(" ", response.lower().translate(_PLAIN))
    yes, no = _YES.search(text) is not None, _NO.search(text) is not None
    if yes == no:
        return None
    return "yes" if yes else "no"


_MARKUP = re.compile(r"[*_`#]+")
_YES = re.compile(r"(?<![\w-])(?<!\w')(?:yes|yeah|yep|yup)(?![\w-]|'\w)")
# Behind a "no" that answers come the end, punctuation, or the start of a clause; behind one that belongs to a noun, the noun.
_NO = re.compile(
    r"(?<![\w-])(?<!\w')(?:nope|nah|no(?=\s*$|[^\S\n]*\n|\s*(?!\.[^\S\n]*\d)[^\w\s'-]|'(?!\w)|\s+-|-\s|"
    r"\s+(?:there|it|this|that|these|those|they|he|she|i|we|you|the|an?|but|because|since|not|none|nothing|neither)\b))"
    r"(?![\w-]\b|'\w)"
)


class PopeCounts(Record):
    """Answers to yes/no questions by what is true; the positive class is yes (POPE: the object is there).

    Precision, recall, F1 and the share of yes are of the answers that say yes or no, as in POPE; None where empty. `accuracy`
    is of all that was asked: an answer that says neither, and an abstention, is not right.
    Source: Li et al., "Evaluating Object Hallucination in Large Vision-Language Models" (EMNLP 2023).
    """

    tp: int = 0
    """The truth is yes, the answer yes."""
    fp: int = 0
    """The truth is no, the answer yes: the hallucinated object."""
    tn: int = 0
    """The truth is no, the answer no."""
    fn: int = 0
    """The truth is yes, the answer no."""
    neither: int = 0
    """The answer is neither yes nor no, or both."""
    abstained: int = 0
    """Declined to answer."""

    @property
    def answered(self) -> int:
        """Answers that say yes or no."""
        return self.tp + self.fp + self.tn + self.fn

    @property
    def asked(self) -> int:
        """All questions."""
        return self.answered + self.neither + self.abstained

    @property
    def accuracy(self) -> float | None:
        """(TP + TN) / asked: what says neither, or abstains, counts as wrong."""
        return ratio(self.tp + self.tn, self.asked)

    @property
    def accuracy_answered(self) -> float | None:
        """(TP + TN) / answered: of the answers that say yes or no, the share that is right."""
        return ratio(self.tp + self.tn, self.answered)

    @property
    def precision(self) -> float | None:
        """TP / (TP + FP)."""
        return ratio(self.tp, self.tp + self.fp)

    @property
    def recall(self) -> float | None:
        """TP / (TP + FN)."""
        return ratio(self.tp, self.tp + self.fn)

    @property
    def f1(self) -> float | None:
        """2 TP / (2 TP + FP + FN)."""
        return ratio(2 * self.tp, 2 * self.tp + self.fp + self.fn)

    @property
    def yes_ratio(self) -> float | None:
        """(TP + FP) / answered: far above the share of true yes, the model affirms whatever it is asked."""
        return ratio(self.tp + self.fp, self.answered)


def pope_counts(labels: Iterable[Literal["yes", "no"]], answers: Iterable[YesNo | None]) -> PopeCounts:
    """The counts of the answers against what is true.

    Args:
        labels: What is true.
        answers: As many, in the same order; None for neither.

    Returns:
        The counts.

    Raises:
        ValueError: If there are not as many answers as labels.
    """
    cells = {("yes", "yes"): "tp", ("no", "yes"): "fp", ("no", "no"): "tn", ("yes", "no"): "fn"}
    counts = dict.fromkeys(PopeCounts.model_fields, 0)
    for label, word in zip(labels, answers, strict=True):
        counts["neither" if word is None else word if word == "abstained" else cells[label, word]] += 1
    return PopeCounts(**counts)


def official_pope_counts(labels: Iterable[Literal["yes", "no"]], texts: Iterable[str]) -> PopeCounts:
    """The counts by the rule of POPE's official `evaluate.py`, for comparison with published figures.

    The first sentence (up to the first "."), without commas, split at spaces: "No", "not" or "no" among the words is a no, all
    else a yes. So "I am not sure." is a no and "Unclear." a yes; nothing is ever `neither` or `abstained`. `yes_no` reads less
    into a text.
    Source: <https://github.com/RUCAIBox/POPE>.

    Args:
        labels: What is true.
        texts: As many responses, in the same order.

    Returns:
        The counts.
    """
    return pope_counts(labels, map(official_yes_no, texts))


def official_yes_no(text: str) -> Literal["yes", "no"]:
    """What a response says by the rule of POPE's official script: see `official_pope_counts`.

    Args:
        text: The response.

    Returns:
        It always says one or the other.
    """
    words = text.split(".")[0].replace(",", "").split(" ")
    return "no" if {"No", "not", "no"} & set(words) else "yes"


# --- several tests ------------------------------------------------------------------------------------------------


def holm(p_values: Sequence[float]) -> list[float]:
    """The p-values adjusted for their number by Holm's step-down method.

    The i-th smallest of m is multiplied by m - i + 1, is no smaller than those before it, and at most 1. Rejecting those below
    5 % keeps the chance of any false rejection below 5 %, whatever their dependence (Holm, Scand. J. Statist. 6, 1979).

    Args:
        p_values: Each in [0, 1].

    Returns:
        In the order given; [] for none.

    Raises:
        ValueError: For a p-value that is NaN or outside of [0, 1].
    """
    p = np.asarray(p_values, dtype=np.float64)
    if np.isnan(p).any():
        raise ValueError("a p-value is NaN")
    _in_unit(p)
    order = np.argsort(p, kind="stable")
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1)))
    return [float(each) for each in adjusted]


# --- what comes in ------------------------------------------------------------------------------------------------


def _two_classes(scores: ArrayLike, positive: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    values, is_positive = columns(scores, positive)
    return values, is_positive != 0


def columns(first: ArrayLike, second: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Two sequences as arrays.

    Args:
        first: Shape [n].
        second: Shape [n].

    Returns:
        Both, [n].

    Raises:
        ValueError: They are not of one length, or hold anything but finite numbers.
    """
    one, other = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    if one.ndim != 1 or one.shape != other.shape:
        raise ValueError(f"two sequences of one length are needed; their shapes are {one.shape} and {other.shape}")
    if not (np.isfinite(one).all() and np.isfinite(other).all()):
        raise ValueError("all values must be finite numbers")
    return one, other


def _unit_columns(first: ArrayLike, second: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    one, other = columns(first, second)
    _in_unit(one)
    _in_unit(other)
    return one, other


def _in_unit(values: NDArray[np.float64]) -> None:
    if len(values) and (values.min() < 0 or values.max() > 1):
        raise ValueError(f"values must lie in [0, 1]; these lie in [{values.min()}, {values.max()}]")
