"""Runs to report on, made up so that everything a report can show is there."""

from __future__ import annotations

import json
import random
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from doubles import profile
from PIL import Image

from unsaf_async.records import (
    KINDS,
    Audit,
    CallRecord,
    Confidence,
    Control,
    Dropped,
    Examination,
    GivenQuestion,
    ImageRecord,
    Question,
    Sample,
    Support,
    TokenConfidence,
    Vote,
)
from unsaf_async.report.data import ReportRun
from unsaf_async.runs.findings import findings
from unsaf_async.runs.folder import Source, new_manifest
from unsaf_async.score.calibration import CalibrationFile, Confusion, Confusions, Verdicts
from unsaf_async.score.run_score import Accounts, Calls, Score, Tokens, score

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

HOSTILE = (
    "</script><script>document.title='broken'</script>",
    "</SCRIPT ><img src=x onerror=document.title='broken'>",
    "<!--<script>",
    "-->]]><svg onload=document.title='broken'>",
    "javascript:document.title='broken'",
    "\" onmouseover=\"document.title='broken'\" x='",
    "' autofocus onfocus=document.title='broken' '",
    "&lt;b&gt; &amp; &quot; &#x3c;",
    "{{constructor.constructor('document.title=1')()}} ${document.title} $policy $$",
    "right to left \u202e\u2066 <b> \u200f end",
    "line \u2028 paragraph \u2029 nul \x00 escape \x1b delete \x7f",
    "`${1}` \\u003cscript\\u003e \\",
    "half a pair \ud800 and none \uffff",
    'style="background:url(https://example.com/x)" <link rel=stylesheet href=//example.com>',
    "$x^2$ \\frac{1}{2} _not_ *math*",
)
"""What a model, a file name or a prompt may hold to break out of a page."""

CALL = CallRecord(role="answer", outcome="ok", latency_s=0.8, cost_usd=0.0004, input_tokens=900, output_tokens=12)


