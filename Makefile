# Two commands do all the set-up: `make demo` and `make test`. A second run skips what is there.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready
# The tests that try a few rows of many, and all of them in the long run.
SHORTENED := $(shell grep -rlE 'import (rows|Churn\b)' --include='test_*.py' tests/integration)
ARGS ?=
# Tests wait more than they compute. Each job has servers of its own, and takes a file at a time.
JOBS ?= 3

.PHONY: help demo test unit lint format bench fault clean

help:
	@echo "make demo    kill workers for 90 seconds and count duplicates and losses"
	@echo "make test    all tests, on real Kafka and Redis"
	@echo "make unit    the pure tests alone, in seconds"
	@echo "make lint    ruff, mypy, import-linter"
	@echo "make fault   the long runs: ten demos in a row, chaos on three brokers, 100,000 model histories, all rows"
	@echo "make bench   measure; never part of the tests"

demo: $(READY)
	$(BIN)/eos demo $(ARGS)

test: $(READY)
	$(BIN)/pytest -n $(JOBS) --dist loadfile $(ARGS)

unit: $(READY)
	$(BIN)/pytest tests/unit $(ARGS)

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(READY)
	$(BIN)/python -m tests.bench.ledger
	$(BIN)/python -m tests.bench.pipeline
	$(BIN)/python -m tests.bench.consumer
	$(BIN)/python -m tests.bench.inbox
	$(BIN)/python -m tests.bench.outbox
	$(BIN)/python -m tests.bench.recovery
	$(BIN)/python -m tests.bench.sidecar
	$(BIN)/python -m tests.bench.publish

fault: $(READY)
	EOS_HISTORIES=100000 $(BIN)/pytest tests/simulation $(ARGS)
	EOS_ROWS=all $(BIN)/pytest $(SHORTENED) $(ARGS)
	EOS_SCRIPTS=2000 EOS_SEED=$$(date +%s) $(BIN)/pytest tests/integration/test_consumer_property.py $(ARGS)
	$(BIN)/pytest tests/fault $(ARGS)

$(READY): pyproject.toml deploy/system-packages
	PYTHON=$(PYTHON) deploy/system-packages
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check -e '.[dev]'
	touch $@

clean:
	rm -rf .venv
