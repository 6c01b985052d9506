SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.ONESHELL:
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help
MAKEFLAGS += --no-builtin-rules --no-print-directory

ENV ?= local
PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python
STAMP := $(VENV)/.ready

##@ Everyday

.PHONY: help
help: ## Show this help
	@awk 'BEGIN { FS = ":.*##"; printf "Usage: make VERB [ENV=local]\n" }
	/^[a-z-]+:.*##/ { printf "  \033[36m%-12s\033[0m %s\n", $$1, $$2 }
	/^##@/ { printf "\n\033[1m%s\033[0m\n", substr($$0, 5) }' $(firstword $(MAKEFILE_LIST))

.PHONY: setup
setup: $(STAMP) ## Make .venv with everything the other verbs need (they run it themselves)

$(STAMP): requirements-dev.lock
	@command -v $(PYTHON) >/dev/null || { echo "There is no $(PYTHON) on PATH; install Python 3.11, 3.12 or 3.13." >&2; exit 1; }
	$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' || {
	  echo "$(PYTHON) is $$($(PYTHON) -V 2>&1); Python 3.11, 3.12 or 3.13 is needed, name one with PYTHON=python3.12." >&2; exit 1; }
	$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || {
	  echo "$(PYTHON) cannot make virtual environments; install its venv package (Debian and Ubuntu: apt install python3-venv)." >&2; exit 1; }
	echo "Making $(VENV) with $$($(PYTHON) -V) (about a minute, once)"
	$(PYTHON) -m venv --clear $(VENV)
	$(PY) -m pip install --quiet --disable-pip-version-check --no-compile --require-hashes -r requirements-dev.lock || {
	  echo "The development dependencies could not be installed; see pip's message above, then run 'make setup' again." >&2; exit 1; }
	touch $@

##@ Deploying

.PHONY: build
build: ## Build the functions' zips into build/ (Terraform does it by itself)
	@$(PYTHON) tools/package.py --all