def picture(folder: Path, name: str, color: int, side: int = 64) -> ImageRecord:
    """A small picture in `folder`, and its record."""
    path = folder / name
    pixels = random.Random(color).randbytes(3 * side * side)
    image = Image.blend(Image.frombytes("RGB", (side, side), pixels), Image.new("RGB", (side, side), "white"), 0.8)
    image.paste(((color * 40) % 256, (color * 90) % 256, 128), (side // 4, side // 4, side // 2, side // 2))
    image.save(path, "PNG")
    digest = sha256(path.read_bytes()).hexdigest()
    return ImageRecord(id=name, path=str(path), bytes_sha256=digest, pixels_sha256=digest, width=side, height=side)


def question(number: int, chance: random.Random, *, rich: bool = True) -> Question:
    """The question of this number of an image: answerable and unanswerable in turns."""
    unanswerable = number % 2 == 1
    right = chance.random() < (0.65 if unanswerable else 0.85)
    abstained = right == unanswerable
    kind = KINDS[chance.randrange(len(KINDS))] if unanswerable else None
    sure = chance.betavariate(2, 3) if unanswerable else chance.betavariate(4, 2)
    beside = {}
    if rich:
        beside = {
            "votes": tuple(
                Vote(
                    judge=name, act="abstained" if abstained != (number == 5 and name == "b") else "answered", call=CALL
                )
                for name in "ab"
            ),
            "audits": (Audit(auditor="eye", answerable=not unanswerable or (number == 3 and sure < 0.4), call=CALL),),
            "token_confidence": TokenConfidence(mean_logprob=-1.2 * (1 - sure), min_logprob=-3 * (1 - sure), tokens=9),
            "stated": Confidence(value=round(sure, 1), call=CALL),
            "p_true": Confidence(value=None, call=CALL, why="it said neither"),
            "samples": (Sample(text="Perhaps a cat.", act="answered", call=CALL),),
            "given": GivenQuestion(text="?", intended="answerable", id="q-7", answers=("a cat", "cat"))
            if number == 2
            else None,
        }
        if not abstained and not unanswerable:
            beside["support"] = Support(judge="eye", supported=chance.random() < sure, call=CALL)
        if number in (0, 4):
            act = "abstained" if abstained or sure < 0.6 else "answered"
            kind_of_control = "blank" if number else "other"
            beside["control"] = Control(kind=kind_of_control, response="Gone.", call=CALL, act=act, decided_by="rule")
    return Question(
        text=f"What is number {number} of the things that one may see here?",
        intended="unanswerable" if unanswerable else "answerable",
        kind=kind,
        response="It cannot be told from this image." if abstained else "It is a cat, as far as can be seen.",
        answer=CALL,
        act="abstained" if abstained else "answered",
        decided_by=("rule", "judge", "panel")[number % 3],
        **beside,
    )


def examinations(
    folder: Path, images: int, questions: int = 6, *, seed: int = 0, rich: bool = True, hostile: bool = False
) -> list[Examination]:
    """Examinations of pictures in `folder`. hostile: ids, questions and responses hold `HOSTILE` in turns."""
    chance = random.Random(seed)
    found = []
    for place in range(images):
        image = picture(folder, f"image-{place:04}.png", place)
        asked = [question(number, chance, rich=rich) for number in range(questions)]
        if hostile:
            evil = HOSTILE[place % len(HOSTILE)]
            image = image.model_copy(update={"id": f"{place} {evil}"})
            asked = [each.model_copy(update={"text": evil, "response": evil}) for each in asked]
        if place % 3 == 0:
            asked[-1] = asked[-1].model_copy(
                update={
                    "act": None,
                    "decided_by": None,
                    "unscored": "truncated",
                    "answer": CALL.model_copy(update={"outcome": "truncated", "detail": "stopped at 16 tokens"}),
                }
            )
        dropped = (Dropped(text="What?", intended="answerable", reason="duplicate"),) if place % 3 == 0 else ()
        found.append(Examination(image=image, questions=tuple(asked), dropped=dropped, missing=place % 2))
    return found


ANSWERS = ("a cat", "a dog", "two", "red")


def given_examinations(folder: Path, images: int, questions: int = 6, *, yes_no: bool = False) -> list[Examination]:
    """Examinations with a labelled set's questions: some are wrong, and no yes/no question is unanswerable."""
    chance = random.Random(5)
    found = []
    for place in range(images):
        asked = []
        for number in range(questions):
            unanswerable = not yes_no and number % 3 == 2
            answer = ("yes", "no")[number % 2] if yes_no else ANSWERS[(place + number) % len(ANSWERS)]
            right = chance.random() < 0.7
            said = answer if right else {"yes": "No.", "no": "Yes."}.get(answer, "a hat")
            abstained = unanswerable and right
            asked.append(
                Question(
                    text=f"Is it so, or what is thing {number}?",
                    intended="unanswerable" if unanswerable else "answerable",
                    kind="hidden" if unanswerable else None,
                    response="It cannot be told." if abstained else said,
                    answer=CALL,
                    act="abstained" if abstained else "answered",
                    decided_by="rule",
                    given=GivenQuestion(
                        text="?",
                        intended="unanswerable" if unanswerable else "answerable",
                        id=f"{place}-{number}",
                        answers=() if unanswerable else (answer,) if yes_no else (answer, answer, "it"),
                        category="" if unanswerable else ("what", "how many")[number % 2],
                    ),
                    token_confidence=TokenConfidence(
                        mean_logprob=-chance.random() * (0.5 if right else 2), min_logprob=-3, tokens=4
                    ),
                )
            )
        found.append(Examination(image=picture(folder, f"image-{place:04}.png", place), questions=tuple(asked)))
    return found


def labelled_run(
    path: Path, examined: Sequence[Examination], *, name: str = "labelled-model", yes_no: bool = False
) -> ReportRun:
    """A run with a labelled set's questions, of which some rows are left out."""
    source = Source(
        kind="labelled", name="set.jsonl", path="/sets/set.jsonl", format="pope" if yes_no else "jsonl", yes_no=yes_no,
        skipped={"the image is missing": 3},
    )  # fmt: skip
    return report_run(path, examined, name=name, source=source, per_label=None)


def checked(audited: str = "eye") -> dict[str, Any]:
    """What a manifest says of a run in which everything was checked."""
    said = Confusion(answered=Verdicts(answered=50, abstained=2), abstained=Verdicts(abstained=38, answered=4))
    calibration = CalibrationFile(
        judge="a + b",
        prompt_sha256="2" * 64,
        created="2026-01-01T00:00:00+00:00",
        data="people.jsonl",
        confusions=Confusions(overall=said, by_decider={"judge": said, "rule": said}, by_group={}),
    )
    others = {each: profile(name=each, model=f"{each}-model") for each in ("a", "b", audited)}
    return {
        "judges": ("a", "b"),
        "auditors": (audited,),
        "others": others,
        "grounded": True,
        "confidence": True,
        "samples": 1,
        "calibration": calibration,
        "controls": ("blank", "other"),
    }


def report_run(
    path: Path,
    examined: Sequence[Examination],
    *,
    name: str = "made-up",
    journal: bool = True,
    ledger: bool = True,
    beside: bool = True,
    per_label: int | None = 3,
    **manifest: Any,
) -> ReportRun:
    """A run in the folder `path`, with its files on disk. (A journal cannot hold the half pair of `HOSTILE`.)

    beside: with what is measured beside the score.
    """
    path.mkdir(parents=True, exist_ok=True)
    fields = {
        "subject": profile(name=name),
        "judges": ("self",),
        "pack": "unsaf",
        "pack_version": "1",
        "pack_sha256": "0" * 64,
        "questions": 3,
        "seed": 0,
        "max_cost_usd": 5.0,
        "until_ci": None,
        "images": len(examined),
        "images_sha256": "1" * 64,
        "cache": "",
    }
    made = new_manifest(**fields | manifest)
    (path / "manifest.json").write_text(made.model_dump_json())
    if journal:
        (path / "journal.jsonl").write_text("".join(f"{each.model_dump_json()}\n" for each in examined), "utf-8")
    if ledger:
        write_ledger(path / "ledger.jsonl", 12 * len(examined))
    accounts = Accounts(
        calls=Calls(made=120, cached=4, retried=3, by_role={"ask": 20, "answer": 100, "judge": 0}),
        tokens=Tokens(input=90_000, cached_input=1_000, output=4_000, reasoning=0),
        cost_usd=0.42,
        wall_s=31.0,
    )
    result: Score = score(
        examined,
        questions_per_label=per_label,
        accounts=accounts,
        provider=name,
        judge="self",
        images_total=len(examined),
        resamples=500,
    )
    return ReportRun(path, made, examined, findings(result, made, examined) if beside else result)


def write_ledger(file: Path, calls: int, *, ended: bool = True, seed: int = 0) -> None:
    """A ledger of so many calls, each under way for a second or so."""
    chance = random.Random(seed)
    lines: list[tuple[float, dict]] = [(0.0, {"what": "session"})]
    for number in range(1, calls + 1):
        sent = number * 0.1
        role = "ask" if number % 12 == 1 else "answer"
        lines.append((sent, {"what": "sent", "n": number, "role": role, "worst": 10**7, "again": number % 30 == 0}))
        took = chance.lognormvariate(0, 0.4)
        lines.append((sent + took, {"what": "settled", "n": number, "cost": 400_000, "tokens": [900, 0, 0, 12, 0]}))
    lines.sort(key=lambda line: line[0])
    if ended:
        lines.append((lines[-1][0] + 0.1, {"what": "end"}))
    file.write_text("".join(json.dumps(line | {"t": 1_790_000_000 + t}) + "\n" for t, line in lines))
