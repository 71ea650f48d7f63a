"""The conventional metrics against scikit-learn, scipy, brute force and figures worked out by hand."""

from __future__ import annotations

import itertools
import math
import re
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from sklearn.calibration import calibration_curve
from sklearn.metrics import (
    accuracy_score,
    brier_score_loss,
    f1_score,
    log_loss,
    precision_score,
    recall_score,
)

from unsaf_async.score.metrics import (
    NLL_CLIP,
    PopeCounts,
    auroc,
    brier,
    ece,
    holm,
    nll,
    normal_answer,
    official_pope_counts,
    pope_counts,
    reliability,
    risk_coverage,
    vqa_accuracy,
    vqa_accuracy_contained,
    yes_no,
)

if TYPE_CHECKING:
    from random import Random

FAST = settings(max_examples=60, deadline=None)
FEW_VALUES = st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.8, 0.9, 1.0])
"""Confidences as models state them: few values, many ties."""


def judged(
    score: st.SearchStrategy[float], min_size: int = 1, max_size: int = 40
) -> st.SearchStrategy[list[tuple[float, bool]]]:
    return st.lists(st.tuples(score, st.booleans()), min_size=min_size, max_size=max_size)


def apart(pairs: list[tuple[float, bool]]) -> tuple[np.ndarray, np.ndarray]:
    return np.array([score for score, _ in pairs], dtype=float), np.array([right for _, right in pairs], dtype=bool)


# --- discrimination -----------------------------------------------------------------------------------------------


@FAST
@given(judged(FEW_VALUES))
def test_auroc_is_the_share_of_pairs_in_order_with_ties_half(pairs: list[tuple[float, bool]]) -> None:
    scores, positive = apart(pairs)
    won = [(p > n) + (p == n) / 2 for p in scores[positive] for n in scores[~positive]]
    assert auroc(scores, positive) == (pytest.approx(np.mean(won)) if won else None)


@FAST
@given(judged(FEW_VALUES))
def test_auroc_mirrors_when_the_scores_or_the_classes_are_turned_round(pairs: list[tuple[float, bool]]) -> None:
    scores, positive = apart(pairs)
    value = auroc(scores, positive)
    assume(value is not None)
    assert auroc(-scores, positive) == pytest.approx(1 - value)
    assert auroc(scores, ~positive) == pytest.approx(1 - value)
    assert auroc(np.exp(3 * scores), positive) == pytest.approx(value)


@pytest.mark.parametrize(("scores", "positive"), [([], []), ([1, 2], [True, True]), ([1, 2], [0, 0])])
def test_auroc_is_undefined_without_both_classes(scores: list[float], positive: list[bool]) -> None:
    assert auroc(scores, positive) is None


# --- calibration --------------------------------------------------------------------------------------------------


@FAST
@given(st.lists(st.integers(0, 1000), unique=True, min_size=1, max_size=60), st.integers(1, 20), st.randoms())
def test_without_ties_the_diagram_is_that_of_scikit_learn(values: list[int], bins: int, rng: Random) -> None:
    # Where an edge falls upon an item, scikit-learn's rounding decides its bin.
    assume(math.gcd(len(values) - 1, bins) == 1)
    confidence, correct = np.array(values) / 1000, np.array([rng.random() < 0.5 for _ in values])
    accuracy, mean = calibration_curve(correct, confidence, n_bins=bins, strategy="quantile", pos_label=True)
    ours = reliability(confidence, correct, bins)
    assert [each.accuracy for each in ours] == pytest.approx(list(accuracy))
    assert [each.confidence_mean for each in ours] == pytest.approx(list(mean))
    assert sum(each.n for each in ours) == len(values)


def test_bins_have_equal_mass_where_no_confidences_tie() -> None:
    confidence = np.random.default_rng(0).permutation(np.linspace(0.01, 0.99, 150))
    assert [each.n for each in reliability(confidence, confidence > 0.5, 15)] == [10] * 15


def test_equal_confidences_share_a_bin_and_few_items_have_one_each() -> None:
    assert [each.n for each in reliability([0.9] * 7 + [0.2], [1] * 8, 4)] == [1, 7]
    # The middle five have the mean rank 4 of 0 to 9: the lower half.
    assert [each.n for each in reliability([0.1] * 2 + [0.5] * 5 + [0.9] * 3, [1] * 10, 2)] == [7, 3]
    assert [each.n for each in reliability([0.3, 0.1, 0.2], [1, 0, 1], 15)] == [1, 1, 1]


