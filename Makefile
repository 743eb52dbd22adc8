# make run     make .venv from the hashed lock, then serve at http://127.0.0.1:8080
# make test    the same with the tools, then the test suite
# make help    everything else

PORT ?= 8080
HOST ?= 127.0.0.1
DATA ?= $(CURDIR)/.data/$(PORT)
BIN := .venv/bin
PYTHON ?=
ARGS ?=
JOBS ?= auto
export PYTHON

.DEFAULT_GOAL := help
.PHONY: help run test check docs bench faults lock wheel packaging clean

help:
	@echo 'make run [PORT=8081] [DATA=DIR]  serve; each port has a data directory of its own, .data/PORT'
	@echo 'make test [ARGS=tests/cli]       run the test suite, on every core (JOBS=0: in one process)'
	@echo 'make check                       ruff, mypy --strict, import-linter'
	@echo 'make docs                        write docs/services from the code'
	@echo 'make bench                       measure'
	@echo 'make faults                      kill it, cut its power, fill its disk: the long form of tests/faults and tests/security'
	@echo 'make wheel                       build dist/*.whl'
	@echo 'make packaging                   check the systemd unit and the Containerfile, as far as the tools are here'
	@echo 'make lock                        resolve the locks anew (needs uv)'
	@echo 'make clean                       remove what was built, but no data'

.venv/.run: requirements.lock pyproject.toml packaging/venv.sh
	@packaging/venv.sh run

.venv/.dev: requirements-dev.lock pyproject.toml packaging/venv.sh
	@packaging/venv.sh dev

run: .venv/.run
	@echo "data directory: $(DATA)"
	@echo "for the areabox command in another terminal: export AREABOX_DATA_DIR='$(DATA)' PATH='$(CURDIR)/$(BIN)':\$$PATH"
	@exec $(BIN)/areabox serve --host '$(HOST)' --port '$(PORT)' --data-dir '$(DATA)'

test: .venv/.dev
	$(BIN)/python -m pytest -q -n $(JOBS) --dist worksteal $(ARGS)

check: .venv/.dev
	$(BIN)/ruff check areabox tests
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

docs: .venv/.dev
	$(BIN)/python -m areabox.services.pages

bench: .venv/.dev
	@set -e; found=; for file in tests/bench/*.py; do \
	  [ -e "$$file" ] || continue; found=yes; echo "== $$file"; $(BIN)/python "$$file"; done; \
	[ -n "$$found" ] || echo 'there is no benchmark yet'

faults: .venv/.dev
	AREABOX_FAULTS=full $(BIN)/python -m pytest -q -s $(or $(ARGS),tests/faults tests/security)

wheel: .venv/.dev
	$(BIN)/python -m pip wheel --quiet --disable-pip-version-check --no-deps --no-build-isolation --wheel-dir dist .

packaging:
	@packaging/check.sh

lock:
	uv pip compile -q --universal --generate-hashes --no-header --extra build --extra all pyproject.toml -o requirements.lock
	uv pip compile -q --universal --generate-hashes --no-header --extra dev --extra all pyproject.toml -o requirements-dev.lock

clean:
	rm -rf dist build .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache .grimp_cache
	find areabox tests -name __pycache__ -prune -exec rm -rf {} +
