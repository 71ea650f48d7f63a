# Each target, alone, does everything on a fresh machine with Python 3.11+, pip and make.

PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready
DISTILL := .venv/.distill
RAY := .venv/.ray
LOCK := .venv-lock/.ready

.PHONY: demo distill-demo test test-fast test-browser test-distill test-distill-ends test-ray test-sdks test-exports test-vllm chaos fuzz lint train-tiny lock audit docs notebook site bench benchmarks clean

demo: $(READY)  ## measure a tiny model on drawn scenes: no key, no cost
	$(BIN)/unsaf-async run

distill-demo: $(DISTILL)  ## does teaching to write questions make a student aware? a quarter of an hour on one core
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/und.py

test: $(READY)  ## run the tests, and measure what share of the code they run
	$(BIN)/python -m pytest -n 4 --dist loadfile --no-loadscope-reorder --cov --cov-report=term

test-fast: $(READY)  ## the short tests, in less than a minute
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder -m "not slow"

test-browser: $(READY)  ## the report in a real browser, with axe's rules where there is npm; installs Debian's chromium where there is none and apt may
	@command -v chromium > /dev/null || { apt-get -q update && apt-get -q install --yes --no-install-recommends chromium chromium-driver; } > /dev/null
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --group browser
	@! command -v npm > /dev/null || npm install --silent --no-audit --no-fund --prefix .venv/axe axe-core@4.14.1
	$(BIN)/python -m pytest tests/browser

test-distill: $(DISTILL)  ## the training script on tiny models
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest tests/distill/train

test-distill-ends: $(DISTILL)  ## the same with the oldest and the newest transformers that the extra allows; ten minutes
	$(BIN)/python -m pip install --quiet --no-deps --upgrade --target .venv-distill-oldest transformers==5.10.4 tokenizers==0.22.2
	$(BIN)/python -m pip install --quiet --no-deps --upgrade --target .venv-distill-newest transformers==5.24.0
	for end in oldest newest; do PYTHONPATH=$(CURDIR)/.venv-distill-$$end OMP_NUM_THREADS=1 $(BIN)/python -m pytest tests/distill/train \
	  || exit; done

test-ray: $(RAY)  ## one run on several processes: real Ray workers, one of them killed
	$(BIN)/python -m pytest tests/cluster/test_ray.py

test-sdks: $(READY)  ## the simulator's replies, read by OpenAI's newest SDK, which the locked litellm does not take yet
	$(BIN)/python -m pip install --quiet --no-deps --upgrade --target .venv-sdks openai==3.57.0
	PYTHONPATH=.venv-sdks $(BIN)/python -m pytest tests/simulate/test_sdks.py

test-exports:  ## exports and --report-to against inspect_ai, W&B, MLflow and Trackio themselves, offline; 0.9 GB
	@test -d .venv-exports || $(PYTHON) -m venv .venv-exports
	.venv-exports/bin/python -m pip install --quiet --upgrade 'pip>=25.1'
	.venv-exports/bin/python -m pip install --quiet '.[mlflow,trackio,wandb]' inspect-ai==0.3.285 hypothesis jsonschema \
	  pytest pytest-asyncio pytest-cov pytest-timeout pytest-xdist
	UNSAF_INSPECT_PYTHON=$(CURDIR)/.venv-exports/bin/python .venv-exports/bin/python -m pytest -W default \
	  tests/runs/test_inspect_log.py tests/runs/test_trackers.py

test-vllm: $(DISTILL)  ## install vLLM for CPUs (2.5 GB) and test against it, with an adapter trained for it; ten minutes
	PYTHON="$(PYTHON)" tests/vllm/install.sh .venv-vllm
	$(BIN)/python -m pytest tests/vllm --timeout 900

chaos: $(READY)  ## the command line against a simulated provider that does everything wrong; an hour. CHAOS="--only kills --images 30"
	$(BIN)/python tests/chaos/run.py $(CHAOS)

fuzz: $(READY)  ## ten thousand damaged files, lists, replies and pictures of each kind; half an hour
	UNSAF_FUZZ_EXAMPLES=10000 $(BIN)/python -m pytest tests/test_fuzz.py --timeout 0

lint: $(READY)  ## style, types, which way imports go, dependencies that are declared and used
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo --no-cache
	$(BIN)/deptry unsaf_async

train-tiny: $(READY)  ## train the tiny models anew: about 70 CPU-minutes, on two cores
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --group train
	$(BIN)/python -m unsaf_async.tiny.train --jobs 2
	$(BIN)/python tests/tiny/tiny_parity.py

site: $(READY)  ## build the pages of docs/ into site/; fails on a dead link and on a page that fetches from elsewhere
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --group docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --quiet --strict

lock: $(LOCK)  ## write requirements.txt and requirements-dev.txt anew: constraints.txt's versions with the hashes of their files
	for group in "" dev; do .venv-lock/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-annotate \
	  --constraint constraints.txt pyproject.toml $${group:+--group $$group} --custom-compile-command "make lock" \
	  --output-file requirements$${group:+-$$group}.txt || exit; done

audit: $(LOCK)  ## look for known vulnerabilities of what is locked; says so where the database cannot be reached
	.venv-lock/bin/pip-audit --progress-spinner off --require-hashes --disable-pip --requirement requirements.txt \
	  --ignore-vuln CVE-2025-69872  # of diskcache: its pickles, which are never read

notebook: $(READY)  ## run docs/notebook.ipynb in a kernel, and keep what it shows
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --group notebook
	$(BIN)/python docs/run_notebook.py

docs: $(READY)  ## write the generated parts of docs/ anew
	$(BIN)/python docs/generate.py

bench: $(READY)  ## this program beside its peers, one table and benchmarks/RESULTS.md; hours. BENCH="--quick --only a,d --peers httpx,aiohttp"
	$(BIN)/python benchmarks/peers/bench.py $(BENCH)

benchmarks: $(READY)  ## what a call costs, beside litellm and raw httpx
	$(BIN)/python benchmarks/overhead.py

clean:
	rm -rf .venv .venv-distill-* .venv-exports .venv-lock .venv-peers .venv-sdks .venv-vllm dist build site

$(READY): pyproject.toml requirements-dev.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "unsaf-async needs Python 3.11 or newer; give one with PYTHON=python3.12")'
	@echo "Installing into .venv; this takes about a minute ..."
	@$(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --upgrade 'pip>=25.1'
	@$(BIN)/python -m pip install --quiet --require-hashes --requirement requirements-dev.txt
	@$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

$(LOCK): constraints.txt
	@$(PYTHON) -m venv .venv-lock
	@.venv-lock/bin/pip install --quiet --constraint constraints.txt uv pip-audit
	@touch $@

$(DISTILL): $(READY)
	@echo "Installing torch, transformers, peft and trl into .venv (1 GB); this takes about a minute ..."
	@$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[distill]'
	@tests/distill/plain_torchvision.sh $(BIN)/python
	@touch $@

$(RAY): $(READY)
	@$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[ray]'
	@touch $@
