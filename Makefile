# Every target makes the virtual environment it needs. Only Python 3.11+ and make must be there before.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
# Where torch comes from on machines without NVIDIA's driver, if that answers; make TORCH_INDEX= asks pip's usual index alone.
TORCH_INDEX ?= https://download.pytorch.org/whl/cpu
TORCH := $(shell sed -n 's/.*"\(torch==[^"]*\)".*/\1/p' pyproject.toml)

TESTS := $(BIN)/pytest -q
# Three for two cores: players and live streams run in real time, and wait more than they work.
WORKERS ?= $(shell echo $$(( ($$(getconf _NPROCESSORS_ONLN) * 3 + 1) / 2 )))
SPREAD = -n $(WORKERS) --dist loadscope --no-loadscope-reorder

# Steps that do not need each other go side by side: apt beside pip, types beside the documentation.
MAKEFLAGS += -j3
# Two pips at once would spoil the environment; systems without flock take the steps by -j1 if they ask for both.
TAKE_TURNS = $(and $(shell command -v flock),flock $(VENV)/.torch)
# Python keeps the bytecode of what it has compiled, whatever it is told outside: hundreds of programs start in a test run.
export PYTHONDONTWRITEBYTECODE :=

.DEFAULT_GOAL := help
.PHONY: help install demo demo-live test check lint types docs lint-web programs players bench fuzz soak compose-check clean

help:  ## show this
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1\t/' | expand -t 20

$(VENV)/.torch: pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed; try make PYTHON=python3.11"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	@[ -z "$(TORCH_INDEX)" ] || command -v nvidia-smi >/dev/null \
		|| $(BIN)/pip install -qq --no-deps --retries 1 --timeout 10 --index-url $(TORCH_INDEX) $(TORCH) \
		|| echo "$(TORCH_INDEX) does not give $(TORCH): it comes from pip's usual index, where it may bring gigabytes of CUDA."
	@touch $@

$(VENV)/.installed: $(VENV)/.torch
	$(TAKE_TURNS) $(BIN)/pip install -q -e '.[all]'
	@touch $@

$(VENV)/.developing: $(VENV)/.torch
	$(TAKE_TURNS) $(BIN)/pip install -q -e '.[dev,docs]'
	@touch $(VENV)/.installed $@

install: $(VENV)/.installed  ## make the virtual environment with toprung and all its extras in it

demo: $(VENV)/.installed  ## prepare, train, serve and play a real clip over a real 3G trace (ten minutes or more)
	$(BIN)/toprung demo --out build/demo

demo-live: $(VENV)/.installed  ## a clip as a live stream, learnt while it runs, and three viewers of it (a quarter of an hour or more)
	$(BIN)/toprung demo --live --out build/demo-live

node_modules/.installed: package-lock.json
	@command -v npm >/dev/null || sh tests/support/install_programs.sh npm
	npm ci --ignore-scripts --no-audit --no-fund --loglevel=error
	@touch $@

lint-web: node_modules/.installed  ## lint and layout of the pages' scripts and styles (npm comes by apt when it is missing)
	node_modules/.bin/eslint --max-warnings 0 server/web abr/opinions
	node_modules/.bin/prettier --check --log-level warn server/web "abr/opinions/*.js"

check: lint types docs lint-web  ## lint, types, directions of imports, the documentation

lint: $(VENV)/.developing
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports

types: $(VENV)/.developing
	$(BIN)/mypy

docs: $(VENV)/.developing  ## the documentation as a site: build/site/index.html
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

programs:
	@{ command -v redis-server && command -v prometheus && PATH="$$PATH:/usr/sbin" command -v nginx; } >/dev/null \
		|| sh tests/support/install_programs.sh redis-server prometheus nginx-light
	@sh tests/support/install_browser.sh

# Once for all workers, which would each compile every test at the same time.
$(VENV)/.compiled: $(VENV)/.developing
	@$(TESTS) --collect-only -qq >/dev/null || true
	@touch $@

test: check programs $(VENV)/.compiled  ## check, then every test (Redis, Prometheus, nginx, Chromium and npm come by apt when they are missing)
	@echo $(TESTS) $(SPREAD); $(TESTS) $(SPREAD) || { [ $$? -eq 1 ] && echo "Once more what failed, alone:" && $(TESTS) --last-failed; }

players: $(VENV)/.developing  ## every stock player × standard and server-driven manifests, in a real Chromium (FILM=client_player/sample/bbb_60s.mp4: a minute of it)
	@sh tests/support/install_browser.sh
	TOPRUNG_FILM=$(FILM) $(BIN)/pytest -v -m "matrix or not matrix" tests/browser/test_stock_players.py tests/browser/test_returning_publisher.py

bench: $(VENV)/.installed  ## measure against named peers, in one run each
	$(BIN)/toprung bench prepare client_player/sample/bbb_60s.mp4

fuzz: check  ## ten thousand of each fuzzed CMCD string, event batch and manifest, and 200 damaged films
	$(BIN)/pytest -q tests/ops/test_fuzz.py tests/ops/test_hostile_media.py --hypothesis-profile thorough --timeout 1800

soak: $(VENV)/.installed  ## an hour of viewers in some minutes: memory, file descriptors and errors left behind
	$(BIN)/toprung bench soak

compose-check: $(VENV)/.developing  ## bring the composition up on this machine with Debian's Docker, ask every part (root, apt; ten minutes)
	sh tests/support/compose_check.sh $(BIN)/python

clean:  ## remove what builds and tests leave
	rm -rf build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .schemathesis
