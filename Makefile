# Every target makes the virtual environment it needs. Only Python 3.11+ and make must be there before.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin

.DEFAULT_GOAL := help
.PHONY: help install demo test check players bench fuzz soak clean

help:  ## show this
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /  make \1\t/' | expand -t 20

$(VENV)/.installed: pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed; try make PYTHON=python3.11"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install -q -e .
	@touch $@

$(VENV)/.developing: $(VENV)/.installed
	$(BIN)/pip install -q -e '.[dev]'
	@touch $@

install: $(VENV)/.installed  ## make the virtual environment with toprung in it

demo: $(VENV)/.installed  ## prepare, train, serve and play a real clip over a real 3G trace (under 12 minutes)
	$(BIN)/toprung demo --out build/demo

check: $(VENV)/.developing  ## lint, types, directions of imports
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

test: check  ## check, then every test (Redis, Prometheus, nginx, Chromium and npm come by apt when they are missing)
	@{ command -v redis-server && command -v prometheus && PATH="$$PATH:/usr/sbin" command -v nginx; } >/dev/null \
		|| sh tests/support/install_programs.sh redis-server prometheus nginx-light
	@sh tests/support/install_browser.sh
	$(BIN)/pytest -q

players: $(VENV)/.developing  ## every stock player × standard and server-driven manifests, in a real Chromium (FILM=client_player/sample/bbb_60s.mp4: a minute of it)
	@sh tests/support/install_browser.sh
	TOPRUNG_FILM=$(FILM) $(BIN)/pytest -v -m "matrix or not matrix" tests/browser/test_stock_players.py

bench: $(VENV)/.installed  ## measure against named peers, in one run each
	$(BIN)/toprung bench prepare client_player/sample/bbb_60s.mp4

fuzz: check  ## ten thousand of each fuzzed CMCD string, event batch and manifest, and 200 damaged films
	$(BIN)/pytest -q tests/ops/test_fuzz.py tests/ops/test_hostile_media.py --hypothesis-profile thorough --timeout 1800

soak: $(VENV)/.installed  ## an hour of viewers in some minutes: memory, file descriptors and errors left behind
	$(BIN)/toprung bench soak

clean:  ## remove what builds and tests leave
	rm -rf build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
