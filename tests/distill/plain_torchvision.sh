#!/bin/bash
# plain_torchvision.sh PYTHON: lets the registry's torchvision, which is built for CUDA, load beside a torch for CPUs.
# For tests only: its C++ operators do not load there ("operator torchvision::nms does not exist"), its transforms are Python.
set -euo pipefail

if "$1" -c 'import torchvision' 2> /dev/null; then exit 0; fi
"$1" -c 'import torch; assert torch.version.cuda is None, f"torch {torch.__version__} is no CPU build, and torchvision does not load"'
site=$("$1" -c 'import sysconfig; print(sysconfig.get_paths()["purelib"])')
: > "$site/torchvision/_meta_registrations.py"
rm -rf "$site/torchvision/_C.so" "$site/torchvision/image.so" "$site/torchvision.libs"
"$1" -c 'import torchvision'