def test_ece_by_hand() -> None:
    # Two bins: (.2, .4) with accuracy 1/2, and (.8, 1) with accuracy 1/2.
    assert ece([0.2, 0.4, 0.8, 1.0], [0, 1, 1, 0], bins=2) == pytest.approx((0.2 + 0.4) / 2)
    assert ece([1.0, 1.0, 0.0], [1, 1, 0]) == 0
    assert ece([1.0, 1.0], [0, 0]) == 1


@FAST
@given(judged(FEW_VALUES), st.randoms())
def test_calibration_lies_in_its_bounds_and_does_not_depend_on_order(
    pairs: list[tuple[float, bool]], rng: Random
) -> None:
    confidence, correct = apart(pairs)
    value = ece(confidence, correct)
    assert value is not None
    # One bin is the coarsest: merging bins can only cancel errors.
    assert abs(correct.mean() - confidence.mean()) - 1e-12 <= value <= 1
    order = rng.sample(range(len(pairs)), len(pairs))
    assert ece(confidence[order], correct[order]) == pytest.approx(value)


@FAST
@given(judged(st.floats(NLL_CLIP, 1 - NLL_CLIP)))
def test_brier_and_likelihood_are_those_of_scikit_learn(pairs: list[tuple[float, bool]]) -> None:
    confidence, correct = apart(pairs)
    assert brier(confidence, correct) == pytest.approx(brier_score_loss(correct, confidence, labels=[False, True]))
    assert nll(confidence, correct) == pytest.approx(log_loss(correct, confidence, labels=[False, True]))


def test_a_false_certainty_costs_the_clip_and_not_infinity() -> None:
    assert nll([1.0], [0]) == pytest.approx(-math.log(NLL_CLIP))
    assert nll([0.0], [1]) == pytest.approx(-math.log(NLL_CLIP))
    assert nll([1.0], [1]) == pytest.approx(NLL_CLIP, rel=1e-3)


def test_nothing_to_measure_is_no_figure() -> None:
    assert reliability([], []) == []
    assert (ece([], []), brier([], []), nll([], []), risk_coverage([], [])) == (None,) * 4


@pytest.mark.parametrize("metric", [auroc, ece, brier, nll, risk_coverage])
def test_what_cannot_be_meant_is_refused(metric: object) -> None:
    for first, second in ([0.5], [1, 0]), ([math.nan], [1]), ([0.5, math.inf], [1, 0]), ([[0.5]], [[1]]):
        with pytest.raises(ValueError, match=r"one length|finite"):
            metric(first, second)  # type: ignore[operator]


@pytest.mark.parametrize("metric", [ece, brier, nll])
def test_a_confidence_beyond_1_is_refused(metric: object) -> None:
    with pytest.raises(ValueError, match=r"\[0, 1\]"):
        metric([85.0], [1])  # type: ignore[operator]


# --- selective risk -----------------------------------------------------------------------------------------------


def plain_aurc(right: list[float] | tuple[float, ...]) -> float:
    """AURC of items in their order, written out."""
    return sum(sum(1 - each for each in right[:k]) / k for k in range(1, len(right) + 1)) / len(right)


def test_the_curve_by_hand() -> None:
    found = risk_coverage([0.9, 0.8, 0.7, 0.6], [1, 0, 1, 1])
    assert found is not None
    assert list(found.coverage) == [0.25, 0.5, 0.75, 1]
    assert list(found.risk) == pytest.approx([0, 1 / 2, 1 / 3, 1 / 4])
    assert found.aurc == pytest.approx((1 / 2 + 1 / 3 + 1 / 4) / 4)
    assert found.optimal_aurc == pytest.approx(1 / 16)
    assert found.e_aurc == pytest.approx((1 / 2 + 1 / 3) / 4)


@FAST
@given(judged(FEW_VALUES, max_size=6))
def test_within_ties_the_curve_is_the_mean_over_all_orders(pairs: list[tuple[float, bool]]) -> None:
    confidence, correct = apart(pairs)
    orders = [o for o in itertools.permutations(pairs) if [c for c, _ in o] == sorted((c for c, _ in o), reverse=True)]
    found = risk_coverage(confidence, correct)
    assert found is not None
    assert found.aurc == pytest.approx(np.mean([plain_aurc([right for _, right in order]) for order in orders]))


@FAST
@given(st.lists(st.sampled_from([0.0, 0.3, 0.6, 0.9, 1.0]), min_size=1, max_size=6))
def test_no_order_is_better_than_the_optimum(right: list[float]) -> None:
    found = risk_coverage([1.0] * len(right), right)
    assert found is not None
    assert found.optimal_aurc == pytest.approx(min(map(plain_aurc, itertools.permutations(right))))
    best = risk_coverage(right, right)
    assert best is not None
    assert best.e_aurc == 0


