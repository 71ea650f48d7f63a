"""Our readings of answers beside the official scripts themselves, run here: VQA's `vqaEval.py` and POPE's `evaluate.py`.

    git clone https://github.com/GT-Vision-Lab/VQA; git clone https://github.com/RUCAIBox/POPE
    python benchmarks/official_scripts.py --vqa VQA/PythonEvaluationTools/vqaEvaluation/vqaEval.py \\
        --pope POPE/evaluate.py [--texts FILE ...]

Texts: every string in the given JSON and JSONL files (real ones), and generated ones. Prints how many texts, accuracies and
POPE counts were compared, and how many differ; exit 1 if any does.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import random
import re
import sys
import tempfile
import warnings
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from unsaf_async.score.metrics import FEWEST_ANNOTATORS, official_pope_counts, vqa_accuracy
from unsaf_async.score.vqa_script import CONTRACTIONS, script_accuracy, script_form

if TYPE_CHECKING:
    from collections.abc import Iterator

WORDS = (
    *"red blue 1 2 10 3.5 1,000 5% $5 #1 & * ~ ^ : | one Two ten none ZERO a an the A The im Ive No not no Yes".split(),  # noqa: SIM905
    *("'", "''", "é", "ß", "中"),
    *CONTRACTIONS.keys(),
    *CONTRACTIONS.values(),
)
MARKS = "".join(map(chr, range(32, 127))) + "\n\t’“”–—…٣² "


def main() -> None:
    """Compares, and prints what came of it."""
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--vqa", type=Path, required=True)
    arguments.add_argument("--pope", type=Path, required=True)
    arguments.add_argument("--texts", type=Path, nargs="*", default=[])
    arguments.add_argument("--generated", type=int, default=200_000)
    given = arguments.parse_args()
    warnings.simplefilter("ignore")
    draw = random.Random(0)
    real = sorted({text for file in given.texts for text in strings(file)})
    texts = real + [generated(draw) for _ in range(given.generated)]
    print(f"{len(real)} real texts, {given.generated} generated")
    official = official_vqa(given.vqa)
    differing = [text for text in texts if official.form(text) != script_form(text)]
    print(f"VQA forms: {len(texts)} compared, {len(differing)} differ", *(repr(each[:80]) for each in differing[:3]))
    sets = [answer_set(draw, texts) for _ in range(given.generated // 4)]
    wrong = sum(abs(official.accuracy(*each) - (script_accuracy(*each) or 0)) > 1e-12 for each in sets)
    print(f"VQA accuracies to the letter: {len(sets)} compared, {wrong} differ")
    votes = [each for each in sets if len(each[1]) >= FEWEST_ANNOTATORS and len({one.strip() for one in each[1]}) > 1]
    ours = sum(abs(official.accuracy(*each) - (vqa_accuracy(*each) or 0)) > 1e-12 for each in votes)
    print(f"vqa_accuracy, where references differ: {len(votes)} compared, {ours} differ")
    batches = [pope_batch(draw, texts) for _ in range(2_000)]
    pope = sum(official_pope(given.pope, *each) != ours_of_pope(*each) for each in batches)
    print(f"POPE: {len(batches)} sets of {len(batches[0][0])} answers compared, {pope} differ")
    sys.exit(bool(differing or wrong or ours or pope))


def strings(file: Path) -> Iterator[str]:
    """Every string in a file of one JSON value, or of several in a row."""
    text, decoder, values = file.read_text("utf-8").strip(), json.JSONDecoder(), []
    while text:
        value, end = decoder.raw_decode(text)
        values.append(value)
        text = text[end:].lstrip()
    while values:
        value = values.pop()
        if isinstance(value, str):
            yield value
        elif isinstance(value, dict | list):
            values.extend(value.values() if isinstance(value, dict) else value)


def generated(draw: random.Random) -> str:
    """Words and marks, joined by spaces, marks and nothing."""
    pieces = []
    for _ in range(draw.randint(1, 8)):
        pieces.append(draw.choice(WORDS) if draw.random() < 0.6 else draw.choice(MARKS))
        pieces.append(draw.choice(["", " ", " ", " ", draw.choice(MARKS)]))
    # More full stops than the official script takes away.
    return "".join(pieces) + "." * draw.choice([0, 0, 0, 1, 40])


def answer_set(draw: random.Random, texts: list[str]) -> tuple[str, list[str]]:
    """An answer, and 1 to 12 references, of which many are the answer in other words."""
    own = draw.choice(texts)
    kin = [own, own.upper(), f"the {own}", f"{own}.", f" {own}\n", own.replace(",", ""), draw.choice(texts)]
    return own, [
        draw.choice(kin[: draw.choice([1, 3, len(kin)])]) for _ in range(draw.choice([1, 2, 3, 4, 10, 10, 12]))
    ]


def official_vqa(file: Path) -> SimpleNamespace:
    """VQA's script as functions. It is written for Python 2: only its two `print` statements are changed."""
    space: dict[str, Any] = {}
    source = re.sub(r'print ("[^"\n]*")', r"print(\1)", file.read_text("utf-8"))
    exec(compile(source, str(file), "exec"), space)  # the script under comparison

    def form(text: str) -> str:
        text = text.replace("\n", " ").replace("\t", " ").strip()
        return str(script.processDigitArticle(script.processPunctuation(text)))

    def accuracy(answer: str, answers: list[str]) -> float:
        question = {"answers": [{"answer_id": number, "answer": text} for number, text in enumerate(answers)]}
        truth = SimpleNamespace(getQuesIds=lambda: [1], qa={1: question | {"question_type": "", "answer_type": ""}})
        evaluation = space["VQAEval"](truth, SimpleNamespace(qa={1: {"answer": answer}}), n=20)
        with contextlib.redirect_stdout(io.StringIO()):
            evaluation.evaluate()
        return float(evaluation.evalQA[1]) / 100

    script = space["VQAEval"](SimpleNamespace(getQuesIds=list), None)
    return SimpleNamespace(form=form, accuracy=accuracy)


