"""A run's folder that is not the user's own decides neither where calls go nor what goes with them.

`mine` listens at one socket, whoever made the folder at another. Both keep what comes.
"""

from __future__ import annotations

import json
import shutil
import stat
import sys
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Any

import pytest
from commandline import Ended, command, process, serving
from driving import draw_images
from PIL import Image

from unsaf_async.api import evaluate
from unsaf_async.calls.disk import entries
from unsaf_async.errors import UntrustedFolder
from unsaf_async.runs.folder import read_manifest, read_signed
from unsaf_async.runs.journal import read_journal
from unsaf_async.runs.signature import state_folder, user_key
from unsaf_async.simulate.settings import Simulation

if TYPE_CHECKING:
    from collections.abc import Iterator

    from unsaf_async.simulate.server import Simulator

KEY = "sk-of-mine-0123456789abcdef"
PASSWORD = "correct-horse-battery-staple"

Fields = dict[str, Any]
Tamper = Callable[[Fields, str], object]
"""Changes a manifest's fields; gets the other side's address, too."""


@dataclass
class Recorder:
    """A server that keeps what it is sent, and serves nothing."""

    base: str = ""
    requests: list[bytes] = field(default_factory=list)


@contextmanager
def recording() -> Iterator[Recorder]:
    recorder = Recorder()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            recorder.requests.append(f"{self.path}\n{self.headers}\n".encode() + body)
            self.send_response(400)
            self.end_headers()
            self.wfile.write(b'{"error": {"message": "thank you"}}')

        do_GET = do_POST  # noqa: N815 - http.server's name

        def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    recorder.base = f"http://127.0.0.1:{server.server_port}/v1"
    thread = Thread(target=server.serve_forever)
    thread.start()
    try:
        yield recorder
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@dataclass(frozen=True)
class Desk:
    """The user's working directory: providers/, photos/, the user's run `own`, and both servers."""

    mine: Simulator
    theirs: Recorder
    capsys: pytest.CaptureFixture[str]

    def __call__(self, *arguments: str) -> Ended:
        """A command."""
        return command(self.capsys, *arguments)

    def received(self, tamper: Tamper = lambda *_: None, name: str = "received", *, images: str = "photos") -> Path:
        """A folder of somebody else's with the run of `own`, half done, tampered with; its images lie in `images` below it."""
        folder = Path(name)
        shutil.copytree("own", folder)
        (folder / "images.jsonl").write_text(
            "".join(
                json.dumps(row | {"path": str((folder / images / Path(row["path"]).name).absolute())}, sort_keys=True)
                + "\n"
                for row in map(json.loads, (folder / "images.jsonl").read_text().splitlines())
            )
        )
        shutil.copytree("photos", folder / "photos")
        half(folder)
        fields = json.loads((folder / "manifest.json").read_text())
        fields |= {"images_sha256": sha256((folder / "images.jsonl").read_bytes()).hexdigest()}
        tamper(fields, self.theirs.base)
        (folder / "manifest.json").write_text(json.dumps(fields))
        return folder


def half(folder: Path) -> None:
    """The run in `folder` has its last image still to do, and no reply about it is stored."""
    shutil.rmtree("cache", ignore_errors=True)
    journal = folder / "journal.jsonl"
    journal.write_bytes(b"".join(journal.read_bytes().splitlines(keepends=True)[:-1]))


def profile(name: str, base: str, *lines: str, key: str = "MINE_API_KEY") -> None:
    """A model in ./providers."""
    Path("providers").mkdir(exist_ok=True)
    price = "price = { input_usd_per_mtok = 1, output_usd_per_mtok = 1 }"
    text = (f'backend = "openai"\nmodel = "{name}-1"\nendpoint = "{base}"', f'api_key_env = "{key}"', price, *lines)
    Path(f"providers/{name}.toml").write_text("\n".join(text) + "\n")


OF_OWN = ("--provider", "mine", "--judge", "judge", "--images", "photos", "--questions", "1")
QUIETLY = ("--quiet", "--no-report", "-y")