def test_the_papers_approximation_nears_the_exact_optimum() -> None:
    correct = np.random.default_rng(0).random(20_000) < 0.7
    found = risk_coverage(np.zeros(20_000), correct)
    error = 1 - correct.mean()
    assert found is not None
    assert found.optimal_aurc == pytest.approx(error + (1 - error) * math.log(1 - error), abs=1e-4)
    # Without any order the risk is the error rate at every coverage.
    assert found.risk == pytest.approx(np.full(20_000, error))


@FAST
@given(judged(FEW_VALUES))
def test_the_area_lies_in_its_bounds_and_follows_the_order_alone(pairs: list[tuple[float, bool]]) -> None:
    confidence, correct = apart(pairs)
    found, stretched = risk_coverage(confidence, correct), risk_coverage(100 * confidence - 7, correct)
    back = risk_coverage(confidence[::-1], correct[::-1])
    assert found is not None
    assert stretched is not None
    assert back is not None
    assert 0 <= found.optimal_aurc <= found.aurc + 1e-12 <= 1 + 1e-9
    assert found.risk[-1] == pytest.approx(1 - correct.mean())
    assert list(stretched.risk) == pytest.approx(list(found.risk)) == list(back.risk)


# --- free answers -------------------------------------------------------------------------------------------------


def published(answer: str, answers: list[str]) -> float:
    """The formula as it is published: over all subsets that leave one annotator out, min(matches / 3, 1), averaged."""
    subsets = [answers[:out] + answers[out + 1 :] for out in range(len(answers))]
    return sum(min(subset.count(answer) / 3, 1) for subset in subsets) / len(subsets)


@pytest.mark.parametrize(("matches", "accuracy"), [(0, 0), (1, 0.3), (2, 0.6), (3, 0.9), (4, 1), (10, 1)])
def test_ten_annotators_give_the_well_known_steps(matches: int, accuracy: float) -> None:
    assert vqa_accuracy("red", ["red"] * matches + ["blue"] * (10 - matches)) == pytest.approx(accuracy)


@FAST
@given(
    st.lists(st.sampled_from(["red", "blue", "2", "yes"]), min_size=4, max_size=12), st.sampled_from(["red", "2", "no"])
)
def test_vqa_accuracy_is_the_published_formula(answers: list[str], answer: str) -> None:
    assert vqa_accuracy(answer, answers) == pytest.approx(published(answer, answers))


@pytest.mark.parametrize("answers", [["red"], ["blue", "red"], ["blue", "green", "red"]])
def test_with_few_references_any_of_them_will_do(answers: list[str]) -> None:
    assert vqa_accuracy("Red.", answers) == 1
    assert vqa_accuracy("pink", answers) == 0
    # Why not the formula: even three that agree could not reach 1.
    assert published("red", ["red"] * len(answers)) < 1


@pytest.mark.parametrize("answer", ["", "  \n"])
@pytest.mark.parametrize("answers", [["a"] * 10, ["."], [""], ["a", "the"]])
def test_an_empty_answer_is_not_right_because_the_reference_is_an_article(answer: str, answers: list[str]) -> None:
    assert vqa_accuracy(answer, answers) == vqa_accuracy_contained(answer, answers) == 0


def test_a_mark_is_right_where_it_is_the_reference() -> None:
    assert vqa_accuracy("?", ["?"]) == vqa_accuracy("?", ["?"] * 10) == 1
    assert vqa_accuracy("?", ["!"]) == vqa_accuracy("?", ["!"] * 10) == 0


def test_without_references_there_is_no_accuracy() -> None:
    assert vqa_accuracy("red", []) is None
    assert vqa_accuracy_contained("red", []) is None


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("The Red Car.", "red car"),
        ("an apple", "apple"),
        ("two", "2"),
        ("None", "0"),
        ("ten dogs", "10 dogs"),
        ("3.5", "3.5"),
        ("at 2:50 p.m.", "at 2:50 pm"),
        ("100,978", "100978"),
        ("red, white", "red white"),
        ("black-and-white", "black and white"),
        ("girl's", "girl's"),
        ("dont", "don't"),
        ("isnt", "isn't"),
        ("it’s", "it's"),
        ("whats", "what's"),
        ("well", "well"),
        ("  many\n spaces\t", "many spaces"),
        ("A", "a"),
        ("", ""),
        ("?!", ""),
    ],
)
def test_answers_are_brought_to_the_form_of_the_vqa_evaluation(text: str, normal: str) -> None:
    assert normal_answer(text) == normal


