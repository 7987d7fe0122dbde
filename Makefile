# The newcomer's commands. Every target prepares what it needs; the second time that is a moment.
#
#   make run      play the main job; FEED=my.atom for your own feed, ARGS for more options
#   make check    lint, types, import rules, unit tests: before every commit
#   make test     check, and everything deterministic with the real programs
#   make soak     random and long; SEED=n repeats a run; SECONDS=n fuzzes each parser so long
#   make lock     write requirements/*.txt and package-lock.json anew (delete one to upgrade it)

PYTHON ?= python3
ifndef SEED
SEED := $(shell od -An -N4 -tu4 /dev/urandom | tr -d ' ')
endif
SECONDS ?= 60
BIN := .venv/bin
LOCK := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--no-header --no-annotate

.PHONY: run check test soak lint lock
.DEFAULT_GOAL := run

run:
	@$(PYTHON) tools/prepare.py run
	@$(BIN)/xmpp-e2ee demo $(FEED) $(ARGS)

check: lint
	$(BIN)/pytest -m "not slow and not soak"

test: lint
	$(BIN)/pytest -m "not soak"

soak:
	@$(PYTHON) tools/prepare.py soak
	$(BIN)/pytest tests/properties --hypothesis-profile=soak --hypothesis-seed=$(SEED)
	$(BIN)/pytest -m soak --hypothesis-profile=soak --hypothesis-seed=$(SEED)
	$(BIN)/python -m tests.fuzz --seconds=$(SECONDS) --seed=$(SEED)

lint:
	@$(PYTHON) tools/prepare.py test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

lock:
	@$(PYTHON) tools/prepare.py run
	$(BIN)/pip install --quiet uv
	$(LOCK) pyproject.toml --extra client --extra postgres --group build -o requirements/run.txt
	$(LOCK) pyproject.toml --extra client --extra postgres --group build --group dev \
		-c requirements/run.txt -o requirements/dev.txt
	$(LOCK) --group peers -c requirements/dev.txt -o requirements/peers.txt
	$(LOCK) --group fuzz -c requirements/dev.txt -o requirements/fuzz.txt
	npm install --package-lock-only --ignore-scripts
