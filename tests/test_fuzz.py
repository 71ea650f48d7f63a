"""Whatever a user, a folder or a model hands over is read, or refused in one line, in time. `make fuzz` tries far more of it.

Other tests do the same beside what they are about: replies of every wire, single fields of a run's files, labelled sets, prompts.
"""

from __future__ import annotations

import json
import os
import time
from io import BytesIO
from pathlib import Path
from shutil import copytree
from typing import TYPE_CHECKING, Any, TypeVar

import pytest
from driving import draw_images
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image

from unsaf_async.bundled import bundled
from unsaf_async.calls.ledger import read_account
from unsaf_async.errors import UserError
from unsaf_async.examine.parse import is_question, percentage, question_items, verdict
from unsaf_async.inputs.opening import sent_size
from unsaf_async.inputs.pixels import encode
from unsaf_async.inputs.policy import ImageError, ImagePolicy
from unsaf_async.inputs.sources import find_images
from unsaf_async.providers.load_profiles import load_profiles
from unsaf_async.runs.folder import RunFiles, read_manifest, reopen
from unsaf_async.runs.saved import SavedRun
from unsaf_async.text import one_line, printable

if TYPE_CHECKING:
    from collections.abc import Callable

EXAMPLES = int(os.environ.get("UNSAF_FUZZ_EXAMPLES", "40"))
"""How many a test tries."""

fuzz = settings(max_examples=EXAMPLES, deadline=None)

OLD_RUN = Path(__file__).parent / "data" / "old_run" / "scripted"
Value = TypeVar("Value")


@st.composite
def damaged(draw: st.DrawFn, whole: bytes) -> bytes:
    """`whole` with a few of its bytes overwritten, taken out, put in, doubled, or cut off."""
    data = bytearray(whole)
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, max(0, len(data) - 1)))
        end = min(len(data), at + draw(st.sampled_from([1, 2, 4, 16, 300])))
        match draw(st.sampled_from(["overwrite", "take", "put", "double", "cut"])):
            case "overwrite":
                data[at:end] = draw(st.binary(min_size=end - at, max_size=end - at))
            case "take":
                del data[at:end]
            case "put":
                data[at:at] = draw(st.binary(max_size=16) | st.sampled_from(TOKENS))
            case "double":
                data[at:at] = data[at:end]
            case "cut":
                del data[at:]
    return bytes(data)


