"""A real vLLM on this machine's CPU: started, waited for, looked into, stopped."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import time
from collections import Counter
from pathlib import Path

import httpx

ROOT = Path(__file__).parents[2]
VENV = ROOT / ".venv-vllm"
"""Where `make test-vllm` installs vLLM."""
TINY = ROOT / "unsaf_async/tiny/models/tiny-s"
"""The served model: LLaVA (CLIP and Llama) in Hugging Face's format, trained on the drawn world."""
MODEL = "tiny"
"""Its name at the server."""

OPTIONS = (
    f"--served-model-name={MODEL}",
    "--host=127.0.0.1",
    # As the weights are computed with elsewhere, so that log-probabilities can be compared.
    "--dtype=float32",
    "--enforce-eager",
    "--kv-cache-memory-bytes=67108864",
    "--disable-uvicorn-access-log",
)
ENVIRONMENT = {
    "HF_HUB_OFFLINE": "1",
    "VLLM_NO_USAGE_STATS": "1",
    "DO_NOT_TRACK": "1",
    # Compiling the sampler would make the first request for log-probabilities take half a minute.
    "TORCHDYNAMO_DISABLE": "1",
    # Binding threads to cores fails where the cores are not all ours; a model this small gains nothing by more threads.
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    "OMP_NUM_THREADS": "1",
}
START_TIMEOUT_S = 600.0
"""A start takes half a minute on an idle machine."""


class VllmServer:
    """`vllm serve` with the tiny model, on a free port. Its process is started at once; `wait_until_ready` waits for its service.

    log: the file that its output is added to. options: further ones. engine_apart: the engine runs in a process of its own, as
    vLLM does by default; else it starts faster.
    """

    def __init__(self, log: Path, *options: str, engine_apart: bool = False) -> None:
        self.port = _free_port()
        self._log = log
        self._command = [str(VENV / "bin/vllm"), "serve", str(TINY), f"--port={self.port}", *OPTIONS, *options]
        self._environment = {**os.environ, **ENVIRONMENT, "VLLM_ENABLE_V1_MULTIPROCESSING": str(int(engine_apart))}
        if not engine_apart:
            self._command.append("--distributed-executor-backend=uni")
        self.start()

    @property
    def root(self) -> str:
        """`http://127.0.0.1:<port>`."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        """The base URL of its API."""
        return f"{self.root}/v1"

    def start(self) -> None:
        """Starts the process: at first, and again on the same port after it ended."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def wait_until_ready(self) -> None:
        """Returns once it serves. Raises RuntimeError with the end of its log if it ends before."""
        deadline_s = time.monotonic() + START_TIMEOUT_S
        while not self._is_healthy():
            if self.is_gone or time.monotonic() > deadline_s:
                raise RuntimeError(f"vLLM did not start:\n{self._log.read_text('utf-8', 'replace')[-4000:]}")
            time.sleep(0.25)

    def _is_healthy(self) -> bool:
        try:
            return httpx.get(f"{self.root}/health", timeout=5).status_code == 200
        except httpx.TransportError:
            return False

    def tokens(self) -> Counter[str]:
        """Tokens "input" and "output" since the start, and "requests" answered to the end, as its /metrics count them."""
        names = {"prompt_tokens": "input", "generation_tokens": "output", "request_success": "requests"}
        counted: Counter[str] = Counter()
        for line in httpx.get(f"{self.root}/metrics").text.splitlines():
            if found := re.match(r"vllm:(\w+)_total\{.*\} (\S+)$", line):
                counted[names.get(found[1], found[1])] += int(float(found[2]))
        return counted

    def parents(self) -> dict[str, str | None]:
        """What it serves, by name: for an adapter the name of the model that it adapts, for a model None."""
        listed = httpx.get(f"{self.url}/models").json()["data"]
        return {model["id"]: model["parent"] for model in listed}

    def kill_engine(self) -> None:
        """Kills the engine below the API's process, as the kernel does when memory runs out."""
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text().split()
        (engine,) = [int(pid) for pid in children if "VLLM::Engine" in Path(f"/proc/{pid}/comm").read_text()]
        os.kill(engine, signal.SIGKILL)

    @property
    def is_gone(self) -> bool:
        """Whether its process has ended."""
        return self._process.poll() is not None

    def wait_until_gone(self) -> None:
        """Returns once its process has ended."""
        self._process.wait(60)

    def stop(self) -> None:
        """Ends it, if it has not ended, with whatever it started."""
        self._process.terminate()
        try:
            self._process.wait(30)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