@pytest.fixture
def desk(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    monkeypatch.setenv("MINE_API_KEY", KEY)
    monkeypatch.setenv("DATABASE_PASSWORD", PASSWORD)
    draw_images(Path("photos"), 2)
    with serving(Simulation(any_model=True, price=(1, 1))) as mine, recording() as theirs:
        for name in ("mine", "judge"):
            profile(name, mine.openai_base, 'headers = { x-title = "unsaf" }')
        desk = Desk(mine, theirs, capsys)
        ended = desk("run", *OF_OWN, *QUIETLY, "--out", "own")
        assert ended.code == 0, ended.err
        yield desk


def set_in(*path: str, **values: object) -> Tamper:
    """Sets values in the part of a manifest that lies at `path`; "THEIRS" stands for the other side's address."""

    def tamper(fields: Fields, base: str) -> None:
        for name in path:
            fields = fields[name]
        fields.update(json.loads(json.dumps(values).replace("THEIRS", base)))

    return tamper


def another_model(role: str) -> Tamper:
    """Names one more judge or auditor, served by the other side."""

    def tamper(fields: Fields, base: str) -> None:
        more = fields["subject"] | {"name": "helper", "endpoint": base}
        fields["others"]["helper"] = more
        fields[role] = [*fields[role], "helper"]

    return tamper


def self_among_the_others(fields: Fields, base: str) -> None:
    fields["others"]["self"] = fields["subject"] | {"endpoint": base}
    fields["judges"] = ["self"]


def judge_by_a_name_of_ours(fields: Fields, base: str) -> None:
    fields["others"]["judge"] |= {"name": "mine", "endpoint": base}


TAMPERED: dict[str, tuple[Tamper, tuple[str, ...]]] = {
    "its address": (set_in("subject", endpoint="THEIRS"), ("mine: endpoint 'http://", "(yours: 'http://")),
    "its address and the key's variable": (
        set_in("subject", endpoint="THEIRS", api_key_env="DATABASE_PASSWORD"),
        ("api_key_env 'DATABASE_PASSWORD' (yours: 'MINE_API_KEY')",),
    ),
    "the key's variable": (
        set_in("subject", api_key_env="DATABASE_PASSWORD"),
        ("mine: api_key_env 'DATABASE_PASSWORD' (yours: 'MINE_API_KEY')",),
    ),
    "no key": (set_in("subject", api_key_env=None), ("mine: api_key_env none (yours: 'MINE_API_KEY')",)),
    "one more address": (set_in("subject", replicas=["THEIRS"]), ("mine: replicas ('http://", "(yours: none)")),
    "the judge's address": (set_in("others", "judge", endpoint="THEIRS"), ("judge: endpoint 'http://",)),
    "one more judge": (another_model("judges"), ("helper: endpoint 'http://", "(yours: no profile)")),
    "one more auditor": (another_model("auditors"), ("helper: endpoint 'http://", "(yours: no profile)")),
    "a judge by the name of the measured model": (judge_by_a_name_of_ours, ("no profile of 'judge'",)),
    "a header": (set_in("subject", headers={"x-forwarded-to": "them"}), ("mine: headers {'x-forwarded-to'",)),
    "a field of the body": (set_in("subject", extra={"store": True}), ("mine: extra {'store': True} (yours: none)",)),
    "tools": (
        set_in("subject", extra={"tools": [{"type": "mcp", "server_url": "https://example.com"}]}),
        ("mine: extra {'tools'",),
    ),
    "another wire": (
        set_in("subject", backend="litellm", model="openai/mine-1", vendor="openai", endpoint="THEIRS"),
        ("mine: backend 'litellm' (yours: 'openai')",),
    ),
    "another model": (set_in("subject", model="dearest"), ("mine: model 'dearest' (yours: 'mine-1')",)),
    "a price of nothing": (
        set_in("subject", price={"input_usd_per_mtok": 0, "output_usd_per_mtok": 0}),
        ("mine: price {'input_usd_per_mtok': 0",),
    ),
    "a name of nobody's": (set_in("subject", name="stranger", endpoint="THEIRS"), ("stranger: endpoint 'http://",)),
    "prompts": (set_in(pack="/tmp/prompts"), ("prompts '/tmp/prompts' (yours: none given)",)),
}


def assert_nobody_was_called(desk: Desk, requests: int) -> None:
    assert desk.theirs.requests == []
    assert desk.mine.ledger.requests == requests


def assert_refused(ended: Ended, *words: str) -> None:
    assert (ended.code, ended.out) == (2, ""), ended
    (line,) = ended.err.splitlines()
    for word in words:
        assert word in line
    assert KEY not in line
    assert PASSWORD not in line


def told(ended: Ended) -> list[str]:
    """What a command that went well said on stderr, but for who is called where."""
    return [line for line in ended.err.splitlines() if " at http://" not in line]


@pytest.mark.parametrize("how", TAMPERED)
def test_a_tampered_folder_stops_with_both_values_before_anything_is_sent(how: str, desk: Desk) -> None:
    tamper, words = TAMPERED[how]
    folder = desk.received(tamper)
    before, requests = (folder / "manifest.json").read_bytes(), desk.mine.ledger.requests
    for arguments in (("resume", "received"), ("audit", "received", "--provider", "judge")):
        assert_refused(desk(*arguments, *QUIETLY, "--max-cost", "5"), "received", *words)
        assert_nobody_was_called(desk, requests)
        assert (folder / "manifest.json").read_bytes() == before


def test_a_model_by_the_name_of_self_does_not_stand_in_for_the_measured_one(desk: Desk) -> None:
    desk.received(self_among_the_others)
    assert desk("resume", "received", *QUIETLY, "--max-cost", "5").code == 0
    assert desk.theirs.requests == []


def test_a_folder_of_somebody_elses_that_says_the_same_goes_on_without_a_word(desk: Desk) -> None:
    folder = desk.received()
    requests = desk.mine.ledger.requests
    ended = desk("resume", "received", *QUIETLY, "--max-cost", "5")
    assert (ended.code, told(ended)) == (0, [])
    assert len(read_journal(folder / "journal.jsonl")) == 2
    assert desk.theirs.requests == []
    assert desk.mine.ledger.requests > requests
    assert not read_signed(folder)[1], "nobody has said that it is the user's"


def test_what_is_said_twice_in_a_manifest_is_not_covered_by_its_signature(desk: Desk) -> None:
    shutil.copytree("own", "received")
    half(Path("received"))
    text = Path("received/manifest.json").read_text()
    subject = json.dumps(json.loads(text)["subject"] | {"endpoint": desk.theirs.base})
    for places in (text[:-2] + f', "subject": {subject}}}', f'{{"subject": {subject},' + text[1:]):
        Path("received/manifest.json").write_text(places)
        desk("resume", "received", *QUIETLY, "--max-cost", "5")
        assert desk.theirs.requests == []


def test_what_a_call_may_cost_and_how_hard_a_model_is_pressed_is_never_read_from_a_folder(desk: Desk) -> None:
    def tamper(manifest: Fields, _: str) -> None:
        manifest["subject"]["tokens"]["per_call"] = 0
        manifest["subject"]["tokens"]["per_message"] = 0
        manifest["subject"] |= {"attempts": 50, "deadline_s": 86_400.0, "timeout_s": 86_000.0}
        manifest["subject"]["limits"] = {"concurrency": 500}

    folder = desk.received(tamper)
    own = read_manifest(Path("own")).subject
    assert desk("resume", "received", *QUIETLY, "--max-cost", "5").code == 0
    resumed = read_manifest(folder).subject
    for name in ("tokens", "attempts", "deadline_s", "timeout_s", "limits"):
        assert getattr(resumed, name) == getattr(own, name), name


# --- the user's own ---------------------------------------------------------------------------------------------------


def test_the_users_own_run_goes_on_without_a_word_whatever_options_it_was_begun_with(desk: Desk) -> None:
    options = ("--api-base", desk.mine.openai_base, "--model", "other", "--rpm", "1000", "--cache", "other")
    ended = desk("run", "--provider", "vllm", "--images", "photos", *options, *QUIETLY, "--out", "options")
    assert ended.code == 0, ended.err
    for number, name in enumerate(("own", "options")):
        half(Path(name))
        moved = Path(name).rename(f"moved-{number}")
        ended = desk("resume", str(moved), *QUIETLY)
        assert (ended.code, told(ended)) == (0, [])
        assert len(read_journal(moved / "journal.jsonl")) == 2
        assert read_signed(moved)[1]


def test_the_users_own_run_goes_on_where_its_provider_is_not_known(desk: Desk) -> None:
    half(Path("own"))
    Path("away").mkdir()
    ended = process("resume", "../own", *QUIETLY, cwd=Path("away"))
    assert (ended.code, told(ended)) == (0, [])
    assert len(read_journal(Path("own/journal.jsonl"))) == 2
    assert desk.theirs.requests == []


def test_one_changed_byte_of_the_users_own_manifest_undoes_its_signature(desk: Desk) -> None:
    half(Path("own"))
    assert read_signed(Path("own"))[1]
    text = Path("own/manifest.json").read_text()
    Path("own/manifest.json").write_text(text.replace(desk.mine.openai_base, desk.theirs.base))
    assert not read_signed(Path("own"))[1]
    assert_refused(desk("resume", "own", *QUIETLY), "own", "endpoint")
    assert desk.theirs.requests == []


def test_the_key_of_signatures_is_the_users_alone_and_the_same_for_all_who_make_it_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "new" / "state"))
    made: list[bytes | None] = []
    threads = [Thread(target=lambda: made.append(user_key())) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 16
    assert len(set(made)) == 1
    folder = state_folder()
    assert folder is not None
    (file,) = folder.iterdir()
    assert file.read_bytes() == made[0]
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_a_state_folder_that_cannot_be_written_is_no_error_and_nothing_is_signed(
    desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "file" / "state"))
    assert desk("run", *OF_OWN, *QUIETLY, "--out", "unsigned").code == 0
    assert '"signature": ""' in Path("unsigned/manifest.json").read_text()
    half(Path("unsigned"))
    assert_refused(desk("resume", "unsigned", *QUIETLY), "(no run is: ", "cannot be written)", "images '")
    ended = desk("resume", "unsigned", *QUIETLY, "--trust-folder")
    assert (ended.code, told(ended)) == (0, [])


