"""From finished runs to a folder of teacher data: what is taken, what is left out, and all of it written or nothing."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections import Counter, defaultdict
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unsaf_async.distill.data import card, clusters, formats, mix, pairs
from unsaf_async.distill.data.cleaned import (
    capped,
    question_hits,
    read_excluded_questions,
    without_contradictions,
    without_duplicates,
)
from unsaf_async.distill.data.options import Export, Options
from unsaf_async.distill.data.rows import (
    ROW_KINDS,
    WRITING,
    Item,
    Row,
    RowKind,
    TakenRun,
    check_filters,
    good_items,
    model_name,
    private,
    rows_of,
    told_judging,
    told_model,
    told_prompts,
)
from unsaf_async.distill.data.terms import TERMS, is_commercial
from unsaf_async.errors import UserError
from unsaf_async.inputs.pixels import ImageError, encode
from unsaf_async.prompts import load_pack
from unsaf_async.runs.folder import read_manifest
from unsaf_async.runs.journal import read_journal
from unsaf_async.runs.prepare import policy_of
from unsaf_async.score.counts import cell

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from unsaf_async.distill.data.cleaned import ExcludedQuestion
    from unsaf_async.distill.data.clusters import Split
    from unsaf_async.distill.data.pairs import Pair, PairKind, PreferenceSummary
    from unsaf_async.records import ImageRecord


_WORKERS = min(4, os.cpu_count() or 1)
"""Images decoded at a time."""


def export(run_dirs: Sequence[Path], out: Path, options: Options | None = None) -> Export:
    """Write the runs in `run_dirs` as teacher data into the folder `out`, which must be new or empty. All or nothing.

    The same runs and options give the same bytes. Raises UserError for wrong options, a folder that is no run, a commercial
    teacher whose terms nobody accepted, and where nothing is left to teach; OSError where the disk fails.
    """
    options = options or Options()
    _check(options, out)
    formats.check(options.form, pairs=bool(options.preferences))
    runs = _runs(run_dirs, options)
    students = _students(runs, options)
    accepted = _accepted([*runs, *students], options)
    count = mix.token_counter(options.tokenizer)
    with _folder(out) as folder:
        pictures = folder / ".pictures"
        pictures.mkdir()
        found = _Making(options, runs, students, count, pictures).make()
        found.write(folder)
        shutil.rmtree(pictures)
        made = found.told(accepted)
        (folder / "README.md").write_text(card.card(made, found.files, found.pair_files), "utf-8", newline="\n")
    return made


# --- what is asked for ------------------------------------------------------------------------------------------------


def _check(options: Options, out: Path) -> None:
    if options.seed < 0:
        raise UserError(f"--seed is {options.seed}; give 0 or more")
    if options.same_question < 1:
        raise UserError(f"--same-question is {options.same_question}; give 1 or more")
    mix.check_most_of_kind(options.most_of_kind)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"--out {out}: is not empty; give a new folder")
    if not out.name:
        raise UserError(f"--out {out}: is no name of a folder; give a new one")


def _runs(run_dirs: Sequence[Path], options: Options) -> list[TakenRun]:
    if not run_dirs:
        raise UserError("no run is given; name the folder of one")
    runs = [_taken(path) for path in run_dirs]
    seen: dict[str, Path] = {}
    for run, path in zip(runs, run_dirs, strict=True):
        if run.manifest.run_id in seen:
            raise UserError(f"{path}: is the run in {seen[run.manifest.run_id]}; name each run once")
        seen[run.manifest.run_id] = path
        check_filters(run, options.filters, path)
    replay = options.student_replay
    if replay is not None:
        try:
            runs.append(_taken(replay, replay=True))
        except UserError as error:
            raise UserError(f"--student-replay {error}") from None
    return runs


def _students(runs: Sequence[TakenRun], options: Options) -> list[TakenRun]:
    """The student's runs that preference pairs are made of."""
    students: list[TakenRun] = []
    for path in options.preferences:
        try:
            student = _taken(path)
        except UserError as error:
            raise UserError(f"--preferences {error}") from None
        pairs.check_student(student, [run for run in runs if not run.replay], path)
        if any(student.manifest.run_id == other.manifest.run_id for other in students):
            raise UserError(f"--preferences {path}: is given twice; name each run once")
        students.append(student)
    return students


