"""Training rows and preference pairs written in the three forms that trainers take, one file a split.

Every writer is given a new folder, and another one with the encoded pictures. Same rows, same bytes.
"""

from __future__ import annotations

import json
from base64 import b64encode
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, get_args

from unsaf_async.distill.data.options import Form
from unsaf_async.errors import UserError, setting
from unsaf_async.text import install_extra

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from unsaf_async.distill.data.clusters import Split
    from unsaf_async.distill.data.kinds import RowKind
    from unsaf_async.distill.data.pairs import PairKind

FORMS: tuple[Form, ...] = get_args(Form)

MEDIA_TYPES = {".jpg": "image/jpeg", ".png": "image/png"}

_GROUP = 256
"""Rows of a parquet row group: with their images, what is in memory at a time."""
_SHARD = 4_096
"""Rows of a parquet file."""
_LINE_ENDS = {ord(end): f"\\u{ord(end):04x}" for end in "\x85\u2028\u2029"}
"""What some take for the end of a line, and JSON leaves as it is."""


@dataclass(frozen=True, slots=True)
class WrittenRow:
    """A row as it is written."""

    id: str
    image_id: str
    """The sha256 of the picture's pixels."""
    image: str
    """The picture's file name."""
    kind: RowKind
    prompt: str
    completion: str


RowsBySplit = dict["Split", list[WrittenRow]]
"""By split; a split without rows is not there."""


@dataclass(frozen=True, slots=True)
class WrittenPair:
    """A preference pair as it is written."""

    id: str
    image_id: str
    """The sha256 of the picture's pixels."""
    image: str
    """The picture's file name."""
    kind: PairKind
    prompt: str
    chosen: str
    rejected: str


PairsBySplit = dict["Split", list[WrittenPair]]
"""By split; a split without pairs is not there."""

AnyWritten = WrittenRow | WrittenPair


def write(form: Form, folder: Path, rows: RowsBySplit, pictures: Path) -> dict[Split, str]:
    """Writes rows in a form.

    Args:
        form: The form.
        folder: Where the files go: a new folder.
        rows: The rows by split.
        pictures: The folder of encoded images.

    Returns:
        The data files of each split, as a pattern below `folder`.

    Raises:
        UserError: The form needs a library that is not installed.
    """
    writers: dict[Form, Callable[[Path, RowsBySplit, Path], dict[Split, str]]] = {
        "trl": _write_trl,
        "sharegpt": _write_sharegpt,
        "openai": _write_openai,
    }
    return writers[form](folder, rows, pictures)


def write_pairs(form: Form, folder: Path, pairs: PairsBySplit, pictures: Path) -> dict[Split, str]:
    """Writes preference pairs into the folder that holds the rows that `write` has written.

    Args:
        form: The form.
        folder: Where the files go, in a folder `preferences` mostly.
        pairs: The pairs by split.
        pictures: The folder of encoded images.

    Returns:
        The data files of each split, as a pattern below `folder`.

    Raises:
        UserError: As `check` raises it.
    """
    check(form, pairs=True)
    (folder / "preferences").mkdir()
    if form == "trl":
        _write_parquet(folder / "preferences", pairs, pictures, ("prompt", "chosen", "rejected"))
        return {split: f"preferences/{split}-*.parquet" for split in pairs}
    return _write_ranking(folder, pairs, pictures)


def check(form: Form, *, pairs: bool = False) -> None:
    """Checks that a form can be written.

    Args:
        form: The form.
        pairs: Whether preference pairs are to be written, too.

    Raises:
        UserError: The form needs a library that is not installed, or cannot hold preference pairs.
    """
    if pairs and form == "openai":
        raise UserError(
            f": {setting('form', 'openai')} has no form for pairs; give {setting('form', 'trl')} or sharegpt",
            field="preferences",
        )
    if form == "trl":
        try:
            import pyarrow.parquet  # noqa: F401
        except ModuleNotFoundError:
            raise UserError(
                f"{setting('form', 'trl')}: pyarrow is not installed; give {setting('form', 'sharegpt')}, or "
                f"{install_extra('distill')}"
            ) from None