# --- trust ------------------------------------------------------------------------------------------------------------


def test_a_trusted_folder_is_called_as_it_says_and_is_the_users_own_from_then_on(desk: Desk) -> None:
    tamper = set_in("subject", endpoint="THEIRS", extra={"reasoning_effort": "low"})
    folder = desk.received(tamper)
    assert_refused(desk("resume", "received", *QUIETLY), "--trust-folder")
    desk("resume", "received", *QUIETLY, "--trust-folder")
    assert desk.theirs.requests
    assert all(KEY.encode() in request for request in desk.theirs.requests)
    assert read_signed(folder)[1]
    heard = len(desk.theirs.requests)
    desk("resume", "received", *QUIETLY)
    assert len(desk.theirs.requests) > heard, "once is enough"


@pytest.mark.parametrize(
    ("tamper", "words"),
    [
        (set_in("subject", endpoint="THEIRS", api_key_env="DATABASE_PASSWORD"), "variable DATABASE_PASSWORD"),
        (set_in("subject", endpoint="THEIRS", headers={"x-title": "spam"}), "header 'x-title'"),
        (set_in("subject", endpoint="THEIRS", extra={"tools": []}), "extra has 'tools'"),
        (set_in("others", "judge", endpoint="THEIRS", extra={"fallbacks": ["x"]}), "judge: extra has 'fallbacks'"),
        (set_in("subject", backend="scripted", extra={}), "is simulated in this process"),
        (set_in("subject", name="stranger", endpoint="THEIRS", headers={"x-a": "b"}), "header 'x-"),
    ],
)
def test_trust_covers_no_other_variable_no_header_and_no_field_that_may_do_harm(
    tamper: Tamper, words: str, desk: Desk
) -> None:
    desk.received(tamper)
    requests = desk.mine.ledger.requests
    assert_refused(desk("resume", "received", *QUIETLY, "--trust-folder"), words, "--trust-folder does not cover that")
    assert_nobody_was_called(desk, requests)