def _taken(path: Path, *, replay: bool = False) -> TakenRun:
    manifest = read_manifest(path)
    pack = load_pack(manifest.pack)
    if pack.sha256 != manifest.pack_sha256:
        raise UserError(
            f"{path}: its prompt pack {manifest.pack} has changed since the run; restore it, since rows hold its words"
        )
    return TakenRun(manifest, pack, list(read_journal(path / "journal.jsonl").values()), replay)


def _accepted(runs: Sequence[TakenRun], options: Options) -> bool:
    """Whether terms had to be accepted, and were."""
    names = list(dict.fromkeys(model_name(run.manifest.subject) for run in runs if is_commercial(run.manifest.subject)))
    if names and not options.accept_terms:
        raise UserError(f"{', '.join(names)}: {TERMS}; if it is, add --accept-teacher-terms")
    return bool(names)


@contextmanager
def _folder(out: Path) -> Iterator[Path]:
    """A folder that becomes `out` when all has gone well, and leaves nothing otherwise."""
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix=f".{out.name}.", suffix=".part", dir=out.parent))
    except OSError as error:
        raise UserError(f"--out {out}: cannot be written ({error.strerror}); give another folder") from None
    try:
        yield folder
        folder.chmod(0o755)  # mkdtemp's is for its maker alone
        if out.exists():
            out.rmdir()
        folder.rename(out)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


# --- the making -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Picture:
    """An image that lies in the folder of pictures. phash: see `clusters.perceptual_hash`."""

    name: str
    file_sha256: str
    phash: int


