"""Whatever a user does wrong ends in exit code 2 and one line: where, what was found, what to do. Nothing is spent or lost."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from commandline import Ended, command, process, serving
from driving import draw_images
from filelock import FileLock

from unsaf_async.bundled import bundled
from unsaf_async.runs.folder import reopen
from unsaf_async.runs.listing import groups_in
from unsaf_async.runs.signature import mark_cache, user_key
from unsaf_async.simulate.settings import Simulation

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

KEY = "sk-secret-0123456789abcdef"

PHOTOS = ("--provider", "scripted", "--images", "photos")
OF_THE_RUN = (*PHOTOS, "--questions", "2", "--out", "done")
"""What makes `done` the same run again."""


@dataclass(frozen=True)
class Case:
    """One mistake. words: what the line must hold. files: made in the working directory, b"" for a folder's name with a slash."""

    id: str
    arguments: tuple[str, ...]
    words: tuple[str, ...]
    files: dict[str, str | bytes] = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=dict)
    spoil: Callable[[], object] = bool
    """What is done before the command, in the working directory."""


def run(id: str, *arguments: str, says: tuple[str, ...], **more: object) -> Case:  # noqa: A002
    return Case(id, ("run", *arguments), says, **more)  # type: ignore[arg-type]


def value(option: str, wrong: str, *words: str) -> Case:
    """A run with a wrong value for one option, which the line names along with the value."""
    return Case(f"{option} {wrong or 'empty'}", ("run", *PHOTOS, option, wrong), (option, *words))


# --- spoiling what is there ------------------------------------------------------------------------------------------


def rewritten(file: str, change: Callable[[bytes], bytes]) -> Callable[[], object]:
    return lambda: Path(file).write_bytes(change(Path(file).read_bytes()))


def scrambled(data: bytes, start: int = 0) -> bytes:
    return data[:start] + bytes((7 * byte + 13) % 256 for byte in data[start:])