def pope_batch(draw: random.Random, texts: list[str]) -> tuple[list[str], list[str]]:
    """Labels and as many responses, with every cell of the table filled, as POPE's script divides by its sums."""
    responses = ["Yes.", "No.", "yes", "no"] + [draw.choice(texts) for _ in range(96)]
    return ["yes", "no", "no", "yes"] + [draw.choice(["yes", "no"]) for _ in range(96)], responses


def official_pope(file: Path, labels: list[str], responses: list[str]) -> dict[str, float]:
    """What POPE's script prints, run on files of these."""
    with tempfile.TemporaryDirectory() as folder:
        names = {"ans_file": Path(folder, "answers"), "label_file": Path(folder, "labels")}
        names["ans_file"].write_text("".join(json.dumps({"answer": each}) + "\n" for each in responses), "utf-8")
        names["label_file"].write_text("".join(json.dumps({"label": each}) + "\n" for each in labels), "utf-8")
        source = file.read_text("utf-8")
        for name, path in names.items():
            source = source.replace(f"{name} = ''", f"{name} = {str(path)!r}")
        space: dict[str, Any] = {}
        with contextlib.redirect_stdout(io.StringIO()):
            exec(compile(source, str(file), "exec"), space)  # the script under comparison
    return {name: space[name] for name in ("TP", "FP", "TN", "FN", "acc", "precision", "recall", "f1", "yes_ratio")}


def ours_of_pope(labels: list[Any], responses: list[str]) -> dict[str, float | None]:
    """The same figures by ours; F1 to the last digit as the official script rounds it."""
    counts = official_pope_counts(labels, responses)
    precision, recall = counts.precision or 0, counts.recall or 0
    f1 = 2 * precision * recall / (precision + recall)
    assert counts.f1 is not None
    assert abs(counts.f1 - f1) < 1e-12
    return {
        "TP": counts.tp,
        "FP": counts.fp,
        "TN": counts.tn,
        "FN": counts.fn,
        "acc": counts.accuracy,
        "precision": precision,
        "recall": recall,
        "f1": f1,
        "yes_ratio": counts.yes_ratio,
    }


if __name__ == "__main__":
    main()