def test_what_a_package_is_called_is_never_read_from_a_folder(desk: Desk) -> None:
    Path("planted.py").write_text("raise SystemExit('was imported')")
    for number, trust in enumerate(((), ("--trust-folder",))):
        folder = desk.received(set_in("subject", packages={"planted.inner": "planted"}), name=f"received-{number}")
        ended = process("resume", str(folder), *QUIETLY, "--max-cost", "5", *trust)
        assert (ended.code, told(ended)) == (0, [])


def test_a_cap_of_a_folder_is_not_the_users_word(desk: Desk) -> None:
    desk.received(set_in(max_cost_usd=1000.0))
    requests = desk.mine.ledger.requests
    assert_refused(
        desk("resume", "received", "--quiet", "--no-report"), "this costs money", "give --max-cost USD, or -y"
    )
    assert_nobody_was_called(desk, requests)


@pytest.mark.skipif(sys.platform == "win32", reason="there are no pseudo-terminals")
def test_a_terminal_is_asked_and_no_is_the_default(desk: Desk) -> None:
    import os
    import pty
    import subprocess

    def answered(text: bytes) -> tuple[int, bytes]:
        parent, child = pty.openpty()
        arguments = (sys.executable, "-m", "unsaf_async", "resume", "received", *QUIETLY)
        with subprocess.Popen(arguments, stdin=child, stderr=child, stdout=subprocess.DEVNULL) as running:
            os.close(child)
            said = b""
            while b"[y/N]" not in said:
                said += os.read(parent, 4096)
            os.write(parent, text)
            code = running.wait(60)
        os.close(parent)
        return code, said

    desk.received(set_in("subject", endpoint="THEIRS"))
    code, said = answered(b"\n")
    assert code == 130
    assert b"mine: endpoint 'http://" in said
    assert desk.theirs.requests == []
    answered(b"y\n")
    assert desk.theirs.requests