@FAST
@given(st.text(max_size=30) | st.text(alphabet="aone .,5'-the", max_size=30))
def test_the_normal_form_is_its_own(text: str) -> None:
    once = normal_answer(text)
    assert normal_answer(once) == once
    assert not re.search(r"\s\s|[,!?;\"()]", once)


@pytest.mark.parametrize(
    ("answer", "answers", "exact", "contained"),
    [
        ("The car is red.", ["red"] * 10, 0, 1),
        ("The car is red.", ["red"] * 2 + ["dark red"] * 8, 0, 0.6),
        ("It is dark red.", ["red"] * 2 + ["dark red"] * 8, 0, 1),
        ("The car is reddish.", ["red"], 0, 0),
        ("It is not red.", ["red"], 0, 0),
        ("It isn't a red car, it is a blue one.", ["red car", "red"], 0, 0),
        ("There are three dogs.", ["3"] * 10, 0, 1),
        ("Yes, there is a dog.", ["yes"] * 10, 0, 1),
        ("There is no dog.", ["no"], 0, 0),
        ("I know.", ["no"], 0, 0),
        ("No.", ["no"] * 9 + ["yes"], 1, 1),
        ("Yes and no.", ["no"], 0, 0),
        ("", ["a"], 0, 0),
        ("It costs $5.", ["$5"], 0, 1),
        ("It is 12.5 cm long.", ["12"], 0, 0),
        ("It is 12.5 cm long.", ["5"], 0, 0),
        ("It is 12.5 cm long.", ["12.5"], 0, 1),
        ("It costs $5.99.", ["$5"], 0, 0),
        ("It costs $.99.", ["99"], 0, 0),
        ("It is 3:30.", ["3"], 0, 0),
        ("It is 3:30 now.", ["30"], 0, 0),
        ("It is 3:30.", ["3:30"], 0, 1),
        ("Time: 3", ["3"], 0, 1),
        ("There are 3: two red and one blue.", ["3"], 0, 1),
    ],
)
def test_an_answer_in_a_sentence_counts_in_the_lenient_figure_only(
    answer: str, answers: list[str], exact: float, contained: float
) -> None:
    assert vqa_accuracy(answer, answers) == pytest.approx(exact)
    assert vqa_accuracy_contained(answer, answers) == pytest.approx(contained)


@FAST
@given(
    st.text(alphabet="no yesrd2.,'", max_size=12),
    st.lists(st.text(alphabet="no yesrd2.,'", max_size=6), min_size=1, max_size=12),
)
def test_the_lenient_figure_is_never_below_the_exact_one(answer: str, answers: list[str]) -> None:
    exact, lenient = vqa_accuracy(answer, answers), vqa_accuracy_contained(answer, answers)
    assert exact is not None
    assert lenient is not None
    assert 0 <= exact <= lenient <= 1


# --- yes and no ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("response", "said"),
    [
        ("Yes", "yes"),
        ("yes.", "yes"),
        ("Yes, there is a dog on the sofa.", "yes"),
        ("**Yes**", "yes"),
        ("I would say yes.", "yes"),
        ("Yeah, two of them.", "yes"),
        ('{"answer": "yes"}', "yes"),
        ("Yes, and there is no doubt about it.", "yes"),
        ("No", "no"),
        ("'No'", "no"),
        ("NO!", "no"),
        ("No, there is no dog.", "no"),
        ("No there isn't", "no"),
        ("No. There is only a cat.", "no"),
        ("No—the sofa is empty.", "no"),
        ("No.\n3 cats are there.", "no"),
        ("No\nThe sofa is empty.", "no"),
        ("Nope.", "no"),
        ("The answer is no.", "no"),
        ("The answer is no, because the sofa is empty", "no"),
        ("I know.", None),
        ("Not sure.", None),
        ("I am not sure.", None),
        ("I cannot tell.", None),
        ("No idea.", None),
        ("No. 5 is the winner", None),
        ("No one is there.", None),
        ("A no-go area", None),
        ("There is a dog.", None),
        ("There is no dog.", None),
        ("No dog is visible.", None),
        ("Yes and no.", None),
        ("I can say neither yes nor no.", None),
        ("Yesterday", None),
        ("Bayes", None),
        ("", None),
    ],
)
def test_a_response_says_yes_or_no_or_neither(response: str, said: str | None) -> None:
    assert yes_no(response) == said