TOKENS = [b'"', b"\n", b"\r", b"\0", b"{", b"}", b"[", b"]", b",", b":", b"null", b"-1", b"1e999", b"NaN", b"\xff"]
TOKENS += [b"9" * 400, b"\xed\xa0\x80", b"\\ud800", b"true", b"=", b"'''", b"[[", b"../", b"\x1b[2J", b"\xe2\x80\xa8"]
TOKENS += [b"\xef\xbb\xbf"]
"""What parsers stumble over."""

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-3, 2**70)
    | st.floats()
    | st.text(max_size=9)
    | st.sampled_from(["a.png", "../a.png", "/dev/null", "http://h/a.png", "a\0.png", ".", "", "a\u2028b", "\ud800"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


def one_line_or(read: Callable[[], Value]) -> Value | None:
    """What reading brings; None where it was refused in words, of which the command line makes one line, as here."""
    try:
        return read()
    except (UserError, ImageError) as error:
        line = printable(one_line(str(error)))
        assert line.strip("\ufffd ")
        assert len(line.splitlines()) == 1, line
        return None


# --- image lists ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def listed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the picture a.png, for lists to name."""
    folder = tmp_path_factory.mktemp("listed")
    draw_images(folder, 1)[0].rename(folder / "a.png")
    return folder


LISTS = {
    ".csv": b'image,id,note\na.png,1,"x, y"\na.png,2,\n',
    ".jsonl": b'{"image": "a.png", "id": 1, "note": [1]}\n{"image": "a.png"}\n',
}


@fuzz
@given(data=st.data(), suffix=st.sampled_from(sorted(LISTS)))
def test_any_damage_to_an_image_list_is_read_or_refused_in_one_line(
    listed: Path, data: st.DataObject, suffix: str
) -> None:
    file = listed / f"list{suffix}"
    file.write_bytes(data.draw(damaged(LISTS[suffix]) | st.binary(max_size=100)))
    for source in one_line_or(lambda: find_images([file])) or ():
        assert source.path.is_file()
        assert source.id


@fuzz
@given(rows=st.lists(st.dictionaries(st.sampled_from(["image", "id", "note"]), JSON, max_size=3), max_size=4))
def test_any_value_in_any_field_of_an_image_list_is_read_or_refused_in_one_line(
    listed: Path, rows: list[dict[str, Any]]
) -> None:
    file = listed / "rows.jsonl"
    file.write_text("".join(json.dumps({"image": "a.png", **row}) + "\n" for row in rows), "utf-8")
    found = one_line_or(lambda: find_images([file])) or []
    assert len({source.id for source in found}) == len(found)
    assert all(source.path.is_file() for source in found)


# --- what a model wrote --------------------------------------------------------------------------------------------------

WRITTEN = [
    b'{"questions": [{"question": "Is it red?", "kind": "absent-object"}, {"question": "Why?"}]}',
    b"Here they are:\n1. **Is it red?** (absent-object)\n2) Why?\n- Who\n  is it?\n",
    b'```json\n{"verdict": "abstained", "confidence": "70 %"}\n```',
    b"<think>so</think>[THINK]x[/THINK] Answered.",
]


@fuzz
@given(data=st.data(), written=st.sampled_from(WRITTEN))
def test_any_damage_to_what_a_model_wrote_is_read(data: st.DataObject, written: bytes) -> None:
    text = data.draw(damaged(written)).decode("utf-8", "surrogateescape")
    verdict(text)
    number = percentage(text)
    assert number is None or 0 <= number <= 100
    for item in question_items(text):
        assert item.text.strip() == item.text != ""
        is_question(item.text)


LONG = 20_000
"""Characters of a hostile reply: more than `max_output_tokens` ever lets through."""

HOSTILE = [
    "[",
    "{",
    '{"a":',
    '"',
    "\\",
    "<think>",
    "</think>",
    "```",
    "```json\n",
    "1. ",
    "- ",
    "**",
    "* ",
    "(",
    "Q1: ",
]
HOSTILE += [
    "\n",
    " \n",
    "?",
    "a? ",
    "a ",
    "\t",
    "|",
    "#",
    "> ",
    "\u2028",
    "'",
    "0",
    "%",
    "[[",
    '{"question": "',
    "<|channel|>",
]
HOSTILE += [",", "e\u0301", ":"]


@fuzz
@given(
    pieces=st.lists(st.sampled_from(HOSTILE), min_size=1, max_size=3),
    end=st.sampled_from(["", "?", "}", "x", "</think>"]),
)
@example(pieces=["<think>"], end="")
@example(pieces=["[", '"'], end="}")
def test_a_long_hostile_reply_takes_time_by_its_length_alone(pieces: list[str], end: str) -> None:
    unit = "".join(pieces)
    text = unit * (LONG // len(unit)) + end
    began = time.process_time()
    verdict(text)
    percentage(text)
    question_items(text)
    is_question(text)
    took_s = time.process_time() - began
    assert took_s < 2, f"{took_s:.1f} CPU-seconds for {len(text)} characters of {unit!r}"


# --- the files of a run --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of a finished run."""
    folder = tmp_path_factory.mktemp("run") / "run"
    copytree(OLD_RUN, folder)
    return folder


@pytest.mark.parametrize("name", ["journal", "ledger", "images", "manifest"])
@fuzz
@given(data=st.data())
def test_any_damage_to_a_file_of_a_run_is_read_or_refused_in_one_line(
    name: str, data: st.DataObject, run: Path
) -> None:
    def read() -> None:
        saved = SavedRun(run)
        assert saved.account.cost_usd >= 0
        assert len(saved.examinations) <= len(saved.images)
        reopen(run).close()

    _read_damaged(getattr(RunFiles(run), name), data, read)


@settings(fuzz, max_examples=EXAMPLES // 8)  # each is scored anew
@given(data=st.data())
def test_any_damage_to_a_score_is_overcome_or_refused_in_one_line(data: st.DataObject, run: Path) -> None:
    undamaged = SavedRun(run).findings.counts
    found = _read_damaged(RunFiles(run).score, data, lambda: SavedRun(run).findings.counts)
    assert found in (None, undamaged)


def _read_damaged(file: Path, data: st.DataObject, read: Callable[[], Value]) -> Value | None:
    """What reading brings while a file is damaged; None where it was refused in one line."""
    before = file.read_bytes()
    try:
        file.write_bytes(data.draw(damaged(before)))
        return one_line_or(read)
    finally:
        file.write_bytes(before)


LEDGER = b"""{"what":"session","t":1.0}
{"what":"sent","n":1,"role":"ask","worst":10,"again":false,"t":1.5}
{"what":"settled","n":1,"cost":4,"tokens":[3,0,0,2,0],"t":2.5}
{"what":"sent","n":2,"role":"answer","worst":10,"again":true,"t":3}
{"what":"refunded","n":2,"t":4.0}
{"what":"sent","n":3,"role":"judge","worst":7,"again":false,"t":5.0}
{"what":"end","t":6.0}
"""


@fuzz
@given(data=st.data())
def test_any_damage_to_a_ledger_alone_is_an_account_or_one_line(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    file = tmp_path_factory.mktemp("ledger") / "ledger.jsonl"
    file.write_bytes(data.draw(damaged(LEDGER)))
    account = one_line_or(lambda: read_account(file))
    assert account is None or account.spent_nano_usd >= account.unknown_nano_usd >= 0


@fuzz
@given(field=st.sampled_from(sorted(json.loads((OLD_RUN / "manifest.json").read_bytes()))), value=JSON)
def test_any_value_in_any_field_of_a_manifest_is_read_or_refused_in_one_line(
    field: str, value: object, run: Path
) -> None:
    file = RunFiles(run).manifest
    before = file.read_bytes()
    try:
        file.write_text(json.dumps({**json.loads(before), field: value}), "utf-8")
        one_line_or(lambda: read_manifest(run))
    finally:
        file.write_bytes(before)


# --- provider files ------------------------------------------------------------------------------------------------------

SHIPPED = ["openai", "anthropic", "gemini", "azure", "vllm", "openrouter"]


@fuzz
@given(data=st.data(), name=st.sampled_from(SHIPPED))
def test_any_damage_to_a_provider_file_is_read_or_refused_in_one_line(
    data: st.DataObject, name: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("providers")
    whole = (bundled("providers") / f"{name}.toml").read_bytes()
    (folder / "mine.toml").write_bytes(data.draw(damaged(whole[:3000]) | st.binary(max_size=60)))
    one_line_or(lambda: load_profiles([folder]))


VALUES = """0 -1 1e400 nan inf true "" "x" "\\u0000" "\\n" [] {} [[1]] {a=1} 2027-01-14 9223372036854775808 0x10 0.1 [""]
    "http://h" "http://h:99999" {tokens=-1} [1,"a"] {""=""} {"x\\r\\ny"="z"} {messages=1} 99999999999999999999 "\\u2028"
    1979-05-27T07:32:00Z {input_usd_per_mtok=nan} "\\u001b[2J" ["http://a","http://a"] {formula="fixed"}"""
KEYS = """backend vendor model aliases endpoint api_version headers stream max_tokens_field api_key_env api_key_required
    rate_headers prompts judge images replicas outputs_may_train timeout_s deadline_s attempts retry_wait_s extra notes packages
    priced_as ends price_ends next_price price price.input_usd_per_mtok price.output_usd_per_mtok limits limits.concurrency
    limits.tokens_per_minute image image.max_side_px image.max_bytes image.native_px tokens tokens.per_message tokens.image
    tokens.image.formula tokens.image.constants tokens.image.safety output_tokens output_tokens.ask takes takes.n models
    models.x models.x.price"""


@fuzz
@given(
    pairs=st.dictionaries(st.sampled_from(KEYS.split()), st.sampled_from(VALUES.split()), max_size=3),
    backend=st.sampled_from(["openai", "anthropic", "litellm"]),
)
def test_any_value_under_any_key_of_a_provider_file_is_read_or_refused_in_one_line(
    pairs: dict[str, str], backend: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("providers")
    given = {"backend": f'"{backend}"', "model": '"m"', **pairs}
    (folder / "mine.toml").write_text("".join(f"{key} = {value}\n" for key, value in given.items()), "utf-8")
    one_line_or(lambda: load_profiles([folder]))


# --- pictures ------------------------------------------------------------------------------------------------------------


def picture(form: str) -> bytes:
    """A small picture, with EXIF data where the format has them."""
    into = BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6
    image = Image.linear_gradient("L").resize((24, 18)).convert("P" if form == "GIF" else "RGB")
    if form in ("JPEG", "PNG", "WEBP", "TIFF"):
        image.save(into, form, exif=exif)
    else:
        image.save(into, form)
    return into.getvalue()


PICTURES = {form: picture(form) for form in ("PNG", "JPEG", "GIF", "WEBP", "BMP", "TIFF")}
POLICY = ImagePolicy(max_side_px=64)


@pytest.mark.filterwarnings("ignore")  # Pillow's about what is damaged; none of them may reach a user either way
@fuzz
@given(data=st.data(), form=st.sampled_from(sorted(PICTURES)))
def test_any_damage_to_a_picture_is_read_or_refused_in_one_line(
    data: st.DataObject, form: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    file = tmp_path_factory.mktemp("pictures") / "picture"
    file.write_bytes(data.draw(damaged(PICTURES[form])))
    one_line_or(lambda: sent_size(file, POLICY))
    found = one_line_or(lambda: encode(file, POLICY))
    if found is not None:
        image, digest = found
        assert 1 <= image.width <= 64
        assert 1 <= image.height <= 64
        assert len(digest) == 64
