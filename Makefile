# Works with the GNU Make 3.81 of macOS: one command a line.
SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help
MAKEFLAGS += --no-builtin-rules --no-print-directory

ENV ?= local
PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python
STAMP := $(VENV)/.ready

# The verbs of the one program, `python -m operations VERB`. Each reads the variables it is given from make's own command
# line, exactly as they were typed; exporting them as well would expand their dollars.
DEPLOY := bootstrap preflight plan apply verify output destroy drift new-env diff
OPERATE := status report results watch trace logs subscriptions reprocess backfill cost rollback pause resume redrive audit erase
$(foreach name,DISCARD EXPORT GALLERY KEY NAME PHOTOS PREFIX,$(if $(findstring command,$(origin $(name))),$(eval unexport $(name))))

##@ Everyday

.PHONY: help
help: ## Show this help
	@"$(PYTHON)" tools/help.py

.PHONY: setup
setup: $(STAMP) ## Make .venv with everything the other verbs need (they do it themselves)

.PHONY: operator
operator: $(VENV)/.operator ## Make a smaller .venv instead, for what deploys and operates only

# Deploying and operating work with either environment.
READY := $(if $(wildcard $(VENV)/.operator),$(VENV)/.operator,$(STAMP))

$(STAMP): requirements-dev.lock
$(VENV)/.operator: requirements-operator.lock
$(STAMP) $(VENV)/.operator:
	@command -v "$(PYTHON)" >/dev/null || { echo "There is no $(PYTHON) on PATH; install Python 3.11 or newer." >&2; exit 1; }
	@"$(PYTHON)" tools/setup.py $(if $(filter %.operator,$@),operator)

.PHONY: demo
demo: $(STAMP) ## Run the whole pipeline here on real photos (PHOTOS=folder for your own; OPEN=1 opens its page)
	@$(PY) -m localcloud.demo

.PHONY: play
play: $(STAMP) ## Keep the pipeline up here with a page to drop photos on, make it fail, and redrive (OPEN=1, PORT=)
	@$(PY) -m localcloud.play

.PHONY: test
test: $(STAMP) ## Run every test, without an AWS account (ARGS='-k name' for some of them)
	@$(PY) -m pytest --numprocesses 3 --dist loadgroup $(ARGS)

.PHONY: soak
soak: $(STAMP) ## Upload IMAGES with DUPLICATES and FAULTS mixed in, here, and account for every one (SEED=, JSON=1)
	@$(PY) -m localcloud.soak

.PHONY: lint
lint: $(STAMP) ## Run every check; changes no file (ARGS=mypy for one of them)
	@$(PY) -m tools.checks $(ARGS)

.PHONY: fmt
fmt: $(STAMP) ## Format Python and Terraform
	@$(PY) -m ruff check --quiet --fix-only .
	@$(PY) -m ruff format --quiet .
	@PATH="$(CURDIR)/$(VENV)/bin:$$PATH" terraform fmt -recursive

.PHONY: clean
clean: ## Stop every local cloud and remove everything generated, .venv too
	@if [ -e $(STAMP) ] && [ -x $(PY) ]; then $(PY) -m localcloud down; fi
	@rm -rf build .terraform bootstrap/.terraform $(VENV) .venv-checkov \
	  .mypy_cache .pytest_cache .ruff_cache .hypothesis tests/node/node_modules
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

##@ The local cloud

.PHONY: local-up
local-up: $(STAMP) ## Start the cloud on this computer; then ENV=local works
	@$(PY) -m localcloud up

.PHONY: local-down
local-down: $(STAMP) ## Stop it, and what a demo or soak left running; what was in it is gone
	@$(PY) -m localcloud down

##@ Deploying

.PHONY: build
build: ## Build the functions' zips into build/ (Terraform does it by itself)
	@"$(PYTHON)" tools/package.py --all --wheels python3.13-arm64

.PHONY: $(DEPLOY)
$(DEPLOY): $(READY)
	@$(PY) -m operations $@

##@ Operating

.PHONY: $(OPERATE)
$(OPERATE): $(READY)
	@$(PY) -m operations $@

##@ Measuring

.PHONY: simulate
simulate: $(STAMP) ## Play IMAGES= uploads through the design under AWS's quotas (MODE=, TYPE=, ARRIVALS=, PACE=, CAP=, JSON=1, DOCUMENT=1)
	@$(PY) -m benchmarks simulate

.PHONY: bench
bench: $(STAMP) ## Measure the pipeline beside a floor and the tutorial's design on a local cloud; writes docs/performance.md (ROUNDS=, IMAGES=)
	@$(PY) -m benchmarks bench

.PHONY: bench-check
bench-check: $(STAMP) ## Compare API calls, own time, imports and zips with the committed figures (WRITE=1 commits to today's)
	@$(PY) -m benchmarks bench-check

.PHONY: drain
drain: $(STAMP) ## Work a backlog off on a local cloud whose Rekognition allows QUOTA= calls a second, beside its prediction (IMAGES=, MODE=, TYPE=, RATE=)
	@$(PY) -m benchmarks drain

##@ Maintaining

.PHONY: permissions
permissions: $(STAMP) ## Write the table of permissions in docs/security.md from a deployed environment
	@$(PY) -m tests.documents.permissions --env "$(ENV)"

.PHONY: documents
documents: $(STAMP) ## Write into docs what is generated from the code and its tests
	@$(PY) -m tests.documents

.PHONY: reliability
reliability: documents

.PHONY: screenshots
screenshots: $(STAMP) ## Take the README's pictures of the page that make demo wrote
	@$(PY) -m tools.screenshots

.PHONY: lock
lock: $(STAMP) ## Bring the locked development dependencies up to date
	@$(PY) -m tools.lock
