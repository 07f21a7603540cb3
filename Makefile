# Every target first sets up what it needs (deploy/bootstrap.sh), at once when that is done already.
# PYTHON=python3.12 chooses the interpreter; PIP_EXTRA_INDEX_URL and pip's other settings are honoured.

.DEFAULT_GOAL := help
.PHONY: bench check clean demo determinism format fuzz help lock scaling setup setup-dev test

# With `exec` no shell stands between make and the command: Ctrl-C reaches both, and make waits until it has cleaned up.
RUN := @exec .venv/bin/

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: ## Create .venv with what the demo needs
	@deploy/bootstrap.sh report train

setup-dev: ## Create .venv with what tests, checks and benchmarks need as well
	@deploy/bootstrap.sh dev fuzz mqtt nvml postgres report solver sunspec train

demo: setup ## Five peers train one model where the power is green [ARGS='--out DIR']
	$(RUN)heliotrope demo $(ARGS)

test: setup-dev ## Run the tests [ARGS='-k ledger']
	$(RUN)python -m pytest $(ARGS)

fuzz: setup-dev ## Feed made-up bytes to all that reads strangers' [TARGET=decoder SECONDS=600]
	$(RUN)python -m tests.fuzz --seconds=$(or $(SECONDS),60) $(TARGET)

determinism: setup-dev ## Compare plans under every Python here, with the oldest NumPy and the locked one
	$(RUN)python -m tests.matching.versions

check: setup-dev ## Check format, lint and types
	@.venv/bin/python -m ruff format --check
	@.venv/bin/python -m ruff check
	$(RUN)python -m mypy

bench: setup-dev ## Measure against the targets [BENCH=ledger|live|start|sync|bids|matching|scaling|rivals|energy|solar|shift|forecast|network|scale_gossip|training SEEDS=5]
	$(RUN)python -m tests.bench $(BENCH)

scaling: setup-dev ## Draw how time and memory of a plan grow with its size [tests/bench/scaling.png]
	$(RUN)python -m tests.bench.bench_scaling

format: setup-dev ## Rewrite the code as `make check` wants it
	@.venv/bin/python -m ruff check --fix-only --quiet
	$(RUN)python -m ruff format

lock: setup-dev ## Lock the newest versions that pyproject.toml allows
	@.venv/bin/python -m venv --clear .venv/lock
	@.venv/lock/bin/python -m pip install --quiet '.[dev,fuzz,mqtt,nvml,postgres,report,solver,sunspec]' safetensors
	@(grep '^#' deploy/constraints.txt && .venv/lock/bin/python -m pip freeze --exclude heliotrope) >.venv/constraints.txt
	@mv .venv/constraints.txt deploy/constraints.txt

clean: ## Remove .venv and caches
	rm -rf .venv .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -prune -exec rm -rf {} +