def json_line(value: Mapping[str, Any]) -> str:
    """A line of JSON that no reader takes for two.

    Args:
        value: What JSON can hold.

    Returns:
        One line, with a line break at its end alone.
    """
    return json.dumps(value, ensure_ascii=False).translate(_LINE_ENDS) + "\n"


def write_lines(file: Path, values: Iterable[Mapping[str, Any]]) -> None:
    """Writes values as lines of JSON.

    Args:
        file: The file, which is overwritten.
        values: A line each.
    """
    with file.open("w", encoding="utf-8", newline="\n") as stream:
        stream.writelines(map(json_line, values))


# --- trl: parquet with embedded images --------------------------------------------------------------------------------


def _write_trl(folder: Path, rows: RowsBySplit, pictures: Path) -> dict[Split, str]:
    """Prompt and completion, each with text as content, and a column of images.

    Not a list of parts: Arrow gives every part of such a list all fields, and a text with `image: null` is taken for
    one more image. TRL puts the image before the first user text itself, and trains on the completion alone.
    """
    (folder / "data").mkdir()
    _write_parquet(folder / "data", rows, pictures, ("prompt", "completion"))
    return {split: f"data/{split}-*.parquet" for split in rows}


ROLES = {"prompt": "user", "completion": "assistant", "chosen": "assistant", "rejected": "assistant"}
"""The columns that hold a turn, and who speaks in it."""