class _Making:
    """One export under way: each step takes what the one before left."""

    def __init__(
        self,
        options: Options,
        runs: Sequence[TakenRun],
        students: Sequence[TakenRun],
        count: Callable[[str], int],
        pictures: Path,
    ) -> None:
        self.options = options
        self.runs = runs
        self.students = students
        self.count = count
        self.folder = pictures
        self.examined = 0
        self.questions: Counter[str] = Counter()
        self.left_out: Counter[str] = Counter()
        self.notes: list[str] = []
        self.pictures: dict[str, _Picture] = {}
        self.cluster_of: dict[str, str] = {}
        self.hits: dict[str, str] = {}
        self.excluded: tuple[int, int] = (0, 0)
        self.excluded_questions: tuple[int, int] = (0, 0)
        self.question_hits: list[tuple[Item, ExcludedQuestion]] = []
        self.rows: dict[Split, list[Row]] = {}
        self.files: dict[Split, str] = {}
        self.pairs: dict[Split, list[Pair]] = {}
        self.pair_files: dict[Split, str] = {}
        self.unpaired: Counter[str] = Counter()
        self.other_prompts = False
        self.taken: mix.Selection

    def make(self) -> _Making:
        """Choose the rows. Raises UserError where none is left."""
        items: list[Item] = []
        for run in self.runs:
            kept, why = good_items(run, self.options.filters)
            items += kept
            self.questions += why
            self.examined += len(kept) + why.total()
            self._note_of(run)
        items = self._with_pictures(items)
        items = self._clean(items)
        rows, self.left_out = rows_of(items)
        self._choose(rows)
        if self.students:
            self._prefer(items)
        return self

    def _note_of(self, run: TakenRun, *, teaches: bool = True) -> None:
        manifest, name = run.manifest, model_name(run.manifest.subject)
        if len(run.examinations) < manifest.images:
            self.notes.append(f"the run of {name} is not complete: {len(run.examinations)} of {manifest.images} images")
        if manifest.subject.backend == "scripted":
            self.notes.append(f"{name} is a simulated model: its texts show that the pipeline works, and teach nothing")
        if run.replay and not (manifest.auditors or (manifest.source and manifest.source.kind == "labelled")):
            self.notes.append(
                f"replay: nobody has said which of {name}'s answers are right, and wrong ones teach it to answer where it "
                "should decline; audit its run, or give one on a labelled set"
            )
        if manifest.source is not None and teaches and not run.replay:
            self.notes.append(
                f"the questions of the run of {name} are not its own: it gives no rows of question writing"
            )

    def _with_pictures(self, items: list[Item]) -> list[Item]:
        """The items whose image is still what the model was sent; the images lie in the folder afterwards."""
        distinct = list({(id(item.run), item.image.id): item for item in items}.values())
        with ThreadPoolExecutor(_WORKERS) as threads:
            told = list(threads.map(lambda item: self._picture(item.run, item.image), distinct))
        found: dict[tuple[int, str], str] = {}
        for item, picture in zip(distinct, told, strict=True):
            if isinstance(picture, _Picture):
                self.pictures.setdefault(item.pixels, picture)
            else:
                found[id(item.run), item.image.id] = picture
        kept = []
        for item in items:
            why = found.get((id(item.run), item.image.id))
            if why is None:
                kept.append(item)
            else:
                self.questions[why] += 1
        if missing := len(found):
            self.notes.append(f"{missing} images are gone, or are no longer what the model saw: they are left out")
        return kept

    def _picture(self, run: TakenRun, image: ImageRecord) -> _Picture | str:
        """The image as it was sent, kept; or why it is not to be had."""
        try:
            encoded, digest = encode(Path(image.path), policy_of(run.manifest.subject))
        except ImageError:
            return "the image is gone or cannot be read"
        if encoded.pixels_sha256 != image.pixels_sha256:
            return "the image has changed since the run"
        # Called by its content, so that runs which send the same pixels at another quality do not overwrite each other's.
        name = f"{sha256(encoded.data).hexdigest()[:32]}{'.png' if encoded.media_type == 'image/png' else '.jpg'}"
        (self.folder / name).write_bytes(encoded.data)
        return _Picture(name, digest, clusters.perceptual_hash(encoded.data))

    def _clean(self, items: list[Item]) -> list[Item]:
        hashes = {pixels: picture.phash for pixels, picture in self.pictures.items()}
        self.cluster_of = clusters.clusters(hashes)
        if self.options.exclude_images:
            excluded, unread = clusters.read_excluded(self.options.exclude_images)
            self.excluded = len(excluded), unread
            files = {pixels: picture.file_sha256 for pixels, picture in self.pictures.items()}
            self.hits = clusters.hits(hashes, files, excluded)
            if unread:
                self.notes.append(f"{unread} excluded images cannot be read: what is near to them is not known")
            hit = {self.cluster_of[pixels] for pixels in self.hits}
            clean = [item for item in items if self.cluster_of[item.pixels] not in hit]
            self._drop("the picture is near one of --exclude-images", len(items) - len(clean))
            items = clean
        if self.options.exclude_questions:
            items = self._without_questions(items)
        items, dropped = without_contradictions(items, self.cluster_of)
        self._drop("asked of the same picture with the other label, too", dropped)
        items, dropped = without_duplicates(items)
        self._drop("asked of the same image before", dropped)
        items, dropped = capped(items, self.options.same_question, self.options.seed)
        self._drop(f"the same question is asked of more than {self.options.same_question} images", dropped)
        return items

    def _without_questions(self, items: list[Item]) -> list[Item]:
        """The items that no evaluation asks."""
        excluded, unread = read_excluded_questions(self.options.exclude_questions)
        self.excluded_questions = len(excluded), unread
        self.question_hits = question_hits(items, excluded)
        if unread:
            self.notes.append(f"{unread} questions of --exclude-questions are not compared: their image was not found")
        hit = {id(item) for item, _ in self.question_hits}
        self._drop("it is one of --exclude-questions, or has words in common with one", len(hit))
        return [item for item in items if id(item) not in hit]

    def _drop(self, why: str, number: int) -> None:
        if number:
            self.questions[why] += number

    def _choose(self, rows: list[Row]) -> None:
        options = self.options
        by_split: dict[Split, dict[RowKind, list[Row]]] = defaultdict(lambda: defaultdict(list))
        for row in sorted(rows, key=self._rank):
            by_split[self._split_of(row.item)][row.kind].append(row)
        if not rows:
            reasons = (self.questions + self.left_out).most_common(1)
            told = f"of {self.examined} questions; most often: {reasons[0][0]}" if reasons else "no question was asked"
            raise UserError(f"nothing is left to teach ({told}); loosen the filters, or give another run")
        if not by_split["train"]:
            raise UserError(
                f"no row fell into the training split ({len(set(self.cluster_of.values()))} different pictures); give more "
                "images, another --seed, or --splits 100/0/0"
            )
        self._cap_kinds(by_split["train"])
        wanted = dict(zip(ROW_KINDS, options.mix, strict=True))
        self._note_kinds(wanted, by_split["train"])
        self.taken = mix.take(by_split["train"], options.mix, self.count, writing=options.writing)
        if not self.taken.rows:
            raise UserError("nothing is left to teach: the kinds that have rows have no share in --mix; give them one")
        chosen: dict[Split, list[Row]] = {"train": list(self.taken.rows)}
        for split in clusters.SPLITS[1:]:
            chosen[split] = mix.held_out(by_split[split], self.taken.rates, writing=options.writing)
        for split, of_split in chosen.items():
            available = [row for kind in by_split[split].values() for row in kind]
            once = {row.id for row in of_split if row.copy == 1}
            for row in available:
                if row.id not in once:
                    why = (
                        "no question writing"
                        if not options.writing and row.kind in WRITING
                        else "more than the mix takes"
                    )
                    self.left_out[why] += 1
        # Rows of a picture lie together, pictures in no order of theirs; trainers shuffle.
        self.rows = {
            split: sorted(of_split, key=lambda row: (self._rank_of_picture(row), row.item.number, row.id))
            for split, of_split in chosen.items()
            if of_split
        }
        if (budget := self.taken.budget) is not None and abs(self.taken.tokens - budget) > 0.02 * budget:
            self.notes.append(
                f"{self.taken.tokens} supervised tokens instead of {budget}: with so few rows it comes no nearer"
            )
        if repeated := self.taken.repeated:
            self.notes.append(
                f"{repeated} training rows are copies: the answers are too few for the tokens of the full mix, and are gone "
                "through again"
            )

    def _split_of(self, item: Item) -> Split:
        return clusters.split_of(self.cluster_of[item.pixels], self.options.seed, self.options.splits)

    def _cap_kinds(self, train: dict[RowKind, list[Row]]) -> None:
        """See --most-of-kind. The held-out splits keep the teacher's kinds: they are there to measure."""
        percent = self.options.most_of_kind
        if percent is None:
            return
        for kind in ("write-unanswerable", "decline"):
            if train.get(kind):
                train[kind], dropped = mix.spread(train[kind], percent)
                if dropped:
                    self.left_out[f"more than {percent:g} % of one kind of unanswerable question"] += dropped

    def _prefer(self, items: Sequence[Item]) -> None:
        """Choose the preference pairs. Raises UserError where there is none for training."""
        options = self.options
        packs = {run.manifest.run_id: run.manifest for run in self.runs}
        for run in self.students:
            self._note_of(run, teaches=False)
            teacher = packs[run.manifest.source.run_id if run.manifest.source else ""]
            if teacher.pack_sha256 != run.manifest.pack_sha256:
                self.other_prompts = True
                self.notes.append(
                    f"{model_name(run.manifest.subject)} answered in the prompts {run.pack.name} {run.manifest.pack_version}, "
                    "its teacher in others: the pairs hold the student's"
                )
        found, self.unpaired = pairs.pairs_of(self.students, items, unanimous=options.filters.unanimous)
        resized = len({pair.item.pixels for pair in found if pair.item.pixels != pair.student.pixels})
        if resized:
            self.notes.append(
                f"{resized} images of pairs hold the teacher's pixels: the student saw them at another size"
            )
        by_split: dict[Split, dict[PairKind, list[Pair]]] = defaultdict(lambda: defaultdict(list))
        for pair in sorted(found, key=self._rank):
            by_split[self._split_of(pair.item)][pair.kind].append(pair)
        train = by_split["train"]
        there = {kind: len(train[kind]) for kind in pairs.PAIR_KINDS}
        if not any(there.values()):
            reasons = self.unpaired.most_common(1)
            raise UserError(
                f"--preferences: gives no pair for training (of {len(found) + self.unpaired.total()} responses; most often: "
                f"{reasons[0][0] if reasons else 'it fell into another split'}); leave it out, or give another run"
            )
        shares = pairs.rates(there, even=options.even_preferences)
        for split, by_kind in by_split.items():
            chosen = pairs.taken(by_kind, shares)
            if more := sum(map(len, by_kind.values())) - len(chosen):
                self.unpaired["more than there are of the other kind"] += more
            if chosen:
                self.pairs[split] = sorted(
                    chosen, key=lambda pair: (self._rank_of_picture(pair), pair.item.number, pair.id)
                )
        self.pairs = {split: self.pairs[split] for split in clusters.SPLITS if split in self.pairs}
        self._note_pairs(there)

    def _note_pairs(self, there: Mapping[PairKind, int]) -> None:
        told = ", ".join(f"{n} {kind}" for kind, n in there.items())
        few, many = sorted(there, key=lambda kind: there[kind])
        if not there[few]:
            taught = "to decline" if many == "abstain" else "to answer"
            self.notes.append(
                f"training pairs are of one kind alone ({told}): they teach {taught}, whatever is asked; measure both sides"
            )
        elif there[few] < there[many] and self.options.even_preferences:
            self.notes.append(
                f"training pairs found: {told}; taken 1:1, so {there[many] - there[few]} are left out "
                "(--uneven-preferences takes them)"
            )
        elif there[few] < there[many]:
            self.notes.append(
                f"training pairs are uneven: {told}; measure over-refusal and over-answering before and after"
            )

    def _note_kinds(self, wanted: Mapping[RowKind, float], there: Mapping[RowKind, Sequence[Row]]) -> None:
        for kind, percent in wanted.items():
            if percent and not there.get(kind) and (self.options.writing or kind not in WRITING):
                why = (
                    "no --student-replay"
                    if kind == "replay" and self.options.student_replay is None
                    else "no such row for training"
                )
                self.notes.append(f"{kind}: {why}; its {percent:g} % are spread over the other kinds")

    def _rank(self, row: Row | Pair) -> bytes:
        return sha256(f"{self.options.seed}:{row.id}".encode("utf-8", "replace")).digest()

    def _rank_of_picture(self, row: Row | Pair) -> bytes:
        return sha256(f"{self.options.seed}:{row.item.pixels}".encode()).digest()

    def write(self, folder: Path) -> None:
        """Write the form's files, items.jsonl, and, where they were asked for, preferences.jsonl and excluded.jsonl."""
        written: formats.Rows = {
            split: [
                formats.Written(
                    row.id,
                    row.item.pixels,
                    self.pictures[row.item.pixels].name,
                    row.kind,
                    row.prompt,
                    row.completion,
                )
                for row in of_split
            ]
            for split, of_split in self.rows.items()
        }
        self.files = formats.write(self.options.form, folder, written, self.folder)
        formats.write_lines(folder / "items.jsonl", self._told_items())
        if self.pairs:
            self._write_pairs(folder)
        if self.excluded[0] or self.options.exclude_questions:
            formats.write_lines(folder / "excluded.jsonl", [*self._told_hits(), *self._told_question_hits()])

    def _write_pairs(self, folder: Path) -> None:
        written: formats.Pairs = {
            split: [
                formats.WrittenPair(
                    pair.id,
                    pair.item.pixels,
                    self.pictures[pair.item.pixels].name,
                    pair.kind,
                    pair.prompt,
                    pair.chosen,
                    pair.rejected,
                )
                for pair in of_split
            ]
            for split, of_split in self.pairs.items()
        }
        self.pair_files = formats.write_pairs(self.options.form, folder, written, self.folder)
        formats.write_lines(folder / "preferences.jsonl", self._told_pairs())

    def _told_pairs(self) -> Iterable[dict[str, Any]]:
        for split, of_split in self.pairs.items():
            for pair in of_split:
                tokens = self.count(pair.chosen), self.count(pair.rejected)
                yield pairs.told(pair, split, self.cluster_of[pair.item.pixels], tokens)

    def _told_items(self) -> Iterable[dict[str, Any]]:
        for split, of_split in self.rows.items():
            for row in of_split:
                yield told(row, split, self.cluster_of[row.item.pixels], self.count(row.completion))

    def _told_hits(self) -> Iterable[dict[str, str]]:
        hit = {self.cluster_of[pixels] for pixels in self.hits}
        for pixels, cluster in sorted(self.cluster_of.items()):
            if cluster in hit:
                yield {"image_id": pixels, "cluster": cluster, "near": private(self.hits.get(pixels, ""))}

    def _told_question_hits(self) -> Iterable[dict[str, Any]]:
        for item, excluded in self.question_hits:
            yield {
                "image_id": item.pixels,
                "run_id": item.run.manifest.run_id,
                "number": item.number,
                "question": item.question.text,
                "like": excluded.text,
                "of": excluded.source,
            }

    def told(self, accepted: bool) -> Export:
        """What came of it."""
        train = self.rows["train"]
        tokens: Counter[RowKind] = Counter()
        for row in train:
            tokens[row.kind] += self.count(row.completion)
        declined = Counter(" ".join(row.completion.split()) for row in train if row.kind == "decline")
        sizes = Counter(self.cluster_of.values())
        used = {row.item.pixels for of_split in self.rows.values() for row in of_split}
        return Export(
            options=self.options,
            runs=self.runs,
            rows=Counter((row.kind, split) for split, of_split in self.rows.items() for row in of_split),
            tokens=tokens,
            examined=self.examined,
            questions=self.questions,
            left_out=self.left_out,
            images=len(used),
            pictures=sorted(used),
            clusters=len({self.cluster_of[pixels] for pixels in used}),
            largest_cluster=max(sizes.values()),
            taken=self.taken,
            token_count=mix.APPROXIMATION if self.options.tokenizer is None else self._tokenizer(),
            excluded=self.excluded[0],
            excluded_unread=self.excluded[1],
            hits=self.hits,
            abstentions=(declined.total(), len(declined), max(declined.values(), default=0)),
            accepted=accepted,
            notes=list(dict.fromkeys(self.notes)),
            kinds=Counter((row.kind, mix.kind_name(row)) for row in train if row.item.label == "unanswerable"),
            excluded_questions=self.excluded_questions[0],
            excluded_questions_unread=self.excluded_questions[1],
            question_hits=len(self.question_hits),
            preferences=self._preferences() if self.students else None,
        )

    def _preferences(self) -> PreferenceSummary:
        tokens: dict[PairKind, tuple[int, int]] = dict.fromkeys(pairs.PAIR_KINDS, (0, 0))
        for pair in self.pairs["train"]:
            chosen, rejected = tokens[pair.kind]
            tokens[pair.kind] = chosen + self.count(pair.chosen), rejected + self.count(pair.rejected)
        counts = Counter((pair.kind, split) for split, of_split in self.pairs.items() for pair in of_split)
        return pairs.PreferenceSummary(
            students=self.students,
            examined=counts.total() + self.unpaired.total(),
            pairs=counts,
            left_out=self.unpaired,
            tokens=tokens,
            other_prompts=self.other_prompts,
        )

    def _tokenizer(self) -> str:
        path = self.options.tokenizer
        assert path is not None
        file = path / "tokenizer.json" if path.is_dir() else path
        return f"a tokenizer.json with sha256 {sha256(file.read_bytes()).hexdigest()}, special tokens left out"


def told(row: Row, split: Split, cluster: str, tokens: int) -> dict[str, Any]:
    """All that is known of a row: its line of items.jsonl."""
    item, question = row.item, row.item.question
    return {
        "id": row.id,
        "kind": row.kind,
        "split": split,
        "copy": row.copy,
        "cluster": cluster,
        "image_id": item.pixels,
        "tokens": tokens,
        "teacher": {**told_model(item.run), "is_student": item.run.replay},
        "prompts": told_prompts(item.run),
        "question": {
            "text": question.text,
            "intended": question.intended,
            "kind": question.kind,
            "own": question.given is None,
        },
        "cell": cell(question),
        **told_judging(item),
        "prompt": row.prompt,
        "completion": row.completion,
    }
