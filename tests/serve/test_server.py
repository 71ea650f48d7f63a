"""A vLLM that is started, waited for and stopped: by `serve`, and by `run --spawn`.

Its double is an executable called `vllm` that takes the same flags and speaks the same wire over a real socket: the shipped
simulator. tests/vllm has the real one.
"""

from __future__ import annotations

import asyncio
import json
import os
import pty
import re
import select
import shlex
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from io import BytesIO
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from commandline import command, example_of, process
from driving import draw_images
from hypothesis import given
from hypothesis import strategies as st

from unsaf_async.calls.ledger import read_account
from unsaf_async.errors import UserError
from unsaf_async.providers.redactor import Redactor
from unsaf_async.serve.log import Log
from unsaf_async.serve.plan import RANKS, ServePlan, find_vllm, plan, split_flags, weights_sha256
from unsaf_async.serve.port import claimed
from unsaf_async.serve.replicas import replicas, together, visible_gpus
from unsaf_async.serve.server import Server
from unsaf_async.tiny.folders import SHIPPED

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks into /proc")

DOUBLE = """#!{python}
import argparse, asyncio, json, os, signal, subprocess, sys, time
from pathlib import Path

from unsaf_async.simulate.settings import Simulation
from unsaf_async.simulate.server import serve

parser = argparse.ArgumentParser(prog="vllm", allow_abbrev=False)
parser.add_argument("serve", choices=["serve"])
parser.add_argument("model")
parser.add_argument("--served-model-name", required=True)
parser.add_argument("--host", required=True)
parser.add_argument("--port", type=int, required=True)
parser.add_argument("--limit-mm-per-prompt", type=json.loads, required=True)
parser.add_argument("--disable-uvicorn-access-log", action="store_true")
parser.add_argument("--enable-lora", action="store_true")
parser.add_argument("--max-lora-rank", type=int, choices=[1, 8, 16, 32, 64, 128, 256, 320, 512])
parser.add_argument("--lora-modules", type=json.loads, nargs="+", default=[])
parser.add_argument("--max-model-len", type=int)
parser.add_argument("--gpu-memory-utilization", type=float)
parser.add_argument("--dtype")
parser.add_argument("--tensor-parallel-size", type=int)
given = parser.parse_args()


def say(text):
    print("(APIServer pid=" + str(os.getpid()) + ") INFO 11-24 08:38:37 [double.py:1] " + text, flush=True)


def wish(name):
    return float(os.environ.get("DOUBLE_" + name, 0))


Path("server.part").write_text(json.dumps([os.getpid(), sys.argv]))
Path("server.part").rename("server.json")
told = json.dumps([os.getpid(), os.environ.get("CUDA_VISIBLE_DEVICES")])
Path("server-" + str(given.port) + ".json").write_text(told)
if wish("STUBBORN"):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
if wish("ENGINE"):  # one that hangs, with the same output and group
    subprocess.Popen([sys.executable, "-c", "import signal, time; signal.signal(15, signal.SIG_IGN); time.sleep(600)"])
say("Loading weights of " + given.model)
if wish("TALKS"):
    say("the token is " + os.environ["HF_TOKEN"] + " and the key " + os.environ["VLLM_API_KEY"])
time.sleep(wish("SLOW_S"))
if wish("DIES"):
    print("(Worker pid=1) ERROR 11-24 08:44:30 [a.py:953] RuntimeError: no weights in " + given.model, flush=True)
    print("(EngineCore pid=2) ERROR 11-24 08:44:33 [core.py:1510] Exception: failed. See stack trace for root cause.")
    sys.exit("RuntimeError: Engine core initialization failed. See root cause above.")
names = (given.served_model_name, *(module["name"] for module in given.lora_modules))
if wish("OTHER"):
    names = ("another",)


async def main():
    simulation = Simulation(
        models=names, any_model=False, latency=wish("LATENCY_S"), api_key=os.environ.get("VLLM_API_KEY") or None
    )
    if wish("LASTS_S"):
        asyncio.get_running_loop().call_later(wish("LASTS_S"), lambda: os._exit(7))
    signal_ = asyncio.get_running_loop().add_signal_handler
    task = asyncio.current_task()
    if not wish("STUBBORN"):
        signal_(signal.SIGTERM, task.cancel)
    try:
        await serve(simulation, given.host, given.port, lambda _: say("Application startup complete."))
    except asyncio.CancelledError:
        say("Application shutdown complete.")


asyncio.run(main())
"""
KEY = "sk-local-0123456789abcdef"
TOKEN = "hf_0123456789abcdefghij"
START_S = 60.0
"""More than a start takes."""