def first_line_cut(data: bytes) -> bytes:
    head, _, rest = data.partition(b"\n")
    return head[: len(head) // 2] + b"\n" + rest


def one_pack(**files: str | bytes | None) -> Callable[[], object]:
    """A copy of the shipped pack in `mine`, with files replaced, or removed (None)."""

    def make() -> None:
        shutil.copytree(bundled("prompts") / "unsaf", "mine")
        for name, text in files.items():
            file = Path("mine") / name.replace("_md", ".md").replace("_toml", ".toml").replace("_", "-")
            if text is None:
                file.unlink()
            else:
                file.write_bytes(text if isinstance(text, bytes) else text.encode())

    return make


def replaced_by_a_folder(name: str) -> Callable[[], object]:
    def make() -> None:
        Path(name).unlink(missing_ok=True)
        Path(name).mkdir()

    return make


PROVIDER = """
backend = "openai"
endpoint = "http://127.0.0.1:9/v1"
[price]
input_usd_per_mtok = 0
output_usd_per_mtok = 0
"""

COMMANDS = [
    run("unknown option", "--limt", "3", says=("run", "--limt", "--limit", "--help")),
    Case("unknown command", ("rnu",), ("'rnu'", "'run'")),
    Case("unknown cache command", ("cache", "inof"), ("'inof'", "'info'")),
    run("stray word", "stray", says=("stray", "--help")),
    run("option without its value", "--rpm", says=("--rpm", "requires an argument")),
    Case("resume without a folder", ("resume",), ("resume", "RUN_DIR")),
    Case("show with two folders", ("show", "one", "two"), ("show", "two")),
    Case("providers with a word", ("providers", "gpt-5.4-mini"), ("providers", "gpt-5.4-mini")),
]

NUMBERS = [
    value("--questions", "many", "'many'", "whole number"),
    value("--questions", "1.5", "'1.5'", "whole number"),
    value("--questions", "0", "is 0", "from 1 to 50"),
    value("--questions", "-1", "is -1", "from 1 to 50"),
    value("--questions", "51", "is 51", "from 1 to 50"),
    value("--limit", "0", "is 0", "above 0"),
    value("--limit", "-3", "is -3", "above 0"),
    value("--limit", "nan", "'nan'", "whole number"),
    value("--seed", "x", "'x'", "whole number"),
    value("--seed", "-1", "is -1", "2147483647"),
    value("--seed", "2147483648", "is 2147483648", "2147483647"),
    value("--max-cost", "0", "is 0", "USD above 0"),
    value("--max-cost", "-1", "is -1", "USD above 0"),
    value("--max-cost", "nan", "is nan", "USD above 0"),
    value("--max-cost", "inf", "is inf", "USD above 0"),
    value("--max-cost", "five", "'five'", "no number"),
    value("--rpm", "0", "is 0", "above 0"),
    value("--rpm", "-5", "is -5", "above 0"),
    value("--rpm", "nan", "is nan", "above 0"),
    value("--rpm", "inf", "is inf", "above 0"),
    value("--rpm", "fast", "'fast'", "no number"),
    value("--tpm", "0", "is 0", "above 0"),
    value("--tpm", "nan", "is nan", "above 0"),
    value("--tpm", "10k", "'10k'", "no number"),
    value("--concurrency", "0", "is 0", "above 0"),
    value("--concurrency", "-2", "is -2", "above 0"),
    value("--concurrency", "2.5", "'2.5'", "whole number"),
    value("--until-ci", "0", "is 0", "0.02"),
    value("--until-ci", "0.5", "is 0.5", "0.02"),
    value("--until-ci", "nan", "is nan", "0.02"),
    value("--until-ci", "narrow", "'narrow'", "no number"),
    value("--price", "", "nothing", "2.5,10"),
    value("--price", "2", "1 number", "2.5,10"),
    value("--price", "1,2,3,4", "4 numbers", "2.5,10"),
    value("--price", "a,b", "'a' is no number", "2.5,10"),
    value("--price", "-1,2", "'-1'", "2.5,10"),
    value("--price", "nan,1", "'nan'", "2.5,10"),
    value("--price", "0.0000025,0.00001", "per token", "2.5,10"),
    Case("estimate checks numbers too", ("estimate", "--questions", "0"), ("--questions", "is 0")),
    Case("cache explain checks numbers too", ("cache", "explain", "--limit", "0"), ("--limit", "is 0")),
    Case("resume --max-cost 0", ("resume", "done", "--max-cost", "0"), ("--max-cost", "is 0", "above 0")),
    Case("resume --rpm nan", ("resume", "done", "--rpm", "nan"), ("--rpm", "is nan", "above 0")),
]

PROVIDERS = [
    run("misspelt provider", "--provider", "gtp-4o", says=("--provider", "'gtp-4o'", "gpt-4o", "providers")),
    run("empty provider", "--provider", "", says=("--provider", "''", "unknown")),
    run("unknown vendor", "--provider", "acme/x", says=("--provider", "'acme/x'", "unknown")),
    run("endpoint alone", "--provider", "openai", says=("--provider openai", "--model", "gpt-5.4-mini")),
    run("no chat model", "--provider", "openai/text-embedding-3-small", says=("no chat model", "embedding")),
    run("empty model", "--provider", "gpt-5.4-mini", "--model", "", says=("--model", "empty")),
    run("no key", "--provider", "gpt-5.4-mini", says=("gpt-5.4-mini", "OPENAI_API_KEY", "not set")),
    run("blank key", "--provider", "gpt-5.4-mini", says=("OPENAI_API_KEY",), environment={"OPENAI_API_KEY": "  "}),
    run(
        "key with a typographic dash",
        *("--provider", "gpt-5.4-mini"),
        says=("OPENAI_API_KEY", "characters", "copy it anew"),
        environment={"OPENAI_API_KEY": KEY.replace("-", "\N{EN DASH}")},
    ),
    run(
        "unknown price",
        *("--provider", "openai/gpt-none"),
        says=("no price", "gpt-none", "--price IN,OUT"),
        environment={"OPENAI_API_KEY": KEY},
    ),
    run("model of the simulated one", *PHOTOS[:2], "--model", "big", says=("--model", "simulated", "leave it out")),
    run(
        "address of the simulated one",
        *PHOTOS[:2],
        "--api-base",
        "http://127.0.0.1:9",
        says=("--api-base", "simulated"),
    ),
    run("address of a tiny one", "--api-base", "http://127.0.0.1:9", says=("--api-base", "runs in this process")),
    run("tiny model that is not there", "--model", "huge", says=("--model 'huge'", "no config.json", "tiny-s")),
    run("tiny model that is not there, for a plan", "--model", "huge", "--dry-run", says=("--model 'huge'", "tiny-s")),
    run("folder of no tiny model", "--model", "photos", says=("--model 'photos'", "no tiny model", "tiny-s")),
    run("misspelt judge", "--judge", "gtp-4o", says=("--judge", "'gtp-4o'", "gpt-4o")),
    run("judge without a key", "--judge", "gpt-5.4-mini", says=("--judge gpt-5.4-mini", "OPENAI_API_KEY")),
    run("judge without a price", "--judge", "openai/gpt-none", says=("--judge", "no price", "./providers")),
    run(
        "address without a scheme", "--provider", "vllm", "--api-base", "localhost:8000", says=("--api-base", "http://")
    ),
    run("address of another scheme", "--provider", "vllm", "--api-base", "ftp://h/v1", says=("--api-base", "ftp://h")),
    run("address with a bad port", "--provider", "vllm", "--api-base", "http://h:99999", says=("--api-base", "99999")),
    run("empty address", "--provider", "vllm", "--api-base", "", says=("--api-base", "''", "http://")),
    run(
        "address with a query",
        "--provider",
        "vllm",
        "--api-base",
        f"http://h/v1?key={KEY}",
        says=("--api-base", "query"),
    ),
    run(
        "address with a password",
        *("--provider", "vllm", "--api-base", f"http://me:{KEY}@h/v1"),
        says=("--api-base", "password", "variable"),
    ),
    run(
        "nobody at the address",
        *("--provider", "vllm", "--api-base", "http://127.0.0.1:9/v1"),
        says=("vllm", "127.0.0.1:9", "no connection", "--api-base"),
    ),
    Case(
        "doctor: nobody at the address",
        ("doctor", "--provider", "vllm", "--api-base", "http://127.0.0.1:9/v1"),
        ("vllm", "127.0.0.1:9", "no connection", "--api-base"),
    ),
    Case("doctor: no key", ("doctor", "--provider", "gpt-5.4-mini"), ("gpt-5.4-mini", "OPENAI_API_KEY", "not set")),
    Case("doctor: unknown provider", ("doctor", "--provider", "gtp-4o"), ("gtp-4o", "gpt-4o")),
    run(
        "provider file: unknown key",
        says=("providers/mine.toml", "modle", "model?"),
        files={"providers/mine.toml": 'modle = "x"\n' + PROVIDER},
    ),
    run(
        "provider file: negative limit",
        says=("providers/mine.toml", "requests_per_minute", "-3", "above 0"),
        files={"providers/mine.toml": PROVIDER + "[limits]\nrequests_per_minute = -3\n"},
    ),
    run(
        "provider file: not TOML",
        says=("providers/mine.toml", "not valid TOML", "line 2"),
        files={"providers/mine.toml": "\nbackend = \n"},
    ),
    run(
        "provider file: not UTF-8",
        says=("providers/mine.toml", "UTF-8"),
        files={"providers/mine.toml": b'backend = "\xff"\n'},
    ),
    run(
        "provider file: the key itself",
        says=("providers/mine.toml", "api_key_env", "never the key"),
        files={"providers/mine.toml": f'api_key_env = "{KEY}"\n{PROVIDER}'},
    ),
    Case(
        "providers: a bad file",
        ("providers",),
        ("providers/mine.toml", "not valid TOML"),
        files={"providers/mine.toml": "= 3"},
    ),
    run("no such folder of providers", says=("nowhere", "no folder"), environment={"UNSAF_PROVIDERS": "nowhere"}),
    run(
        "simulated model with an unknown trait",
        *("--provider", "mine"),
        says=("mine", "extra.calm", "hedge"),
        files={"providers/mine.toml": PROVIDER.replace('"openai"', '"scripted"\nextra = {calm = 1}')},
    ),
]

IMAGES = [
    run("missing path", "--images", "gone.jpg", says=("--images", "gone.jpg", "does not exist")),
    run("empty path", "--images", "", says=("--images", "''", "folder")),
    run("empty folder", "--images", "empty", says=("--images", "empty", "no image", ".jpg"), files={"empty/": b""}),
    run("glob without a match", "--images", "*.bmp", says=("--images", "*.bmp", "nothing", "pattern")),
    run("glob of other files", "--images", "*.txt", says=("*.txt", "no image"), files={"a.txt": "text"}),
    run("URL", "--images", "https://example.org/a.jpg", says=("--images", "URL", "download")),
    run("manifest: not JSON", "--images", "m.jsonl", says=("m.jsonl:1", "JSON"), files={"m.jsonl": "{image: a}\n"}),
    run("manifest: no object", "--images", "m.jsonl", says=("m.jsonl:1", "[1]"), files={"m.jsonl": "[1]\n"}),
    run("manifest: empty", "--images", "m.jsonl", says=("m.jsonl", "no image"), files={"m.jsonl": ""}),
    run(
        "manifest: no column", "--images", "m.csv", says=("m.csv:1", "'image'", "pic"), files={"m.csv": "pic\na.png\n"}
    ),
    run(
        "manifest: ragged",
        "--images",
        "m.csv",
        says=("m.csv:2", "cells"),
        files={"m.csv": "image,id\nphotos/0000.png\n"},
    ),
    run("manifest: not UTF-8", "--images", "m.csv", says=("m.csv:2", "UTF-8"), files={"m.csv": b"image\n\xff.png\n"}),
    run(
        "manifest: missing file",
        "--images",
        "m.csv",
        says=("m.csv:2", "gone.png", "exist"),
        files={"m.csv": "image\ngone.png"},
    ),
    run("manifest: URL", "--images", "m.csv", says=("m.csv:2", "URL"), files={"m.csv": "image\nhttp://h/a.png\n"}),
    run(
        "manifest: an id twice",
        *("--images", "m.csv"),
        says=("m.csv:3", "'a'", "m.csv:2", "unique"),
        files={"m.csv": "image,id\nphotos/0000.png,a\nphotos/0001.png,a\n"},
    ),
    run("one wrong path among right ones", "--images", "photos", "gone.jpg", says=("gone.jpg", "does not exist")),
]

PACKS = [
    run("unknown pack", "--prompts", "mine", says=("--prompts", "'mine'", "unsaf")),
    run("empty pack", "--prompts", "", says=("--prompts", "''", "unsaf")),
    run("pack that is a file", "--prompts", "a.md", says=("--prompts", "a.md", "folder"), files={"a.md": "$question"}),
    run(
        "pack without a template",
        "--prompts",
        "mine",
        says=("--prompts mine/judge.md",),
        spoil=one_pack(judge_md=None),
    ),
    run(
        "pack without its table",
        "--prompts",
        "mine",
        says=("--prompts mine/pack.toml",),
        spoil=one_pack(pack_toml=None),
    ),
    run(
        "pack of no version",
        "--prompts",
        "mine",
        says=("--prompts mine/pack.toml", "version"),
        spoil=one_pack(pack_toml='name = "x"'),
    ),
    run(
        "pack's table is no TOML",
        "--prompts",
        "mine",
        says=("--prompts mine/pack.toml", "TOML"),
        spoil=one_pack(pack_toml="name ="),
    ),
    run(
        "no placeholder",
        "--prompts",
        "mine",
        says=("--prompts mine/answer.md", "$question"),
        spoil=one_pack(answer_md="Answer."),
    ),
    run(
        "other placeholder",
        "--prompts",
        "mine",
        says=("--prompts mine/answer.md", "$quest"),
        spoil=one_pack(answer_md="$quest $question"),
    ),
    run(
        "stray dollar",
        "--prompts",
        "mine",
        says=("--prompts mine/answer.md", "$$"),
        spoil=one_pack(answer_md="5 $ for $question"),
    ),
    run(
        "template not UTF-8",
        "--prompts",
        "mine",
        says=("--prompts mine/answer.md", "UTF-8"),
        spoil=one_pack(answer_md=b"\xff $question"),
    ),
]

FOLDERS = [
    run("out is a file", *PHOTOS, "--out", "file", says=("--out file", "another folder"), files={"file": "x"}),
    run("out below a file", *PHOTOS, "--out", "file/run", says=("--out file/run",), files={"file": "x"}),
    run("out holds other things", *PHOTOS, "--out", "photos", says=("--out photos", "not empty", "another")),
    run("out is empty", *PHOTOS, "--out", "", says=("--out", "empty")),
    run("out's name is too long", *PHOTOS, "--out", "x" * 300, says=("--out", "too long")),
    run("out holds a run of other images", *OF_THE_RUN, "--limit", "1", says=("--out done", "list of 2 images")),
    run("out holds a run of another seed", *OF_THE_RUN, "--seed", "1", says=("--out done", "--seed 0")),
    run("a judge twice", "--judge", "scripted", "--judge", "scripted", says=("--judge scripted", "twice")),
    run("rules beside a judge", "--judge", "rules", "--judge", "self", says=("--judge rules", "leave it out")),
    run("auditor twice", "--audit", "scripted", "--audit", "scripted", says=("--audit scripted", "twice")),
    run("misspelt auditor", "--audit", "gtp-4o", says=("--audit", "'gtp-4o'", "gpt-4o")),
    run("auditor without a key", "--audit", "gpt-5.4-mini", says=("--audit gpt-5.4-mini", "OPENAI_API_KEY")),
    run("grounded by rules alone", "--grounded", "--judge", "rules", says=("--grounded", "--judge")),
    run("too many samples", "--samples", "21", says=("--samples", "21", "0 to 20")),
    run("samples below 0", "--samples", "-1", says=("--samples", "-1")),
    run("samples of a word", "--samples", "many", says=("--samples", "'many'")),
    run("questions of nothing", "--questions-from", "gone", says=("--questions-from gone", "no run")),
    run(
        "questions of a run that has asked none",
        *("--questions-from", "done"),
        says=("--questions-from done", "holds no questions"),
        spoil=rewritten("done/journal.jsonl", lambda _: b""),
    ),
    run("calibration that is not there", "--judge-calibration", "gone.json", says=("--judge-calibration gone.json",)),
    run(
        "calibration that is none",
        *("--judge-calibration", "done/score.json"),
        says=("--judge-calibration done/score.json", "no calibration"),
    ),
    Case(
        "judge calibrate: unknown pack",
        ("judge", "calibrate", "a.jsonl", "--judge", "rules", "--prompts", "gone"),
        ("--prompts 'gone'", "unsaf"),
    ),
    run("out holds a run of another judge", *OF_THE_RUN, "--judge", "rules", says=("--out done", "--judge self")),
    run("out holds a run of other questions", *OF_THE_RUN[:2], "--out", "done", says=("--out done", "--questions 2")),
    run(
        "out holds a run of other prompts",
        *(*OF_THE_RUN, "--prompts", "mine"),
        says=("--out done", "prompts", "unsaf"),
        spoil=one_pack(answer_md="Q: $question"),
    ),
    run(
        "out holds a run of another model",
        *(*OF_THE_RUN, "--provider", "vllm", "--model", "m"),
        says=("--out done", "another model", "scripted"),
    ),
    run("cache and no cache", "--cache", "c", "--no-cache", says=("--cache", "--no-cache", "one of them")),
    Case("resume: cache and no cache", ("resume", "done", "--cache", "c", "--no-cache"), ("--cache", "--no-cache")),
    run("cache is empty", "--cache", "", says=("--cache", "empty")),
    run("cache is a file", *PHOTOS, "--cache", "file", says=("--cache file", "--no-cache"), files={"file": "x"}),
    run("cache holds other things", *PHOTOS, "--cache", "photos", says=("--cache photos", "0000.png", "folder")),
    run(
        "cache in the environment",
        *PHOTOS,
        says=("--cache file",),
        files={"file": "x"},
        environment={"UNSAF_CACHE": "file"},
    ),
    run(
        "cache is damaged",
        *PHOTOS,
        says=("--cache cache", "cannot be used", "--no-cache"),
        spoil=rewritten("cache/cache.db", scrambled),
    ),
    run(
        "cache is damaged behind its header",
        *PHOTOS,
        says=("cache", "cannot be used", "--no-cache"),
        spoil=rewritten("cache/cache.db", lambda data: scrambled(data, 3000)),
    ),
    Case("cache info of nothing", ("cache", "info", "--cache", "gone"), ("gone", "no stored replies", "--cache")),
    Case(
        "cache info of a file", ("cache", "info", "--cache", "file"), ("file", "no stored replies"), files={"file": "x"}
    ),
    Case(
        "cache info of a damaged one",
        ("cache", "info"),
        ("--cache cache", "cannot be used"),
        spoil=rewritten("cache/cache.db", scrambled),
    ),
    Case(
        "cache explain of a damaged one",
        ("cache", "explain", *PHOTOS),
        ("cache", "cannot be used"),
        spoil=rewritten("cache/cache.db", scrambled),
    ),
    Case("cache clear with nobody to ask", ("cache", "clear"), ("cache clear", "nobody can be asked", "-y")),
]


def with_cache(cache: str) -> Callable[[], None]:
    """The run of `done` keeps its replies elsewhere."""

    def spoil() -> None:
        with reopen(Path("done")) as folder:
            folder.keep_manifest(folder.manifest.model_copy(update={"cache": cache}))

    return spoil


def of_a_run(id: str, *words: str, spoil: Callable[[], object], show: bool = True) -> list[Case]:  # noqa: A002
    """The same damage met by `resume` and, unless it does not read that file, by `show`."""
    commands = ("resume", "show") if show else ("resume",)
    return [Case(f"{name}: {id}", (name, "done"), words, spoil=spoil) for name in commands]


RUNS = [
    *(Case(f"{name} of nothing", (name, "gone"), ("gone", "no run", "manifest.json")) for name in ("resume", "show")),
    *(Case(f"{name} of a file", (name, "file"), ("file", "no run"), files={"file": ""}) for name in ("resume", "show")),
    *(Case(f"{name} of photos", (name, "photos"), ("photos", "no run")) for name in ("resume", "show")),
    *(Case(f"{name} of an empty name", (name, ""), ("RUN_DIR", "empty")) for name in ("resume", "show")),
    *of_a_run("manifest cut", "done/manifest.json", spoil=rewritten("done/manifest.json", lambda data: data[:99])),
    *of_a_run("manifest empty", "done/manifest.json", spoil=rewritten("done/manifest.json", lambda _: b"")),
    *of_a_run("manifest of nothing", "manifest.json", "run_id", spoil=rewritten("done/manifest.json", lambda _: b"{}")),
    *of_a_run(
        "manifest of a later version",
        *("done/manifest.json", "format"),
        spoil=rewritten("done/manifest.json", lambda data: data.replace(b'"format": 2', b'"format": 99')),
    ),
    *of_a_run(
        "manifest with a word for a number",
        *("done/manifest.json", "questions"),
        spoil=rewritten("done/manifest.json", lambda data: data.replace(b'"questions": 2', b'"questions": "two"')),
    ),
    *of_a_run("journal damaged", "done/journal.jsonl:1", spoil=rewritten("done/journal.jsonl", first_line_cut)),
    *of_a_run(
        "journal in bytes", "journal.jsonl:1", spoil=rewritten("done/journal.jsonl", lambda data: b"\xff\n" + data)
    ),
    *of_a_run("journal a folder", "done/journal.jsonl", spoil=replaced_by_a_folder("done/journal.jsonl")),
    *of_a_run("ledger damaged", "ledger.jsonl:1", spoil=rewritten("done/ledger.jsonl", lambda data: b"{}\n" + data)),
    *of_a_run("ledger of lists", "ledger.jsonl:1", spoil=rewritten("done/ledger.jsonl", lambda data: b"[]\n" + data)),
    *of_a_run("images damaged", "images.jsonl", spoil=rewritten("done/images.jsonl", first_line_cut), show=False),
    *of_a_run(
        "images emptied", "images.jsonl", "new run", spoil=rewritten("done/images.jsonl", lambda _: b""), show=False
    ),
    *of_a_run("lock a folder", "done", "permissions", spoil=replaced_by_a_folder("done/lock"), show=False),
    *of_a_run(
        "cache a file",
        "--cache photos/0000.png",
        spoil=with_cache("photos/0000.png"),
        show=False,
    ),
]

SIMULATE = [
    Case(f"simulate {' '.join(arguments)}", ("simulate", *arguments), words)
    for arguments, words in [
        (("--port", "70000"), ("--port", "70000", "65535")),
        (("--port", "-1"), ("--port", "-1")),
        (("--port", "http"), ("--port", "'http'", "whole number")),
        (("--fault", "501=0.1"), ("--fault", "'501'", "503")),
        (("--fault", "500"), ("--fault", "'500'", "500=0.05")),
        (("--substitute", "gpt-4o"), ("--substitute", "'gpt-4o'", "two models")),
        (("--expire", "gpt-4o=soon"), ("--expire", "'gpt-4o=soon'", "number of requests")),
        (("--expire", "gpt-4o=2027-01-14"), ("--expire", "moment with its zone")),
        (("--fault", "500=2"), ("--fault", "'500=2'", "between 0 and 1")),
        (("--fault", "500=nan"), ("--fault", "'500=nan'", "between 0 and 1")),
        (("--fault", "500=0.6", "--fault", "503=0.6"), ("faults", "1.2")),
        (("--batch-fault", "row_501=0.1"), ("--batch-fault", "'row_501'", "row_500")),
        (("--batch-limit", "rows=5"), ("--batch-limit", "'rows'", "max_rows")),
        (("--batch-limit", "max_rows=0"), ("--batch-limit", "'max_rows=0'", "above 0")),
        (("--batch-delay", "1,2"), ("--batch-delay", "'1,2'", "1 or 3 number(s)")),
        (("--batch-window", "0"), ("--batch-window", "above 0")),
        (("--awareness", "calm=1"), ("--awareness", "'calm'", "hedge")),
        (("--awareness", "hedge=7"), ("--awareness", "'hedge=7'", "between 0 and 1")),
        (("--awareness", "hedge"), ("--awareness", "'hedge'", "hedge=0.05")),
        (("--latency", "slow"), ("--latency", "'slow'")),
        (("--latency", "3,1"), ("latency", "p50")),
        (("--latency", "-1"), ("--latency", "'-1'")),
        (("--price", "2.5"), ("--price", "'2.5'", "2 number")),
        (("--rpm", "0"), ("--rpm", "is 0")),
        (("--tpm", "nan"), ("--tpm", "is nan")),
        (("--burst", "-1"), ("--burst", "is -1")),
        (("--max-concurrency", "0"), ("--max-concurrency", "is 0")),
        (("--model", ""), ("--model", "empty")),
        (("--key-env", "NO_SUCH_VARIABLE"), ("--key-env", "NO_SUCH_VARIABLE", "not set")),
    ]
]

CASES = [*COMMANDS, *NUMBERS, *PROVIDERS, *IMAGES, *PACKS, *FOLDERS, *RUNS, *SIMULATE]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two photos in `photos`, a finished run in `done`, and its `cache`."""
    folder = tmp_path_factory.mktemp("finished")
    draw_images(folder / "photos", 2)
    ended = process("run", *OF_THE_RUN, "--quiet", cwd=folder)
    assert ended.code == 0, ended.err
    return folder


@pytest.fixture
def desk(finished: Path, tmp_path: Path) -> Path:
    """The working directory: a copy of `finished`."""
    shutil.copytree(finished, tmp_path, dirs_exist_ok=True)
    mark_cache(tmp_path / "cache", user_key())
    return tmp_path


def whole_tree(folder: Path) -> dict[str, bytes]:
    """Every file's content, but for the run's lock and what sqlite keeps beside its database."""
    return {
        str(file.relative_to(folder)): file.read_bytes()
        for file in folder.rglob("*")
        if file.is_file() and file.name != "lock" and not file.name.endswith(("-shm", "-wal"))
    }


def assert_one_line(ended: Ended, *words: str) -> None:
    assert ended.code == 2, ended
    assert ended.err.startswith("unsaf-async"), ended.err
    assert ended.complaint.count("\n") == 1, ended.err
    assert "Traceback" not in ended.err
    for word in words:
        assert word in ended.err, f"{word!r} is missing in: {ended.err}"
    assert KEY not in ended.err + ended.out


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_a_mistake_ends_in_exit_code_2_and_one_line_and_leaves_all_as_it_was(
    case: Case, desk: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, content in case.files.items():
        (desk / name).parent.mkdir(parents=True, exist_ok=True)
        if name.endswith("/"):
            (desk / name).mkdir()
        else:
            (desk / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    case.spoil()
    for name, text in case.environment.items():
        monkeypatch.setenv(name, text)
    before = whole_tree(desk)
    ended = command(capsys, *case.arguments)
    assert_one_line(ended, *case.words)
    assert ended.out == ""
    after = whole_tree(desk)
    assert after.keys() == before.keys()
    for name, content in before.items():
        if not name.endswith("cache.db"):  # sqlite counts its openings
            # A ledger may end with the line that a session began, and the one that it ended.
            assert after[name] == content or (name.endswith("ledger.jsonl") and after[name].startswith(content)), name


IN_A_PROCESS = (
    *("unknown option", "unknown command", "--questions many", "--max-cost nan", "misspelt provider", "no key"),
    *("manifest: an id twice", "stray dollar", "cache is damaged", "resume: journal damaged", "simulate --port 70000"),
)


@pytest.mark.parametrize("name", IN_A_PROCESS)
def test_a_process_of_its_own_ends_the_same_way(name: str, desk: Path) -> None:
    case = next(case for case in CASES if case.id == name)
    for file, content in case.files.items():
        (desk / file).write_text(str(content))
    case.spoil()
    ended = process(*case.arguments)
    assert_one_line(ended, *case.words)
    assert ended.out == ""


def test_the_table_is_long_and_names_no_case_twice() -> None:
    names = [case.id for case in CASES]
    assert len(names) == len(set(names)) >= 60


# --- what only a server can tell -------------------------------------------------------------------------------------


class _Echo(BaseHTTPRequestHandler):
    """Refuses every request in words that repeat the key. Any path that ends in /lost/models is answered with `status`."""

    status = 401

    def _refuse(self) -> None:
        self.rfile.read(int(self.headers.get("content-length", 0)))
        key = self.headers.get("authorization", "").removeprefix("Bearer ")
        body = f'{{"error": {{"message": "Incorrect API key provided: {key}.", "code": "invalid_api_key"}}}}'.encode()
        self.send_response(self.status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = _refuse  # noqa: N815 - http.server calls these

    def log_message(self, *_: object) -> None:
        """Nothing: stderr is what is tested."""


@contextmanager
def refusing(status: int = 401) -> Iterator[str]:
    """The base URL of a server that refuses with `status`."""
    server = HTTPServer(("127.0.0.1", 0), type("Echo", (_Echo,), {"status": status}))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.mark.parametrize("also", [(), ("--model", "m"), ("--model", "m", "--json")], ids=["models", "calls", "json"])
def test_a_refused_key_is_one_line_without_the_key_even_where_the_server_repeats_it(
    desk: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, also: tuple[str, ...]
) -> None:
    monkeypatch.setenv("VLLM_API_KEY", KEY)
    with refusing() as base:
        ended = command(capsys, "run", *PHOTOS, "--provider", "vllm", "--api-base", base, "--out", "run", *also)
    assert_one_line(ended, "key was refused", "Incorrect API key provided: [key].")
    assert ended.out == ""
    assert not any(KEY.encode() in content for content in whole_tree(desk).values())


@pytest.mark.parametrize("status", [400, 403, 404, 429, 500])
def test_a_server_that_lists_no_models_is_the_users_to_mend(
    desk: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    monkeypatch.setenv("VLLM_API_KEY", KEY)
    with refusing(status) as base:
        ended = command(capsys, "run", *PHOTOS, "--provider", "vllm", "--api-base", base)
    assert_one_line(ended, "--provider vllm", base)
    assert not (desk / "runs").exists()


@pytest.mark.parametrize("route", ["gpt-5.4-mini", "claude-sonnet-5-5", "gemini-3.5-flash-lite"])
def test_a_vendors_refusal_of_the_key_ends_the_run_with_nothing_spent(
    desk: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, route: str
) -> None:
    for name in ("OPENAI_API_KEY", "ANTHROPIC_API_KEY", "GEMINI_API_KEY"):
        monkeypatch.setenv(name, KEY)
    with serving(Simulation(api_key="another", price=(2.5, 10))) as simulator:
        bases = {"gpt-5.4-mini": simulator.openai_base, "gemini-3.5-flash-lite": simulator.gemini_base}
        base = bases.get(route, simulator.anthropic_base)
        arguments = ("--provider", route, "--api-base", base, "--max-cost", "5", "--out", "run", "--quiet")
        ended = command(capsys, "run", *PHOTOS, *arguments)
        assert simulator.ledger.billed_usd == 0
    assert_one_line(ended, route, "key was refused", "unsaf-async resume run")
    assert ended.out == ""


def test_a_run_whose_key_was_refused_goes_on_with_the_right_one(
    desk: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VLLM_API_KEY", KEY)
    with serving(Simulation(api_key="the-right-one")) as simulator:
        # Named, so that the key is refused in the calls and not where the models are listed.
        arguments = ("--provider", "vllm", "--model", "gpt-4o", "--api-base", simulator.openai_base, "--out", "run")
        ended = command(capsys, "run", *PHOTOS, *arguments)
        assert_one_line(ended, "key was refused")
        monkeypatch.setenv("VLLM_API_KEY", "the-right-one")
        assert command(capsys, "resume", "run").code == 0


def test_a_model_that_the_endpoint_does_not_have_is_one_line(desk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with serving(Simulation(models=("simulated",))) as simulator:
        base = simulator.openai_base
        ended = command(capsys, "run", *PHOTOS, "--provider", "vllm", "--api-base", base, "--model", "other")
    assert_one_line(ended, "no such model", "other")


@pytest.mark.parametrize("given", ["gateway", "file", "variable"])
def test_an_address_that_is_wrong_is_looked_for_where_it_was_given(
    desk: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, given: str
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    (desk / "providers").mkdir(exist_ok=True)
    address = "http://127.0.0.1:9"
    place, route, text = {
        "gateway": ("providers/company.toml", "gpt-5.4-mini", f'[gateway]\nendpoint = "{address}/v1"\n'),
        "file": (
            "endpoint in providers/own.toml",
            "own",
            f'backend = "openai"\nendpoint = "{address}/v1"\nmodel = "m"\n',
        ),
        "variable": ("OPENAI_BASE_URL", "gpt-5.4-mini", ""),
    }[given]
    if given == "variable":
        monkeypatch.setenv("OPENAI_BASE_URL", f"{address}/v1")
    else:
        (desk / place.split()[-1]).write_text(
            text + ("price = { input_usd_per_mtok = 1, output_usd_per_mtok = 1 }\n" if given == "file" else "")
        )
    common = ("--provider", route)
    ended = command(capsys, "doctor", *common, "-y")
    assert ended.err.strip().splitlines()[-1].endswith(place)
    ended = command(capsys, "run", *PHOTOS, *common, "--out", "run", "--max-cost", "5", "--quiet")
    last = ended.err.strip().splitlines()[-1]
    assert f"{place} and the network" in last
    assert ("--api-base" in last) == (given == "file")


def test_doctor_calls_a_refused_key_a_mistake(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VLLM_API_KEY", KEY)
    with serving(Simulation(api_key="another")) as simulator:
        ended = command(capsys, "doctor", "--provider", "vllm", "--api-base", simulator.openai_base)
    assert_one_line(ended, "--provider vllm", "key was refused")


def test_doctor_calls_an_unreachable_server_a_mistake_also_where_the_model_is_named(
    capsys: pytest.CaptureFixture[str],
) -> None:
    arguments = ("--provider", "vllm", "--model", "m", "--api-base", "http://127.0.0.1:9/v1")
    ended = command(capsys, "doctor", *arguments)
    assert_one_line(ended, "--provider vllm", "no connection", "--api-base")


def test_doctor_without_a_network_says_so_once(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ("--provider", "vllm", "--model", "m", "--api-base", "http://127.0.0.1:9/v1")
    ended = command(capsys, "doctor", *arguments)
    assert_one_line(ended, "127.0.0.1:9: no connection", "check the network and --api-base")
    assert (ended.out + ended.err).count("no connection") == 1
    assert "looked at" not in ended.out


@pytest.mark.parametrize("model", [(), ("--model", "m")])
@pytest.mark.parametrize("what", [("doctor",), ("run", *PHOTOS)])
def test_an_address_without_its_path_is_answered_with_the_whole_one(
    what: tuple[str, ...], model: tuple[str, ...], capsys: pytest.CaptureFixture[str], desk: Path
) -> None:
    with serving() as simulator:
        base = simulator.openai_base.removesuffix("/v1")
        ended = command(capsys, *what, "--provider", "vllm", "--api-base", base, *model)
    assert ended.code == 2
    assert ended.err.splitlines()[-1].endswith(f"{base}/v1?")
    assert "404 404" not in ended.out + ended.err


def test_a_judge_that_cannot_be_reached_is_named_as_the_judge(desk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("providers").mkdir()
    Path("providers/mine.toml").write_text(PROVIDER)
    assert_one_line(command(capsys, "run", *PHOTOS, "--judge", "mine"), "--judge mine", "127.0.0.1:9")
    assert not (desk / "runs").exists()


def test_without_a_terminal_a_run_that_costs_money_needs_a_cap_or_a_yes(
    desk: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with serving(Simulation(price=(2.5, 10))) as simulator:
        arguments = ("--provider", "vllm", "--api-base", simulator.openai_base, "--price", "2.5,10")
        ended = command(capsys, "run", *PHOTOS, *arguments)
        assert simulator.ledger.requests == 0
    assert_one_line(ended, "costs money", "--max-cost", "-y")
    assert not (desk / "runs").exists()


def cap_of_one_image(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """A cap that lets one image begin, by what a lower one is answered with."""
    refused = command(capsys, "run", *PHOTOS, *arguments, "--max-cost", "0.0001")
    found = re.search(r"one image can cost \$([\d.]+) at worst", refused.err)
    assert found
    return str(1.01 * float(found[1]))


def test_a_cap_below_one_images_worst_case_sends_nothing_and_says_how_to_go_on(
    desk: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with serving(Simulation(price=(2.5, 10))) as simulator:
        arguments = ("--provider", "vllm", "--api-base", simulator.openai_base, "--price", "2.5,10", "--out", "run")
        ended = command(capsys, "run", *PHOTOS, *arguments, "--max-cost", "0.0001")
        assert simulator.ledger.requests == 0
        assert_one_line(ended, "--max-cost is 0.0001", "one image can cost $", "give at least that")
        assert not Path("run").exists()
        assert command(capsys, "run", *PHOTOS, *arguments, "--max-cost", "5").code == 0


def test_a_cap_that_lets_one_image_begin_stops_the_run_and_says_how_to_go_on(
    desk: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with serving(Simulation(price=(2.5, 10))) as simulator:
        arguments = ("--provider", "vllm", "--api-base", simulator.openai_base, "--price", "2.5,10", "--out", "run")
        ended = command(capsys, "run", *PHOTOS, *arguments, "--max-cost", cap_of_one_image(capsys, *arguments))
        assert ended.code == 3
        assert ended.complaint.count("\n") == 1
        assert "unsaf-async resume run --max-cost USD" in ended.err
        assert command(capsys, "resume", "run", "--max-cost", "5").code == 0


def test_images_that_cannot_be_read_fail_one_by_one_with_their_reasons(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = {"empty.png": b"", "text.jpg": b"not a picture", "cut.jpg": b"\xff\xd8\xff\xe0\x00\x10JFIF"}
    Path("broken").mkdir()
    for name, content in broken.items():
        (tmp_path / "broken" / name).write_bytes(content)
    draw_images(tmp_path / "broken", 1)
    ended = command(capsys, "run", "--images", "broken", "--out", "run")
    assert ended.code == 3
    lines = ended.err.splitlines()
    assert all(line.startswith("unsaf-async: ") for line in lines)
    for name in broken:
        assert sum(line.startswith(f"unsaf-async: {name}: ") for line in lines) == 1
    assert "3 of 4 images failed" in lines[-1]
    assert "mend these files, then `unsaf-async resume run`" in lines[-1]
    shown = command(capsys, "show", "run")
    assert shown.code == 0
    assert "empty.png: the file is empty" in shown.out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("estimate --provider gpt-4o holiday/", "(holiday/); did you mean --images holiday/? (see"),
        ("run *.jpg", "(*.jpg); did you mean --images *.jpg? (see"),
        ("run scripted", "(scripted); did you mean --provider scripted? (see"),
        ("run gpt-4.1-mini", "did you mean --provider gpt-4.1-mini? (see"),
        ("show done done", "(done) (see"),
        ("run --provder scripted", "No such option: --provder; did you mean --provider or "),
        ("run --questins 3", "did you mean --questions or --questions-from? (see"),
        ("run --zzz", "No such option: --zzz (see"),
    ],
)
def test_a_misplaced_or_misspelt_word_is_answered_with_what_was_probably_meant_first(
    words: str, said: str, desk: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert_one_line(command(capsys, *words.split(" ")), said)


@pytest.mark.parametrize("words", [("run",), ("estimate",), ("run", "--dry-run")])
def test_images_of_which_none_can_be_read_are_a_mistake_before_anything_is_opened(
    words: tuple[str, ...], desk: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("notes.txt").write_text("no picture")
    one = command(capsys, *words, "--provider", "scripted", "--images", "notes.txt")
    assert_one_line(one, "--images notes.txt: is no picture and no list of pictures, but a text that begins with 'no p")
    Path("notes.png").write_text("no picture")
    one = command(capsys, *words, "--provider", "scripted", "--images", "notes.png")
    assert_one_line(one, "--images: notes.png: the file is text, not an image")
    Path("both").mkdir()
    for name in ("a.png", "b.png"):
        Path("both", name).write_bytes(b"")
    both = command(capsys, *words, "--provider", "scripted", "--images", "both")
    assert_one_line(both, "--images: none of 2 can be used; the first, ", "the file is empty")
    assert not (desk / "runs").exists()


@pytest.mark.parametrize("words", [("show",), ("resume",), ("report",), ("compare", "done")])
def test_a_folder_of_runs_given_for_a_run_is_answered_with_the_newest_in_it(
    words: tuple[str, ...], desk: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in range(7):
        shutil.copytree("done", f"runs/{number}")
        manifest = Path("runs", str(number), "manifest.json")
        begun = {"created": f"2026-01-0{number + 1}T00:00:00+00:00"}
        manifest.write_text(json.dumps(json.loads(manifest.read_bytes()) | begun), "utf-8")
        os.utime(manifest, (9 - number, 9 - number))  # something was asked of the older ones later
    said = command(capsys, *words, "runs")
    assert_one_line(said, "runs: is no run's folder", "newest first: runs/6, runs/5, runs/4, runs/3, runs/2 and 2 more")


def test_runs_of_a_suite_and_of_a_cross_examination_are_found_below_a_folder_of_runs(
    desk: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def serve(*_: object) -> None:
        pass

    monkeypatch.setattr("unsaf_async.cli.report._serve", serve)
    for place in ("runs/s/one", "runs/s/two", "runs/crossed/cells/a--b"):
        shutil.copytree("done", place)
    Path("runs/notes.txt").touch()
    said = command(capsys, "show", "runs/crossed")
    assert_one_line(said, "give one of the runs in it, newest first: runs/crossed/cells/a--b")
    said = command(capsys, "show", "runs")
    assert_one_line(said, "newest first: runs/s/two, runs/s/one, runs/crossed/cells/a--b")
    shutil.copytree("done", "runs/single")
    said = command(capsys, "show", "runs")
    assert_one_line(said, "newest first: runs/single; more lie in runs/crossed/cells, runs/s")
    viewed = command(capsys, "view", "runs")
    assert (
        viewed.err
        == "unsaf-async: more lie in runs/crossed/cells, runs/s: `unsaf-async view` shows one folder at a time\n"
    )
    assert command(capsys, "view", "runs/s").err == ""
    assert groups_in(Path("runs/s/one")) == groups_in(Path("nowhere")) == {}


def test_a_report_that_cannot_be_put_where_it_is_wanted_is_not_built(
    desk: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (desk / "done" / "journal.jsonl").write_text("no examination")  # building would fail at this, and is not tried
    said = command(capsys, "report", "done", "--out", "nodir/page.html")
    assert_one_line(said, "--out nodir/page.html: there is no folder nodir; make it")


def test_a_port_that_is_taken_is_a_mistake(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        assert_one_line(command(capsys, "simulate", "--port", port), f"port {port}", "choose another")


def test_a_run_that_another_process_works_on_is_left_alone(desk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with FileLock(desk / "done" / "lock"):
        for arguments in (("resume", "done"), ("run", *OF_THE_RUN)):
            assert_one_line(command(capsys, *arguments), "done", "another process")
        assert command(capsys, "show", "done").code == 0


def test_resuming_with_changed_prompts_is_refused(desk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one_pack()()
    assert command(capsys, "run", *PHOTOS, "--prompts", "mine", "--questions", "1", "--out", "run").code == 0
    Path("mine/answer.md").write_text("Q: $question")
    assert_one_line(command(capsys, "resume", "run"), "mine", "changed", "new run")
    shutil.rmtree("mine")
    gone = command(capsys, "resume", "run")
    assert_one_line(gone, "run: its prompts", "mine", "no such folder")
    assert "--prompts" not in gone.err, "which `resume` does not take"


def test_resuming_without_the_key_is_refused(
    desk: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_KEY", KEY)
    Path("providers").mkdir()
    Path("providers/mine.toml").write_text('model = "m"\napi_key_env = "MY_KEY"\napi_key_required = true\n' + PROVIDER)
    with serving(Simulation(any_model=True, price=(2.5, 10))) as simulator:
        arguments = ("--provider", "mine", "--api-base", simulator.openai_base, "--price", "2.5,10", "--out", "run")
        cap = cap_of_one_image(capsys, *arguments)
        assert command(capsys, "run", *PHOTOS, *arguments, "--max-cost", cap).code == 3
    monkeypatch.delenv("MY_KEY")
    assert_one_line(command(capsys, "resume", "run"), "MY_KEY", "not set")


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is unwritable for root")
@pytest.mark.parametrize("option", ["--out", "--cache"])
def test_a_folder_that_may_not_be_written_is_a_mistake(
    desk: Path, capsys: pytest.CaptureFixture[str], option: str
) -> None:
    closed = desk / "closed"
    closed.mkdir(mode=0o500)
    ended = command(capsys, "run", *PHOTOS, option, "closed/inner")
    assert_one_line(ended, f"{option} closed/inner")


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is unreadable for root")
def test_a_folder_of_images_that_may_not_be_read_is_a_mistake(desk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (desk / "photos").chmod(0)
    try:
        assert_one_line(command(capsys, "run", *PHOTOS), "--images", "photos", "permissions")
    finally:
        (desk / "photos").chmod(0o700)