def _write_parquet(
    folder: Path, rows: Mapping[Split, Sequence[AnyWritten]], pictures: Path, turns: Sequence[str]
) -> None:
    """One or more files a split: ids, images, and a column for each of `turns`, which are fields of the rows."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    check("trl")
    turn_type = pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())]))
    turn = {"role": {"dtype": "string", "_type": "Value"}, "content": {"dtype": "string", "_type": "Value"}}
    text = {"dtype": "string", "_type": "Value"}
    features = {
        **dict.fromkeys(("id", "image_id", "kind"), text),
        "images": {"feature": {"_type": "Image"}, "_type": "Sequence"},
        **{name: [turn] for name in turns},
    }
    schema = pa.schema(
        [
            ("id", pa.string()),
            ("image_id", pa.string()),
            ("kind", pa.string()),
            ("images", pa.list_(pa.struct([("bytes", pa.binary()), ("path", pa.string())]))),
            *((name, turn_type) for name in turns),
        ],
        metadata={"huggingface": json.dumps({"info": {"features": features}})},
    )
    for split, of_split in rows.items():
        shards = list(_pieces(of_split, _SHARD))
        for number, shard in enumerate(shards):
            file = folder / f"{split}-{number:05d}-of-{len(shards):05d}.parquet"
            # A picture has several rows, which lie together: as a dictionary's entry it is stored once a group, not once a row.
            with pq.ParquetWriter(
                file, schema, compression="zstd", use_dictionary=True, dictionary_pagesize_limit=1 << 30
            ) as writer:
                for group in _pieces(shard, _GROUP):
                    data = {name: (pictures / name).read_bytes() for name in {row.image for row in group}}
                    records = [
                        {
                            "id": row.id,
                            "image_id": row.image_id,
                            "kind": row.kind,
                            "images": [{"bytes": data[row.image], "path": row.image}],
                            **{name: [{"role": ROLES[name], "content": getattr(row, name)}] for name in turns},
                        }
                        for row in group
                    ]
                    writer.write_table(pa.Table.from_pylist(records, schema=schema), row_group_size=_GROUP)


def _pieces(rows: Sequence[AnyWritten], size: int) -> Iterator[Sequence[AnyWritten]]:
    return (rows[start : start + size] for start in range(0, len(rows), size))


# --- sharegpt: LLaMA-Factory and ms-swift -----------------------------------------------------------------------------


def _write_sharegpt(folder: Path, rows: RowsBySplit, pictures: Path) -> dict[Split, str]:
    """Conversations with one `<image>` for each file in `images`; dataset_info.json is for LLaMA-Factory."""
    _write_images(folder, rows, pictures)
    for split, of_split in rows.items():
        write_lines(
            folder / f"{split}.jsonl",
            (
                {
                    "id": row.id,
                    "kind": row.kind,
                    "messages": [_user(row), _assistant(row.completion)],
                    "images": [f"images/{row.image}"],
                }
                for row in of_split
            ),
        )
    _register(
        folder,
        {f"unsaf_{split}": _entry(f"{split}.jsonl", {"messages": "messages", "images": "images"}) for split in rows},
    )
    return {split: f"{split}.jsonl" for split in rows}


def _write_ranking(folder: Path, pairs: PairsBySplit, pictures: Path) -> dict[Split, str]:
    """Pairs in one file for both trainers.

    ms-swift reads `messages` and `rejected_response`, LLaMA-Factory, by its entry, the other fields.
    LLaMA-Factory's ranking form wants a conversation that ends with the user, and each reply as a turn of its own.
    """
    _write_images(folder, pairs, pictures)
    for split, of_split in pairs.items():
        write_lines(
            folder / "preferences" / f"{split}.jsonl",
            (
                {
                    "id": pair.id,
                    "kind": pair.kind,
                    "messages": [_user(pair), _assistant(pair.chosen)],
                    "rejected_response": pair.rejected,
                    "prompt": [_user(pair)],
                    "chosen": _assistant(pair.chosen),
                    "rejected": _assistant(pair.rejected),
                    "images": [f"images/{pair.image}"],
                }
                for pair in of_split
            ),
        )
    columns = {"messages": "prompt", "chosen": "chosen", "rejected": "rejected", "images": "images"}
    _register(
        folder,
        {f"unsaf_preferences_{split}": _entry(f"preferences/{split}.jsonl", columns, ranking=True) for split in pairs},
    )
    return {split: f"preferences/{split}.jsonl" for split in pairs}


def _user(row: AnyWritten) -> dict[str, str]:
    return {"role": "user", "content": f"<image>{row.prompt}"}


def _assistant(text: str) -> dict[str, str]:
    return {"role": "assistant", "content": text}


def _write_images(folder: Path, rows: Mapping[Split, Sequence[AnyWritten]], pictures: Path) -> None:
    (folder / "images").mkdir(exist_ok=True)
    for name in sorted({row.image for of_split in rows.values() for row in of_split}):
        (folder / "images" / name).write_bytes((pictures / name).read_bytes())


def _entry(file_name: str, columns: Mapping[str, str], *, ranking: bool = False) -> dict[str, Any]:
    """How dataset_info.json describes a file."""
    return {
        "file_name": file_name,
        "formatting": "sharegpt",
        **({"ranking": True} if ranking else {}),
        "columns": dict(columns),
        "tags": {
            "role_tag": "role",
            "content_tag": "content",
            "user_tag": "user",
            "assistant_tag": "assistant",
        },
    }


def _register(folder: Path, entries: Mapping[str, Any]) -> None:
    """Adds entries to dataset_info.json."""
    file = folder / "dataset_info.json"
    before = json.loads(file.read_text("utf-8")) if file.exists() else {}
    file.write_text(json.dumps({**before, **entries}, indent=2) + "\n", "utf-8")


# --- openai: chat messages with data URLs -----------------------------------------------------------------------------


def _write_openai(folder: Path, rows: RowsBySplit, pictures: Path) -> dict[Split, str]:
    """Chat messages with the image as a data URL before the text, as the teacher was sent it.

    Nothing but `messages` stands in a line: services reject other fields. items.jsonl has the ids, line by line in this
    order.
    """
    for split, of_split in rows.items():
        write_lines(folder / f"{split}.jsonl", (_chat(row, pictures) for row in of_split))
    return {split: f"{split}.jsonl" for split in rows}


def _chat(row: WrittenRow, pictures: Path) -> dict[str, Any]:
    picture = pictures / row.image
    url = f"data:{MEDIA_TYPES[picture.suffix]};base64,{b64encode(picture.read_bytes()).decode('ascii')}"
    parts = [{"type": "image_url", "image_url": {"url": url}}, {"type": "text", "text": row.prompt}]
    return {"messages": [{"role": "user", "content": parts}, {"role": "assistant", "content": row.completion}]}