@pytest.fixture
def double(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The double's executable, in a folder of its own, and named to the program."""
    file = tmp_path / "elsewhere" / "vllm"
    file.parent.mkdir()
    file.write_text(DOUBLE.replace("{python}", sys.executable))
    file.chmod(0o755)
    monkeypatch.setenv("UNSAF_VLLM", str(file))
    return file


def adapter(folder: Path, rank: int = 4, weights: bytes = b"weights", **config: Any) -> Path:
    """A LoRA adapter's folder, as far as anybody looks into it here."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA", "r": rank, **config}))
    (folder / "adapter_model.safetensors").write_bytes(weights)
    return folder


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def begun() -> tuple[int, list[str]]:
    """Process id and command line of the double that was started in the working directory."""
    pid, words = json.loads(Path("server.json").read_bytes())
    return pid, words


def group(pgid: int) -> list[int]:
    """The living processes of a process group."""
    members = []
    for file in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            state, _, of = file.read_text().rpartition(")")[2].split()[:3]
            if int(of) == pgid and state not in "ZX":
                members.append(int(file.parent.name))
    return members


def until(what: Callable[[], object], within_s: float = 20.0) -> None:
    """Returns when `what` holds."""
    ends = time.monotonic() + within_s
    while not what():
        assert time.monotonic() < ends, "it never came"
        time.sleep(0.02)


class Running:
    """`unsaf-async` with `arguments`, in a process of its own."""

    def __init__(self, *arguments: str, **environment: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "unsaf_async", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, **environment},
        )

    def line(self) -> str:
        """The next line of its output; "" at its end."""
        assert self.process.stdout is not None
        return self.process.stdout.readline()

    def said(self, words: str) -> str:
        """What it says on stderr up to and with `words`."""
        assert self.process.stderr is not None
        text = ""
        while words not in text:
            line = self.process.stderr.readline()
            assert line, text
            text += line
        return text

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    def end(self, within_s: float = 30.0) -> tuple[int, str, str]:
        """Exit code and the rest of its output and errors."""
        out, err = self.process.communicate(timeout=within_s)
        return self.process.returncode, out, err


@pytest.fixture
def started() -> Iterator[Callable[..., Running]]:
    """Starts `unsaf-async`; what the test leaves running is killed, the double with it."""
    running: list[Running] = []

    def start(*arguments: str, **environment: str) -> Running:
        running.append(Running(*arguments, **environment))
        return running[-1]

    yield start
    for each in running:
        if each.process.poll() is None:
            each.process.kill()
        each.process.communicate()
    for file in Path().glob("server-*.json"):
        with suppress(ProcessLookupError):
            os.killpg(json.loads(file.read_bytes())[0], signal.SIGKILL)


# --- what is planned --------------------------------------------------------------------------------------------------


def test_the_command_line_holds_names_adapters_and_the_users_flags_last(tmp_path: Path) -> None:
    one, two = adapter(tmp_path / "a,b=c", 4), adapter(tmp_path / "two", 9)
    made = plan(
        "tiny",
        executable=Path("/bin/vllm"),
        loras=[f"one={one}", "two=two"],
        port=1234,
        max_model_len=512,
        gpu_memory=0.5,
        flags=["--dtype", "float32"],
    )
    words = made.command
    assert words[:5] == ["/bin/vllm", "serve", str(SHIPPED / "tiny-s"), "--served-model-name", "tiny-s"]
    assert words[-2:] == ["--dtype", "float32"]
    for flag, value in (
        ("--host", "127.0.0.1"),
        ("--port", "1234"),
        ("--max-model-len", "512"),
        ("--gpu-memory-utilization", "0.5"),
        ("--max-lora-rank", "16"),
    ):
        assert words[words.index(flag) + 1] == value
    assert json.loads(words[words.index("--limit-mm-per-prompt") + 1])["image"] == 1
    at = words.index("--lora-modules")
    assert [json.loads(word) for word in words[at + 1 : at + 3]] == [
        {"name": "one", "path": str(one)},
        {"name": "two", "path": str(two)},
    ]
    assert made.names == ("one", "two", "tiny-s")
    assert made.url == "http://127.0.0.1:1234/v1"


@pytest.mark.parametrize(
    ("rank", "pattern", "allowed"), [(1, {}, 8), (8, {}, 8), (9, {}, 16), (8, {"q_proj": 65}, 128), (512, {}, 512)]
)
def test_an_adapters_largest_rank_is_rounded_up_to_one_that_vllm_takes(
    rank: int, pattern: dict[str, int], allowed: int
) -> None:
    adapter(Path("a"), rank, rank_pattern=pattern)
    words = plan("tiny-s", executable=Path("vllm"), loras=["a=a"]).command
    assert words[words.index("--max-lora-rank") + 1] == str(allowed)
    assert allowed in RANKS


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:8000/v1"),
        ("0.0.0.0", "http://127.0.0.1:8000/v1"),
        ("::", "http://[::1]:8000/v1"),
        ("::1", "http://[::1]:8000/v1"),
        ("box", "http://box:8000/v1"),
    ],
)
def test_the_address_is_one_that_this_machine_reaches(host: str, url: str) -> None:
    assert ServePlan(Path("vllm"), "m", "m", host=host).url == url


def test_a_hub_id_is_let_through_and_a_folder_is_a_folder() -> None:
    made = plan("Qwen/Qwen3-VL-8B-Instruct", executable=Path("vllm"))
    assert (made.model, made.name) == ("Qwen/Qwen3-VL-8B-Instruct", "Qwen/Qwen3-VL-8B-Instruct")
    Path("mine").mkdir()
    Path("mine/config.json").write_text("{}")
    made = plan("./mine", executable=Path("vllm"), name="called")
    assert (made.model, made.name) == (str(Path("mine").absolute()), "called")


def mistakes() -> list[tuple[list[str], str]]:
    return [
        (["nowhere"], "MODEL nowhere: there is no such folder"),
        (["./org/name"], "there is no such folder"),
        (["/no/such/folder"], "there is no such folder"),
        (["runs/student"], "there is no such folder"),
        (["empty"], "there is no config.json in it"),
        (["adapter"], "is an adapter; give its base model, and the adapter as NAME=adapter"),
        (["a-file"], "is a file"),
        (["tiny-s", "--lora", "student"], "give NAME=PATH"),
        (["tiny-s", "--lora", "=adapter"], "give NAME=PATH"),
        (["tiny-s", "--lora", "student=nowhere"], "--lora student=nowhere: there is no such folder"),
        (["tiny-s", "--lora", "student=empty"], "there is no adapter_config.json in it"),
        (["tiny-s", "--lora", "student=broken"], "tells no LoRA rank `r`"),
        (["tiny-s", "--lora", "student=huge"], "its rank is 1000, and vLLM takes 512 at most"),
        (["tiny-s", "--lora", "a=adapter", "--lora", "a=adapter"], "the name is given twice"),
        (["tiny-s", "--lora", "tiny-s=adapter"], "the name is given twice"),
        (["tiny-s", "--name", " "], "its name is empty"),
        (["tiny-s", "--port", "70000"], "--port is 70000"),
        (["tiny-s", "--gpu-memory", "90"], "--gpu-memory is 90"),
        (["tiny-s", "--max-model-len", "0"], "--max-model-len is 0"),
        (["tiny-s", "--start-timeout", "0"], "--start-timeout is 0"),
        (["tiny-s", "--replicas", "0"], "--replicas is 0"),
        (["tiny-s", "--replicas", "2", "--port", "65535"], "--port is 65536"),
        (["tiny-s", "tiny-m"], "'tiny-m' is one argument too many"),
        (["tiny-s", "--vllm", "a-file"], "--vllm a-file: is no executable file"),
        (["tiny-s", "--", "--port", "1"], "--port: cannot be passed on to vLLM; give --port before the --"),
        (["tiny-s", "--", "--dtype=half", "--api_key=x"], "VLLM_API_KEY"),
    ]


@pytest.mark.parametrize(("arguments", "words"), mistakes(), ids=[" ".join(each) for each, _ in mistakes()])
def test_a_mistake_is_told_in_one_line_before_anything_starts(
    arguments: list[str], words: str, double: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for folder in ("runs", "empty", "broken"):
        Path(folder).mkdir()
    adapter(Path("adapter"))
    adapter(Path("huge"), 1000)
    Path("broken/adapter_config.json").write_text('{"r": "four"}')
    Path("a-file").touch()
    ended = command(capsys, "serve", *arguments)
    assert (ended.code, ended.out) == (2, "")
    assert words in ended.err
    assert ended.err.count("\n") == 1
    assert not Path("server.json").exists()


@pytest.mark.skipif((Path(sys.executable).parent / "vllm").exists(), reason="there is a vLLM")
def test_without_vllm_one_line_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    for arguments in (["serve", "tiny-s"], ["run", "--provider", "vllm", "--spawn", "tiny-s"]):
        ended = command(capsys, *arguments)
        assert ended.code == 2
        assert "pip install '.[vllm]'" in ended.err
        assert ended.err.count("\n") == 1
    assert not Path("runs").exists()


def test_vllm_is_found_by_option_then_variable_then_path(double: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = double.parent / "other"
    other.write_bytes(double.read_bytes())
    other.chmod(0o755)
    assert find_vllm(str(other)) == other
    assert find_vllm() == double
    monkeypatch.delenv("UNSAF_VLLM")
    if not (Path(sys.executable).parent / "vllm").exists():
        monkeypatch.setenv("PATH", str(double.parent), prepend=os.pathsep)
        assert find_vllm() == double


def test_flags_in_one_text_are_split_as_a_shell_does() -> None:
    assert split_flags("--dtype float32 --x '{\"a\": 1}'") == ("--dtype", "float32", "--x", '{"a": 1}')
    with pytest.raises(UserError, match=r"flags .*close the quotes"):
        split_flags("--x '{")


def test_weights_are_told_apart_by_their_bytes_and_by_nothing_else() -> None:
    adapter(Path("a"), weights=b"one")
    adapter(Path("b"), weights=b"two")
    made = plan("tiny-s", executable=Path("vllm"), loras=["x=a", "y=b"])
    digests = {name: weights_sha256(made, name) for name in made.names}
    assert len(set(digests.values())) == 3
    Path("a/README.md").write_text("a card")
    Path("a/.hidden").write_text("x")
    Path("a/checkpoint-1").mkdir()
    Path("a").rename("elsewhere-a")
    again = plan("tiny-s", executable=Path("vllm"), loras=["x=elsewhere-a"], flags=["--dtype", "half"])
    assert weights_sha256(again, "x") == digests["x"]
    adapter(Path("elsewhere-a"), weights=b"onf")
    assert weights_sha256(again, "x") != digests["x"]
    hub = [plan(name, executable=Path("vllm"), loras=["x=b"]) for name in ("some/model", "some/other")]
    assert weights_sha256(hub[0], "some/model") is None
    assert weights_sha256(hub[0], "x") != weights_sha256(hub[1], "x")


# --- ports ------------------------------------------------------------------------------------------------------------


def test_a_port_is_claimed_once_and_free_again_afterwards() -> None:
    port = free_port()
    with claimed("127.0.0.1", port) as number:
        assert number == port
        with pytest.raises(UserError, match=f"port {port} on 127.0.0.1: .*another unsaf-async serves there"):
            claimed("127.0.0.1", port).__enter__()
        with claimed("127.0.0.1", port, else_any=True) as other, claimed("127.0.0.1", 0) as third:
            assert len({port, other, third}) == 3
    with claimed("127.0.0.1", port) as number:
        assert number == port


def test_a_port_is_taken_where_somebody_listens_even_if_he_would_share_it() -> None:
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(UserError, match=f"port {port} .*in use.*choose another"):
            claimed("127.0.0.1", port).__enter__()


# --- the log ----------------------------------------------------------------------------------------------------------

OUTPUT = (
    b"(APIServer pid=1) INFO 11-24 08:38:37 [api_utils.py:347]   \xe2\x96\x88\xe2\x96\x84\xe2\x96\x88\xe2\x96\x80  model x\n"
    b"(APIServer pid=1) \x1b[32mINFO\x1b[0m 11-24 08:38:37 [a.py:1] the key sk-secret-12345 is here\r\n"
    b"Loading shards:   0%|   |\rLoading shards:  50%|##  | sk-secret-12345\rLoading shards: 100%|####|\n"
    b"Traceback (most recent call last):\n"
    b'  File "a.py", line 3, in f\n'
    b"ValueError: no weights \xff\n"
    b"RuntimeError: Engine core initialization failed. See root cause above.\n"
    b"no new line at the end"
)


@given(cuts=st.lists(st.integers(0, len(OUTPUT)), max_size=20))
def test_the_log_is_the_same_however_the_output_comes_in_pieces(cuts: list[int]) -> None:
    file = BytesIO()
    log = Log(file, Redactor(["sk-secret-12345"]))
    ends = [0, *sorted(cuts), len(OUTPUT)]
    for begin, end in pairwise(ends):
        log.feed(OUTPUT[begin:end])
    log.end()
    lines = file.getvalue().decode().splitlines()
    assert len(lines) == 8
    assert lines[1].endswith("[a.py:1] the key [key] is here")
    assert lines[2] == "Loading shards: 100%|####|"
    assert log.error == "ValueError: no weights \N{REPLACEMENT CHARACTER}"
    assert log.activity == "no new line at the end"


@pytest.mark.parametrize(
    ("output", "telling"),
    [
        (b"", ""),
        (b"(APIServer pid=9) INFO 11-24 08:44:00 [api_utils.py:286] non-default args: {}\n", "non-default args: {}"),
        (b"Loading shards:  50%|##  |\r", "Loading shards: 50%|## |"),
        (b"W1124 08:44:00.011000 1876 torch/_library/triton.py:53] Triton not available\n", "Triton not available"),
        (
            b"Start\n(APIServer pid=1) INFO 11-24 08:44:00 [a.py:3]  \xe2\x96\x84\xe2\x96\x84 version 1\n\n  indented\n",
            "Start",
        ),
    ],
)
def test_the_last_telling_line_is_that_of_a_person_who_reads_it(output: bytes, telling: str) -> None:
    log = Log(BytesIO(), str)
    log.feed(output)
    assert log.activity == telling


@pytest.mark.parametrize(
    ("output", "error"),
    [
        ("vllm: error: unrecognized arguments: --nosuchflag 3", "vllm: error: unrecognized arguments: --nosuchflag 3"),
        (
            (
                "pydantic_core._pydantic_core.ValidationError: 1 validation error for ModelConfig\n"
                "  Value error, max_model_len (99999) is too great. [type=value_error, input_value=Args(1), input_type=A]\n"
                "    For further information visit https://errors.pydantic.dev/2.14/v/value_error"
            ),
            "max_model_len (99999) is too great.",
        ),
        (
            (
                "(Worker pid=1936) ERROR 11-24 08:44:30 [multiproc_executor.py:953] RuntimeError: Cannot find any weights\n"
                "(EngineCore pid=1) ERROR 11-24 08:44:33 [core.py:1] Exception: failed. See stack trace for root cause.\n"
                "    raise RuntimeError(\n"
                "RuntimeError: Engine core initialization failed. See root cause above. Failed core proc(s): {}"
            ),
            "RuntimeError: Cannot find any weights",
        ),
        (
            "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB.\n[rank0]: warning",
            "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB.",
        ),
        ("Killed", "Killed"),
        ("ValueError: " + "x" * 1000, "ValueError: " + "x" * 287 + "…"),
    ],
)
def test_the_error_is_the_cause_and_not_what_followed_from_it(output: str, error: str) -> None:
    log = Log(BytesIO(), str)
    log.feed(output.encode())
    log.end()
    assert log.error == error


# --- `serve` ----------------------------------------------------------------------------------------------------------


def test_a_model_is_served_by_its_names_and_measured_by_the_command_that_is_shown(
    double: Path, started: Callable[..., Running]
) -> None:
    draw_images(Path("photos"), 2)
    adapter(Path("adapter"))
    port = free_port()
    serving = started("serve", "tiny-s", "--lora", "student=adapter", "--port", str(port), "--", "--dtype", "float32")
    first = serving.line()
    assert first.startswith(f"student, tiny-s served at http://127.0.0.1:{port}/v1 after "), serving.end()
    shown = [serving.line() for _ in range(3)]
    pid, words = begun()
    assert words[-2:] == ["--dtype", "float32"]
    for line, name in zip(shown, ("student", "tiny-s"), strict=False):
        measure = shlex.split(line.partition("measure it")[2])
        assert measure[0] == "unsaf-async"
        ended = process(*measure[1:], "--questions", "2", "--out", name, "--no-cache", "--no-report", "-q")
        assert ended.code == 0, ended.err
        assert "UnF1" in ended.out
        assert json.loads(Path(name, "manifest.json").read_bytes())["subject"]["model"] == name
    assert group(pid)
    serving.signal(signal.SIGINT)
    code, out, err = serving.end()
    assert (code, out) == (0, "ended\n")
    assert err.startswith(f"unsaf-async: starting vLLM with {SHIPPED / 'tiny-s'}; its log: vllm-{port}.log\n")
    assert err.endswith("unsaf-async: stopping vLLM\n")
    assert not group(pid)
    log = Path(f"vllm-{port}.log").read_text()
    assert log.startswith(f"$ {double} serve ")
    assert log.endswith("Application shutdown complete.\n")


def test_a_slow_start_shows_on_a_terminal_how_long_it_takes_and_what_the_log_says(double: Path) -> None:
    screen, inside = pty.openpty()
    arguments = ["serve", "tiny-s", "--port", "0"]
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "100", "LINES": "30", "DOUBLE_SLOW_S": "2.5"}
    running = subprocess.Popen(
        [sys.executable, "-m", "unsaf_async", *arguments],
        stdin=inside,
        stdout=inside,
        stderr=inside,
        env=environment,
        start_new_session=True,
    )
    os.close(inside)
    text, ends, pressed = "", time.monotonic() + START_S, False
    try:
        while time.monotonic() < ends and select.select([screen], [], [], 10)[0]:
            try:
                text += os.read(screen, 65536).decode("utf-8", "replace")
            except OSError:  # nobody has the other side open any more
                break
            if not pressed and "Ctrl-C ends it" in text:
                running.send_signal(signal.SIGINT)
                pressed = True
        assert running.wait(20) == 0
    finally:
        running.kill()
        running.wait()
        os.close(screen)
    seconds = set(re.findall(r"starting vLLM, (\d+) s: Loading weights of ", text))
    assert len(seconds) >= 2, "it loads for 2.5 s, whenever it begins to"
    assert "served at" in text
    assert not group(begun()[0])


def test_a_server_that_dies_while_it_starts_is_told_with_its_cause(double: Path) -> None:
    ended = process("serve", "tiny-s", "--port", "0", "--log", "my.log", "-q", DOUBLE_DIES="1")
    assert (ended.code, ended.out) == (2, "")
    assert ended.err == (
        f"unsaf-async: {SHIPPED / 'tiny-s'}: vLLM ended before it served it (exit code 1): RuntimeError: no weights in "
        f"{SHIPPED / 'tiny-s'}; its log: my.log\n"
    )
    assert "See root cause above" in Path("my.log").read_text()
    assert not group(begun()[0])


def test_a_flag_that_vllm_does_not_know_is_told_in_its_words(double: Path) -> None:
    ended = process("serve", "tiny-s", "--port", "0", "-q", "--", "--nosuchflag")
    assert ended.code == 2
    assert "vllm: error: unrecognized arguments: --nosuchflag" in ended.err
    assert ended.err.count("\n") == 1


def test_a_server_that_never_serves_is_given_up(double: Path) -> None:
    ended = process("serve", "tiny-s", "--port", "0", "-q", "--start-timeout", "3", DOUBLE_SLOW_S="60")
    assert ended.code == 2
    assert "does not serve it after 3 s (its last words: Loading weights of" in ended.err
    assert not group(begun()[0])


def test_a_port_that_is_taken_is_told_in_one_line_before_anything_starts(double: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        ended = process("serve", "tiny-s", "--port", str(port))
    assert ended.code == 2
    assert f"port {port} on 127.0.0.1: cannot be listened on" in ended.err
    assert ended.err.count("\n") == 1
    assert not Path("server.json").exists()


def test_another_server_in_its_place_is_noticed(double: Path) -> None:
    ended = process("serve", "tiny-s", "--port", "0", "-q", DOUBLE_OTHER="1")
    assert ended.code == 2
    assert "answers, but serves another instead of tiny-s" in ended.err
    assert not group(begun()[0])


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_while_it_starts_leaves_nothing_behind(
    number: signal.Signals, double: Path, started: Callable[..., Running]
) -> None:
    serving = started("serve", "tiny-s", "--port", "0", DOUBLE_SLOW_S="60", DOUBLE_ENGINE="1")
    until(lambda: Path("server.json").exists() and len(group(begun()[0])) == 2)
    serving.signal(number)
    code, out, _ = serving.end()
    assert (code, out) == (130, "ended\n")
    assert not group(begun()[0])


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_while_it_serves_ends_an_engine_that_hangs_too(
    number: signal.Signals, double: Path, started: Callable[..., Running]
) -> None:
    serving = started("serve", "tiny-s", "--port", "0", DOUBLE_ENGINE="1")
    assert "served at" in serving.line()
    pid, _ = begun()
    assert len(group(pid)) == 2
    serving.signal(number)
    assert serving.end()[0] == 0
    assert not group(pid)


def test_ctrl_c_twice_kills_a_server_that_does_not_listen(double: Path, started: Callable[..., Running]) -> None:
    serving = started("serve", "tiny-s", "--port", "0", DOUBLE_STUBBORN="1", DOUBLE_ENGINE="1")
    assert "served at" in serving.line()
    pid, _ = begun()
    serving.signal(signal.SIGINT)
    serving.said("stopping vLLM")
    time.sleep(0.5)
    assert len(group(pid)) == 2
    began_s = time.monotonic()
    serving.signal(signal.SIGINT)
    serving.end()
    assert time.monotonic() - began_s < 10
    assert not group(pid)


async def test_a_server_that_does_not_listen_is_killed_after_the_grace_period(
    double: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOUBLE_STUBBORN", "1")
    monkeypatch.setenv("DOUBLE_ENGINE", "1")
    with claimed("127.0.0.1", 0) as port:
        async with Server(plan("tiny-s", port=port), Path("a.log"), grace_s=0.7) as server:
            assert server.why_ended is None
            pid, _ = begun()
            assert len(group(pid)) == 2
            began_s = time.monotonic()
    assert 0.7 <= time.monotonic() - began_s < 5
    until(lambda: not group(pid), 2)


async def test_cancelling_a_start_leaves_nothing_behind(double: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOUBLE_SLOW_S", "60")
    with claimed("127.0.0.1", 0) as port:
        entering = asyncio.ensure_future(Server(plan("tiny-s", port=port), Path("a.log")).__aenter__())
        while not Path("server.json").exists():  # noqa: ASYNC110, ASYNC240 - another process writes it
            await asyncio.sleep(0.02)
        entering.cancel()
        with pytest.raises(asyncio.CancelledError):
            await entering
    assert not group(begun()[0])


@pytest.mark.skipif(sys.platform != "linux", reason="Linux tells a process of its parent's death")
def test_a_server_ends_when_whoever_started_it_is_killed(double: Path, started: Callable[..., Running]) -> None:
    serving = started("serve", "tiny-s", "--port", "0")
    assert "served at" in serving.line()
    pid, _ = begun()
    serving.process.kill()
    serving.process.wait()
    until(lambda: not group(pid))


def test_a_server_that_dies_while_it_serves_ends_the_command_with_3(
    double: Path, started: Callable[..., Running]
) -> None:
    serving = started("serve", "tiny-s", "--port", "0", "--log", "a.log", DOUBLE_LASTS_S="1")
    assert "served at" in serving.line()
    code, _, err = serving.end()
    assert code == 3
    assert err.endswith("unsaf-async: vLLM ended: Application startup complete.; its log: a.log\n")


def test_the_key_reaches_the_server_and_neither_its_command_line_nor_the_log(
    double: Path, started: Callable[..., Running]
) -> None:
    draw_images(Path("photos"), 1)
    secrets = {"VLLM_API_KEY": KEY, "HF_TOKEN": TOKEN}
    serving = started("serve", "tiny-s", "--port", "0", "--log", "a.log", DOUBLE_TALKS="1", **secrets)
    first = serving.line()
    assert "served at" in first
    url = first.split(" served at ")[1].split()[0]
    options = (
        "run",
        "--provider",
        "vllm",
        "--api-base",
        url,
        "--images",
        "photos",
        "--questions",
        "1",
        "-q",
        "--no-cache",
        "--no-report",
    )
    assert process(*options, "--model", "tiny-s", "--out", "with", **secrets).code == 0
    ended = process(*options, "--model", "tiny-s", "--out", "without")
    assert ended.code == 2
    assert "401" in ended.err
    words = " ".join(begun()[1])
    environment = Path(f"/proc/{begun()[0]}/environ").read_bytes()
    assert KEY.encode() in environment
    serving.signal(signal.SIGTERM)
    _, out, err = serving.end()
    log = Path("a.log").read_text()
    assert "the token is [key] and the key [key]" in log
    for secret in secrets.values():
        assert secret not in words + log + first + out + err


# --- `serve --replicas` -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("flags", "gpus", "shares"),
    [
        ([], "0 1", [("0",), ("1",)]),
        ([], "0 1 2", [("0",), ("1",)]),
        (["--tensor-parallel-size", "2"], "4 5 6 7", [("4", "5"), ("6", "7")]),
        (["-tp=2", "--dtype", "half"], "GPU-a GPU-b GPU-c GPU-d", [("GPU-a", "GPU-b"), ("GPU-c", "GPU-d")]),
        (["--tensor_parallel_size=1", "-pp", "2"], "0 1 2 3", [("0", "1"), ("2", "3")]),
        (["--tensor-parallel-size", "many"], "0 1", [("0",), ("1",)]),
        ([], "", [(), ()]),
    ],
)
def test_each_replica_has_as_many_gpus_of_its_own_as_its_flags_take(
    flags: list[str], gpus: str, shares: list[tuple[str, ...]]
) -> None:
    made = plan("tiny-s", executable=Path("vllm"), flags=flags)
    assert [each.gpus for each in replicas(made, 2, gpus.split())] == shares
    assert replicas(made, 1, gpus.split()) == [made]


def test_too_few_gpus_are_told_before_anything_starts(
    double: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1,2")
    ended = command(capsys, "serve", "tiny-s", "--replicas", "2", "--", "-tp", "2")
    assert ended.code == 2
    assert "--replicas is 2: at 2 GPUs each they need 4, and there are 3 (0, 1, 2)" in ended.err
    assert not Path("server.json").exists()


def test_gpus_are_those_that_the_variable_names_or_nvidia_smi_lists(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2, GPU-a")
    assert visible_gpus() == ("2", "GPU-a")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert visible_gpus() == ()
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    tool = Path("nvidia-smi")
    monkeypatch.setenv("PATH", f".{os.pathsep}/bin")
    tool.write_text("#!/bin/sh\necho 'GPU 0: A (UUID: x)'; echo '  MIG 1g: y'; echo 'GPU 1: A (UUID: z)'\n")
    tool.chmod(0o755)
    assert visible_gpus() == ("0", "1")
    tool.write_text("#!/bin/sh\nexit 9\n")
    assert visible_gpus() == ()
    monkeypatch.setenv("PATH", "/nowhere")
    assert visible_gpus() == ()


def test_replicas_are_shown_as_one_model_and_the_others_go_on_when_one_ends(
    double: Path, started: Callable[..., Running]
) -> None:
    options = ("serve", "tiny-s", "--replicas", "2", "--port", "0", "--log", "a.log", "--", "--tensor-parallel-size")
    serving = started(*options, "2", CUDA_VISIBLE_DEVICES="0,1,2,3")
    first, measure, *logs = [serving.line() for _ in range(4)]
    urls = first.split(" served at ")[1].split(" after ")[0].split(", ")
    ports = [url.rpartition(":")[2].removesuffix("/v1") for url in urls]
    told = [json.loads(Path(f"server-{port}.json").read_bytes()) for port in ports]
    assert [gpus for _, gpus in told] == ["0,1", "2,3"]
    assert [line.split()[2:] for line in logs] == [
        [f"a-{port}.log", "(GPU", f"{gpus.replace(',', ', ').split()[0]}", f"{gpus[-1]})"]
        for port, (_, gpus) in zip(ports, told, strict=True)
    ]
    words = shlex.split(measure.partition("measure it")[2])
    assert [words[place + 1] for place, word in enumerate(words) if word == "--api-base"] == urls
    os.killpg(told[1][0], signal.SIGKILL)
    assert f"{urls[1]}: vLLM ended: killed (SIGKILL); its last words: " in serving.said("1 of 2 servers go on")
    serving.signal(signal.SIGINT)
    assert serving.end()[:2] == (0, "ended\n")
    assert not any(group(pid) for pid, _ in told)


async def test_if_one_replica_does_not_start_the_others_are_stopped() -> None:
    servers = []
    for name, script in (
        ("slow", "echo $$ > pid; sleep 60"),
        ("dead", "until [ -s pid ]; do :; done; echo no; exit 3"),
    ):
        executable = Path(name).absolute()  # noqa: ASYNC240 - before anything runs
        executable.write_text(f"#!/bin/sh\n{script}\n")
        executable.chmod(0o755)
        servers.append(Server(plan("tiny-s", executable=executable, port=1), Path(f"{name}.log")))
    with pytest.raises(UserError, match=r"vLLM ended before it served it \(exit code 3\): no; its log: dead.log"):
        async with together(servers):
            pass
    assert not group(int(Path("pid").read_text()))  # noqa: ASYNC240 - after all has run


# --- `run --spawn` ----------------------------------------------------------------------------------------------------


def spawning(out: str, *options: str, images: int = 3) -> list[str]:
    """A run with a server of its own, for which the adapter is called `student`."""
    draw_images(Path("photos"), images)
    if not Path("adapter").exists():
        adapter(Path("adapter"))
    words = ["run", "--provider", "vllm", "--spawn", "tiny-s", "--spawn-lora", "student=adapter", "--images", "photos"]
    return [*words, "--questions", "2", "--no-report", "--out", out, *options]


def test_a_run_starts_a_server_measures_the_adapter_and_stops_it(double: Path) -> None:
    port = free_port()
    base = f"http://localhost:{port}/v1"
    ended = process(
        *spawning("mine", "--api-base", base, "--spawn-flags", "--dtype 'float32'", "--report"),
        VLLM_API_KEY=KEY,
        HF_TOKEN=TOKEN,
    )
    assert ended.code == 0, ended.err
    assert ended.out.startswith("vllm (student) (local address), judge: self\n")
    assert "UnF1 0." in ended.out
    assert "Images: 3 of 3 done, 0 failed" in ended.out
    assert "its log: mine/vllm.log" in ended.err
    assert "stopping vLLM" in ended.err
    pid, words = begun()
    assert not group(pid)
    assert words[-2:] == ["--dtype", "float32"]
    manifest = json.loads(Path("mine/manifest.json").read_bytes())["subject"]
    assert (manifest["model"], manifest["endpoint"]) == ("student", base)
    assert Path("mine/vllm.log").read_text().endswith("Application shutdown complete.\n")
    assert Path("mine/report.html").is_file()
    assert not [file for file in Path("mine").rglob("*") if file.is_file() and KEY.encode() in file.read_bytes()]


def test_the_model_itself_is_measured_where_it_is_named_or_alone(double: Path) -> None:
    ended = process(*spawning("named", "--model", "tiny-s", "--json", "-q"))
    assert ended.code == 0, ended.err
    (told,) = ended.err.splitlines()
    assert " at http://127.0.0.1:" in told
    assert json.loads(ended.out)["images"]["done"] == 3
    draw_images(Path("photos"), 1)
    (alone,) = example_of("serving.md")
    ended = process(*alone, "-q")
    assert ended.code == 0, ended.err
    for out, model in (("named", "tiny-s"), (alone[-1], alone[alone.index("--spawn") + 1])):
        assert json.loads(Path(out, "manifest.json").read_bytes())["subject"]["model"] == model


def test_a_labelled_set_is_put_to_a_server_of_its_own_too(double: Path) -> None:
    draw_images(Path("photos"), 1)
    (picture,) = Path("photos").iterdir()
    row = {"image": picture.name, "question": "What is it?", "answers": ["a square"], "answerable": True}
    Path("photos/set.jsonl").write_text(json.dumps(row) + "\n")
    ended = process(
        *("labelled", "--provider", "vllm", "--spawn", "tiny-s", "--data", "photos/set.jsonl"),
        *("--out", "labelled", "--json", "-q"),
    )
    assert ended.code == 0, ended.err
    assert json.loads(ended.out)["labelled"]["questions"] == 1
    pid, _ = begun()
    assert not group(pid)


def test_a_dry_run_starts_nothing_and_needs_no_vllm(capsys: pytest.CaptureFixture[str]) -> None:
    ended = command(capsys, *spawning("mine", "--dry-run", "--json"))
    assert ended.code == 0, ended.err
    assert json.loads(ended.out)["images"] == 3
    assert not Path("mine").exists()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (
            ["--provider", "gpt-5.4-mini"],
            "--spawn: --provider gpt-5.4-mini calls no server of OpenAI's protocol; give --provider vllm",
        ),
        (["--provider", "vllm", "--model", "other"], "--model other: is not spawned; give one of tiny-s"),
        (["--provider", "vllm", "--api-base", "http://example.com/v1"], "no server can be spawned there"),
        (["--provider", "vllm", "--api-base", "https://localhost:8000/v1"], "no server can be spawned there"),
        (["--provider", "vllm", "--spawn-lora", "a=nowhere"], "--spawn-lora a=nowhere: there is no such folder"),
        (["--provider", "vllm", "--spawn-flags", "--port 3"], "--port: cannot be passed on"),
        (["--provider", "vllm", "--spawn-flags", "'"], "--spawn-flags"),
        (["--provider", "vllm", "--spawn", "nowhere"], "--spawn nowhere: there is no such folder"),
        (["--provider", "vllm", "--images", "nothing"], "nothing"),
    ],
)
def test_a_mistake_is_told_before_a_server_starts(
    options: list[str], words: str, double: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ended = command(capsys, "run", "--spawn", "tiny-s", *options)
    assert ended.code == 2
    assert words in ended.err
    assert ended.err.count("\n") == 1
    assert not Path("server.json").exists()
    assert not Path("runs").exists()


@pytest.mark.parametrize("option", ["--spawn-lora", "--spawn-flags"])
def test_its_fellows_need_spawn(option: str, capsys: pytest.CaptureFixture[str]) -> None:
    ended = command(capsys, "run", "--provider", "vllm", option, "a=b")
    assert ended.code == 2
    assert f"{option}: starts nothing without --spawn MODEL" in ended.err


def test_a_server_that_does_not_start_ends_the_run_and_the_same_command_tries_again(double: Path) -> None:
    ended = process(*spawning("mine", "-q"), DOUBLE_DIES="1")
    assert ended.code == 2
    assert "RuntimeError: no weights in" in ended.err
    assert ended.err.endswith("; its log: mine/vllm.log\n")
    again = process(*spawning("mine", "-q"))
    assert again.code == 0, again.err


def test_ctrl_c_stops_run_and_server_and_the_same_command_goes_on_at_the_same_address(
    double: Path, started: Callable[..., Running]
) -> None:
    options = spawning("mine", "--no-cache", "--concurrency", "2", images=12)
    running = started(*options, DOUBLE_LATENCY_S="0.1", DOUBLE_ENGINE="1")
    journal = Path("mine/journal.jsonl")
    until(lambda: journal.exists() and journal.read_bytes().count(b"\n") >= 2, START_S)
    pid, _ = begun()
    running.signal(signal.SIGINT)
    code, _, err = running.end()
    assert code == 130
    assert "the same command with `--out mine` goes on; what is finished is kept" in err
    assert not group(pid)
    finished = journal.read_bytes().count(b"\n")
    assert 2 <= finished < 12
    endpoint = json.loads(Path("mine/manifest.json").read_bytes())["subject"]["endpoint"]
    ended = process(*options, "--json", "-q")
    assert ended.code == 0, ended.err
    assert json.loads(ended.out)["images"]["done"] == 12
    assert json.loads(Path("mine/manifest.json").read_bytes())["subject"]["endpoint"] == endpoint
    whole = process(*spawning("whole", "--no-cache", "--json", "-q", images=12))
    assert json.loads(whole.out)["calls"]["by_role"] == json.loads(ended.out)["calls"]["by_role"]


def test_ctrl_c_while_the_server_starts_ends_both_at_once(double: Path, started: Callable[..., Running]) -> None:
    running = started(*spawning("mine"), DOUBLE_SLOW_S="60")
    until(lambda: Path("server.json").exists())
    running.signal(signal.SIGINT)
    code, _, err = running.end()
    assert code == 130
    assert "the same command with `--out mine` goes on" in err
    assert not group(begun()[0])


def test_a_server_that_dies_in_the_middle_ends_the_run_with_its_last_words(double: Path) -> None:
    options = spawning("mine", "--concurrency", "2", "--no-cache", images=40)
    ended = process(*options, DOUBLE_LATENCY_S="0.1", DOUBLE_LASTS_S="3")
    assert ended.code == 3
    assert (
        "stopped early: vLLM ended: Application startup complete.; its log: mine/vllm.log; the same command with "
        "`--out mine` goes on; what is finished is kept\n"
    ) in ended.err
    assert "images failed" not in ended.err
    done = int(ended.out.split("Images: ")[1].split()[0])
    assert 0 < done < 40
    again = process(*options, "--json", "-q")
    assert again.code == 0, again.err
    assert json.loads(again.out)["images"] == {"done": 40, "failed": 0, "total": 40}


def test_other_weights_by_the_same_name_get_no_stored_reply_and_do_not_go_on_with_the_run(double: Path) -> None:
    def made(out: str) -> int:
        ended = process(*spawning(out, "--json", "-q", "--api-base", f"http://127.0.0.1:{port}/v1"))
        assert ended.code == 0, ended.err
        return int(json.loads(ended.out)["calls"]["made"])

    port = free_port()
    first = made("first")
    assert first > 0
    assert made("again") == 0, "the same weights are served: every reply is stored"
    adapter(Path("adapter"), weights=b"trained on")
    ended = process(*spawning("first", "-q", "--samples", "1"))
    assert ended.code == 2
    assert "--out first: holds a run with other weights of student; give another folder" in ended.err
    assert made("other") == first


def test_two_runs_at_once_have_a_server_each(double: Path, started: Callable[..., Running]) -> None:
    draw_images(Path("photos"), 2)
    words = [
        "run",
        "--provider",
        "vllm",
        "--spawn",
        "tiny-s",
        "--images",
        str(Path("photos").absolute()),
        "-q",
        "--json",
        "--no-report",
    ]
    running = [started(*words, "--out", out, "--cache", f"cache-{out}", DOUBLE_SLOW_S="1") for out in "ab"]
    for each in running:
        code, out, err = each.end(START_S)
        assert code == 0, err
        assert json.loads(out)["images"]["done"] == 2
    ports = {json.loads(Path(out, "manifest.json").read_bytes())["subject"]["endpoint"] for out in "ab"}
    assert len(ports) == 2


def test_what_a_run_paid_for_is_in_its_books_as_the_server_counted_it(double: Path) -> None:
    ended = process(*spawning("mine", "--json", "-q"))
    assert ended.code == 0, ended.err
    account = read_account(Path("mine/ledger.jsonl"))
    assert json.loads(ended.out)["calls"]["made"] == sum(account.made.values())