@FAST
@given(st.text(max_size=40), st.sampled_from(["Yes", "No"]))
def test_only_the_words_themselves_make_an_answer(rest: str, word: str) -> None:
    assume(not re.search(r"(?i)yes|yeah|yep|yup|no|nah", rest))
    assert yes_no(rest) is None
    assert yes_no(f"{word}.\n{rest}") == yes_no(f"{word}, {rest}") == word.lower()


def test_the_counts_and_ratios_by_hand() -> None:
    labels = ["yes"] * 6 + ["no"] * 4
    said = ["yes", "yes", "yes", "no", None, "abstained", "yes", "no", "no", None]
    counts = pope_counts(labels, said)  # type: ignore[arg-type]
    assert counts == PopeCounts(tp=3, fp=1, tn=2, fn=1, neither=2, abstained=1)
    assert (counts.asked, counts.answered) == (10, 7)
    assert counts.accuracy == 0.5
    assert counts.accuracy_answered == pytest.approx(5 / 7)
    assert (counts.precision, counts.recall, counts.f1) == (0.75, 0.75, 0.75)
    assert counts.yes_ratio == pytest.approx(4 / 7)


def test_without_answers_no_ratio_is_defined() -> None:
    nothing = PopeCounts()
    assert {nothing.accuracy, nothing.precision, nothing.recall, nothing.f1, nothing.yes_ratio} == {None}
    silent = pope_counts(["yes", "no"], ["abstained", None])
    assert (silent.accuracy, silent.accuracy_answered, silent.yes_ratio) == (0, None, None)


@FAST
@given(st.lists(st.tuples(st.sampled_from(["yes", "no"]), st.sampled_from(["yes", "no"])), min_size=1, max_size=30))
def test_the_ratios_are_those_of_scikit_learn(pairs: list[tuple[str, str]]) -> None:
    labels, said = [label for label, _ in pairs], [word for _, word in pairs]
    counts = pope_counts(labels, said)  # type: ignore[arg-type]
    assert counts.accuracy == counts.accuracy_answered == pytest.approx(accuracy_score(labels, said))
    for ours, theirs in (counts.precision, precision_score), (counts.recall, recall_score), (counts.f1, f1_score):
        if ours is not None:
            assert ours == pytest.approx(theirs(labels, said, pos_label="yes"))


def test_the_official_rule_reads_a_no_into_doubt_and_a_yes_into_everything_else() -> None:
    texts = [
        "Yes, there is.",
        "No, there is not.",
        "I am not sure.",
        "Unclear.",
        "There is no dog.",
        "no",
        "NO",
        "I know.",
        "Maybe. No it is not.",
    ]
    counts = official_pope_counts(["yes"] * len(texts), texts)
    # In turn: yes, no, no, yes, no, no, yes, yes, yes.
    assert counts == PopeCounts(tp=5, fn=4)
    ours = pope_counts(["yes"] * len(texts), map(yes_no, texts))
    assert ours == PopeCounts(tp=1, fn=4, neither=4)


def test_unequal_lists_of_labels_and_answers_are_refused() -> None:
    with pytest.raises(ValueError, match="shorter"):
        pope_counts(["yes", "no"], ["yes"])


# --- several tests ---------------------------------------------------------------------------------------------------


def test_holm_by_hand() -> None:
    # Holm: smallest x 4, next x 3, ...; never below the one before.
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.6, 0.7]) == [1, 1]
    assert holm([]) == []


@FAST
@given(st.lists(st.floats(0, 1), max_size=12))
def test_holm_rejects_as_the_step_down_procedure_does(p_values: list[float]) -> None:
    """From the procedure: the smallest is held against alpha / m, the next against alpha / (m - 1), up to the first failure."""
    adjusted = holm(p_values)
    for alpha in 0.01, 0.05, 0.3:
        rejected: set[int] = set()
        for step, index in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
            if p_values[index] * (len(p_values) - step) > alpha:
                break
            rejected.add(index)
        assert {index for index, p in enumerate(adjusted) if p <= alpha} == rejected


@FAST
@given(st.lists(st.floats(0, 1), max_size=12))
def test_holm_never_makes_a_p_value_smaller(p_values: list[float]) -> None:
    adjusted = holm(p_values)
    assert all(p <= q <= 1 for p, q in zip(p_values, adjusted, strict=True))
    assert holm(p_values[::-1]) == adjusted[::-1]


@pytest.mark.parametrize("p", [math.nan, 1.5, -0.1])
def test_holm_refuses_what_is_no_probability(p: float) -> None:
    with pytest.raises(ValueError, match=r"NaN|\[0, 1\]"):
        holm([p, 0.5])