# --- images -----------------------------------------------------------------------------------------------------------


def private_picture() -> Path:
    """A picture of the user's that nobody named."""
    Path("home").mkdir(exist_ok=True)
    for name in ("0000.png", "0001.png"):  # as those of the run are called
        Image.new("RGB", (90, 70), "red").save(f"home/{name}")
    return Path("home/0000.png").absolute()


def test_images_outside_the_folder_are_not_sent_links_followed(desk: Desk) -> None:
    private = private_picture()
    named = desk.received(images="../home", name="named")
    (linked := desk.received(name="linked"))
    for file in (linked / "photos").iterdir():
        file.unlink()
        file.symlink_to(private)
    requests = desk.mine.ledger.requests
    for folder in (named, linked):
        assert_refused(
            desk("resume", str(folder), *QUIETLY, "--max-cost", "5"), "outside the folder, and you named none"
        )
        assert_nobody_was_called(desk, requests)
    assert desk("resume", "linked", *QUIETLY, "--max-cost", "5", "--trust-folder").code == 0
    assert desk.mine.ledger.requests > requests


@pytest.mark.parametrize("given", [(), ("--controls", "other")])
def test_no_image_outside_the_folder_is_shown_in_anothers_place(given: tuple[str, ...], desk: Desk) -> None:
    folder = desk.received(set_in(controls=[] if given else ["other"]))
    (done,) = (json.loads(row)["image"]["id"] for row in (folder / "journal.jsonl").read_text().splitlines())
    rows = list(map(json.loads, (folder / "images.jsonl").read_text().splitlines()))
    private = {"path": str(private_picture())}
    lines = "".join(json.dumps(row | (private if row["id"] == done else {}), sort_keys=True) + "\n" for row in rows)
    (folder / "images.jsonl").write_text(lines)
    fields = json.loads((folder / "manifest.json").read_text())
    fields["images_sha256"] = sha256(lines.encode()).hexdigest()
    (folder / "manifest.json").write_text(json.dumps(fields))
    requests = desk.mine.ledger.requests
    resume = ("resume", "received", *QUIETLY, "--max-cost", "5", *given)
    assert_refused(desk(*resume), private["path"], "outside the folder, and you named none")
    assert_nobody_was_called(desk, requests)


