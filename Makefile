# The few commands of this project. Everything is installed into .venv from constraints.txt; nothing else is touched.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
PACKAGES := site_node coordinator shared compose tests
CHECKED_LAWS := $(addprefix tests/laws/test_,pages_name_what_exists.py names_are_the_fields_own.py the_shape_of_the_code.py)

.PHONY: help install federation reading check test pythons mutants lint code-lint bench soak images containers bundle proto format clean

help: ## Show the targets
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 14

install: $(INSTALLED) ## Make .venv with the pinned packages

# torch is asked for first and exactly: any range would fetch gigabytes of CUDA libraries.
$(INSTALLED): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt torch==2.13.0
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[site,coordinator,curation,federation,console,models,privacy,tracking,dev]'
	@touch $@

federation: $(INSTALLED) ## Three hospitals and a coordinator on this machine (ARGS="--keep --data DIR --json FILE")
	$(BIN)/python compose/local.py $(ARGS)

reading: $(INSTALLED) ## Films of three hospitals, and pages for three readers and an adjudicator; ARGS=--by-hand: for the review, too
	$(BIN)/python compose/reading.py $(ARGS)

code-lint: $(INSTALLED) ## Linters, types and import rules
	$(BIN)/ruff check $(PACKAGES)
	$(BIN)/ruff format --check $(PACKAGES)
	$(BIN)/mypy
	$(BIN)/lint-imports

check: code-lint ## code-lint, fast unit tests, the laws of names, pages and shape: under two minutes, before each commit
	$(BIN)/pytest -q -n 2 -m "not soak and not slow" tests/unit tests/contract $(CHECKED_LAWS)

# Each file runs in one of two processes, those that start whole programs first: the last to end are short.
test: $(if $(T),$(INSTALLED),code-lint) ## code-lint, then every test; T=tests/unit/site_node/screen: those tests alone
ifdef T
	$(BIN)/pytest $(T)
else
	$(BIN)/pytest -n 2 --dist loadfile --no-loadscope-reorder $(if $(COVERAGE),--cov --cov-report=) \
		tests/e2e tests/integration tests/contract tests/laws tests/unit
	$(if $(COVERAGE),$(BIN)/python -m tests.coverage_by_room)
endif

pythons: ## The unit tests under every Python that is declared, each in an environment of its own; one that is not here: its packages resolve
	$(PYTHON) tests/pythons.py

mutants: $(INSTALLED) ## Changes that no test notices: of a room's guards (ROOM=site_node/screen), else of touched lines (SECONDS=180)
	$(BIN)/python -m tests.mutants $(ROOM) $(if $(SECONDS),--seconds $(SECONDS))

lint: code-lint ## code-lint plus protos, container files and compose files
	$(BIN)/buf lint shared/proto
	$(BIN)/python shared/proto/generate.py --check
	$(BIN)/hadolint compose/*.Containerfile
	$(BIN)/check-jsonschema --builtin-schema vendor.compose-spec compose/federation.yaml

proto: $(INSTALLED) ## Generate the code of shared/proto
	$(BIN)/python shared/proto/generate.py

# The tools we measure ourselves against live apart: they are no dependency of anything here.
.venv-bench/.installed: Makefile
	$(PYTHON) -m venv .venv-bench
	.venv-bench/bin/pip install --quiet --disable-pip-version-check dicognito==0.19.0 dicom-anonymizer==2.1.0 deid==0.4.13 rapidocr-onnxruntime==1.4.4
	@touch $@

# NVFlare apart from them, too; where it cannot be had its rows are skipped.
.venv-nvflare/.installed: Makefile
	$(PYTHON) -m venv .venv-nvflare
	-.venv-nvflare/bin/pip install --quiet --disable-pip-version-check nvflare==2.9.0
	@touch $@

bench: $(INSTALLED) .venv-bench/.installed .venv-nvflare/.installed ## Speed, side by side with peers and physical floors, as ratios
	$(BIN)/python -m tests.benchmarks

# What starts containers together and lists packages, apart too.
.venv-containers/.installed: Makefile
	$(PYTHON) -m venv .venv-containers
	.venv-containers/bin/pip install --quiet --disable-pip-version-check podman-compose==1.6.0 cyclonedx-bom==7.5.0
	@touch $@

images: $(INSTALLED) ## Images of every program by podman, with no image to pull (as root; skips with the reason)
	$(BIN)/python -m compose.containers.images

containers: $(INSTALLED) .venv-containers/.installed ## images, then a study's whole way in them: PACS, node, coordinator, PostgreSQL, curator
	$(BIN)/python -m compose.containers.walk

bundle: $(INSTALLED) .venv-containers/.installed ## images, then wheels, images and sums in dist/, installed without a network
	$(BIN)/python -m compose.containers.bundle

soak: $(INSTALLED) ## The long figures: thousands of kills, mutations and tampers, and twenty times the examples of each law
	LAWS=soak $(BIN)/pytest -m "soak or hypothesis"

format: $(INSTALLED) ## Let ruff write the layout
	$(BIN)/ruff format $(PACKAGES)
	$(BIN)/ruff check --fix --quiet $(PACKAGES)

clean: ## Remove what these targets made
	rm -rf $(VENV) .venv-3.* .venv-bench .venv-nvflare .venv-containers build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .mutants .import_linter_cache .coverage federation-run