def undigested(folder: Path) -> None:
    """The journal's images are a private picture without a digest."""
    rows = [json.loads(line) for line in (folder / "journal.jsonl").read_text().splitlines()]
    for row in rows:
        row["image"] |= {"path": str(private_picture()), "bytes_sha256": None, "pixels_sha256": None}
    (folder / "journal.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def test_a_folder_writes_nothing_but_text_to_the_terminal(desk: Desk) -> None:
    name = "mine\x1b]0;title\x07\nunsaf-async: all is well"
    desk.received(set_in("subject", name=name, endpoint="THEIRS"))
    ended = desk("resume", "received", *QUIETLY)
    assert_refused(ended, r"mine\x1b]0;title\x07\nunsaf-async: all is well: endpoint")
    assert "\x1b" not in ended.err


def test_a_name_that_no_file_can_have_is_no_image_of_the_folders(desk: Desk) -> None:
    desk.received(images="\0")
    assert_refused(desk("resume", "received", *QUIETLY), "outside the folder, and you named none")


def test_questions_about_a_private_picture_do_not_send_it(desk: Desk) -> None:
    shutil.copytree("own", "signed")  # as a folder that was lent, and came back: only its manifest is signed
    undigested(Path("signed"))
    received = desk.received()
    undigested(received)
    requests = desk.mine.ledger.requests
    for name in ("signed", "received"):
        of_run = ("run", "--provider", "mine", "--questions-from", name, *QUIETLY, "--out", "asked")
        assert_refused(desk(*of_run), f"--questions-from {name}", "outside the folder, and you named none")
        bank = (
            "distill-eval",
            "--before",
            "mine",
            "--after",
            "judge",
            "--bank",
            name,
            "--out",
            "eval",
            "--images",
            "photos",
        )
        assert_refused(desk(*bank, "--judge", "rules", "-y"), "outside the folder, and you named none")
    assert_nobody_was_called(desk, requests)
    assert not Path("asked").exists()
    assert desk("run", "--provider", "mine", "--questions-from", "own", *QUIETLY, "--out", "asked").code == 0


# --- other commands ---------------------------------------------------------------------------------------------------


SAME_MODEL: dict[str, Tamper] = {
    name: TAMPERED[name][0] for name in ("the key's variable", "a header", "a field of the body", "one more auditor")
}
"""What is tampered with where the model and its address are those of the command."""


@pytest.mark.parametrize("how", SAME_MODEL)
def test_run_does_not_go_on_in_a_folder_that_says_otherwise_than_its_options(how: str, desk: Desk) -> None:
    shutil.copytree("own", "received")
    half(Path("received"))
    fields = json.loads(Path("received/manifest.json").read_text())
    SAME_MODEL[how](fields, desk.theirs.base)
    Path("received/manifest.json").write_text(json.dumps(fields))
    requests = desk.mine.ledger.requests
    assert_refused(desk("run", *OF_OWN, *QUIETLY, "--out", "received"), "received", *TAMPERED[how][1])
    assert_nobody_was_called(desk, requests)


def test_run_goes_on_with_a_folder_that_says_what_its_options_say_wherever_the_named_images_lie(desk: Desk) -> None:
    shutil.copytree("own", "received")
    half(Path("received"))
    fields = json.loads(Path("received/manifest.json").read_text()) | {"signature": ""}
    Path("received/manifest.json").write_text(json.dumps(fields))
    ended = desk("run", *OF_OWN, *QUIETLY, "--out", "received")
    assert (ended.code, told(ended)) == (0, [])
    assert len(read_journal(Path("received/journal.jsonl"))) == 2


def test_run_names_both_addresses_where_a_folder_has_another(desk: Desk) -> None:
    desk.received(set_in("subject", endpoint="THEIRS"))
    ended = desk("run", *OF_OWN, *QUIETLY, "--out", "received")
    assert_refused(ended, f"another model, mine (mine-1) at {desk.theirs.base}, not {desk.mine.openai_base}")
    assert desk.theirs.requests == []


@pytest.mark.parametrize(
    "how", ["its address", "the key's variable", "the judge's address", "one more judge", "prompts"]
)
def test_cross_lets_no_tampered_folder_say_who_answers(how: str, desk: Desk) -> None:
    assert desk("run", *OF_OWN, *QUIETLY, "--seed", "1", "--out", "second").code == 0
    folder = desk.received(TAMPERED[how][0])
    requests = desk.mine.ledger.requests
    assert_refused(desk("cross", "second", str(folder), "--out", "crossed", "-y"), str(folder), *TAMPERED[how][1])
    assert_nobody_was_called(desk, requests)
    assert not Path("crossed").exists()


def test_a_further_auditor_is_the_users_whatever_the_folder_has_by_its_name(desk: Desk) -> None:
    def tamper(fields: Fields, base: str) -> None:
        fields["others"]["auditor"] = fields["others"]["judge"] | {"name": "auditor", "endpoint": base}

    desk.received(tamper)
    profile("auditor", desk.mine.openai_base)
    assert desk("audit", "received", "--provider", "auditor", *QUIETLY, "--max-cost", "5").code == 0
    assert desk.theirs.requests == []
    assert read_manifest(Path("received")).others["auditor"].endpoint == desk.mine.openai_base


async def test_evaluate_behaves_as_the_command_line_does(desk: Desk) -> None:
    given: Fields = {"judge": "judge", "images": "photos", "questions": 1, "out": "received", "max_cost": 5.0}
    shutil.copytree("own", "received")
    half(Path("received"))
    fields = json.loads(Path("received/manifest.json").read_text())  # noqa: ASYNC240
    fields["subject"]["api_key_env"] = "DATABASE_PASSWORD"
    Path("received/manifest.json").write_text(json.dumps(fields))  # noqa: ASYNC240
    requests = desk.mine.ledger.requests
    with pytest.raises(UntrustedFolder, match="give trust_folder=True if all of this is meant"):
        await evaluate("mine", **given)
    assert_nobody_was_called(desk, requests)


# --- replies ----------------------------------------------------------------------------------------------------------


def test_replies_that_another_has_put_into_a_folder_do_not_enter_the_cache(desk: Desk) -> None:
    lines = []
    for key, stored in entries(Path("cache")):
        stored["reply"]["text"] = "planted"
        lines.append(f"{key} {json.dumps(stored)}\n")
    assert len(lines) > 4
    received = desk.received()
    shutil.copytree("own", "lent")  # and came back: its manifest is the user's, word by word
    half(Path("lent"))
    for folder in (received, Path("lent")):
        (folder / "received.jsonl").write_text("".join(lines))
        ended = desk("resume", str(folder), *QUIETLY, "--max-cost", "5")
        assert ended.code in (0, 3), ended.err
        run_id = read_manifest(folder).run_id
        for key, each in entries(Path("cache")):
            assert each["reply"]["text"] != "planted" or key.endswith(f":{run_id}")


def test_a_folder_does_not_say_where_replies_are_stored(desk: Desk) -> None:
    folder = desk.received(set_in(cache=str(Path("elsewhere").absolute())))
    assert desk("resume", str(folder), *QUIETLY, "--max-cost", "5").code == 0
    assert not Path("elsewhere").exists()
    assert list(entries(Path("cache")))
    assert read_manifest(folder).cache == str(Path("cache").absolute())
