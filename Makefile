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

# Keys, prefixes and file names reach the verbs as they are given, through the environment: whoever uploads chooses keys, and
# make expands dollars, a shell quotes and backticks besides.
define AS_GIVEN
ifneq ($$(origin $(1)),undefined)
override $(1) := $$(value $(1))
export $(1)
endif
endef
$(foreach name,EXPORT KEY PHOTOS PREFIX,$(eval $(call AS_GIVEN,$(name))))

# Nothing but CONFIRM=1 is a confirmation.
CONFIRMED = $(filter 1,$(CONFIRM))

##@ Everyday

.PHONY: help
help: ## Show this help
	@awk -v colour="$$([ -t 1 ] && printf '\033[36m' || true)" -v plain="$$([ -t 1 ] && printf '\033[0m' || true)" ' \
	  BEGIN { FS = ":.*## "; print "Usage: make VERB [ENV=local|dev|staging|prod]" } \
	  /^[a-z-]+:.*## / { printf "  %s%-12s%s %s\n", colour, $$1, plain, $$2 } \
	  /^##@ / { printf "\n%s\n", substr($$0, 5) }' $(firstword $(MAKEFILE_LIST))

.PHONY: setup
setup: $(STAMP) ## Make .venv with everything the other verbs need (they do it themselves)

$(STAMP): requirements-dev.lock
	@command -v "$(PYTHON)" >/dev/null || { echo "There is no $(PYTHON) on PATH; install Python 3.11, 3.12 or 3.13." >&2; exit 1; }
	@"$(PYTHON)" tools/setup.py

.PHONY: demo
demo: $(STAMP) ## Run the whole pipeline here on real photos (PHOTOS=folder for your own)
	@$(PY) -m localcloud.demo $(if $(PHOTOS),--photos "$$PHOTOS")

.PHONY: test
test: $(STAMP) ## Run every test, without an AWS account (ARGS='-k name' for some of them)
	@$(PY) -m pytest --numprocesses 3 --dist loadgroup $(ARGS)

.PHONY: soak
soak: $(STAMP) ## Upload IMAGES with DUPLICATES and FAULTS mixed in, here, and account for every one (SEED=, JSON=1)
	@$(PY) -m localcloud.soak $(if $(IMAGES),--images "$(IMAGES)") $(if $(DUPLICATES),--duplicates "$(DUPLICATES)") $(if $(FAULTS),--faults "$(FAULTS)") $(if $(SEED),--seed "$(SEED)") $(if $(JSON),--json)

.PHONY: lint
lint: $(STAMP) ## Run every check; changes no file (ARGS=mypy for one of them)
	@$(PY) -m tools.lint $(ARGS)

.PHONY: fmt
fmt: $(STAMP) ## Format Python and Terraform
	@$(PY) -m ruff check --quiet --fix-only .
	@$(PY) -m ruff format --quiet .
	@"$$($(PY) -m tools.fetch terraform)" fmt -recursive

.PHONY: clean
clean: ## Stop every local cloud and remove everything generated, .venv too
	@if [ -e $(STAMP) ] && [ -x $(PY) ]; then $(PY) -m localcloud down --all; fi
	@rm -rf build .terraform bootstrap/.terraform $(VENV) .venv-checkov \
	  .mypy_cache .pytest_cache .ruff_cache .hypothesis
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

##@ The local cloud

.PHONY: local-up
local-up: $(STAMP) ## Start the cloud on this computer; then ENV=local works
	@$(PY) -m localcloud up

.PHONY: local-down
local-down: $(STAMP) ## Stop it, and what a demo or soak left running; what was in it is gone
	@$(PY) -m localcloud down --all

##@ Deploying

.PHONY: build
build: ## Build the functions' zips into build/ (Terraform does it by itself)
	@"$(PYTHON)" tools/package.py --all

.PHONY: bootstrap
bootstrap: $(STAMP) ## Make the bucket an environment's state lives in, once per account
	@$(PY) -m operations.deploy bootstrap --env "$(ENV)"

.PHONY: plan
plan: $(STAMP) ## Save a plan to build/<env>.tfplan and show what it does (JSON=1 for programs)
	@$(PY) -m operations.deploy plan --env "$(ENV)" $(if $(JSON),--json)

.PHONY: apply
apply: $(STAMP) ## Apply the saved plan, or make one and apply it
	@$(PY) -m operations.deploy apply --env "$(ENV)"

.PHONY: output
output: $(STAMP) ## Print names and addresses of what is deployed (JSON=1 for programs)
	@$(PY) -m operations.deploy output --env "$(ENV)" $(if $(JSON),--json)

.PHONY: destroy
destroy: $(STAMP) ## Destroy an environment, data and all (needs CONFIRM=1, refused where data is protected)
	@CONFIRM="$(CONFIRM)" $(PY) -m operations.deploy destroy --env "$(ENV)"

.PHONY: drift
drift: $(STAMP) ## Tell whether an environment still is what the code says; fails when it is not (JSON=1)
	@$(PY) -m operations.drift --env "$(ENV)" $(if $(JSON),--json)

.PHONY: new-env
new-env: $(STAMP) ## Write the two files of a new environment (NAME=qa ACCOUNT=111122223333 REGION=us-east-1)
	@$(PY) -m operations.settings new --name "$(NAME)" --account "$(ACCOUNT)" --region "$(REGION)"

.PHONY: diff
diff: $(STAMP) ## Show the settings that differ between two environments (FROM=staging TO=prod, JSON=1)
	@$(PY) -m operations.settings diff --from "$(FROM)" --to "$(TO)" $(if $(JSON),--json)

##@ Operating

.PHONY: status
status: $(STAMP) ## Show the last hour at a glance (MINUTES=, JSON=1)
	@$(PY) -m operations status --env "$(ENV)" $(if $(MINUTES),--minutes "$(MINUTES)") $(if $(JSON),--json)

.PHONY: results
results: $(STAMP) ## Show records, newest first (KEY=, or OUTCOME= and DAY=, LIMIT=); EXPORT=file writes them
	@$(PY) -m operations results --env "$(ENV)" $(if $(OUTCOME),--outcome "$(OUTCOME)") $(if $(DAY),--day "$(DAY)") $(if $(LIMIT),--limit "$(LIMIT)") $(if $(EXPORT),--export "$$EXPORT") $(if $(JSON),--json) $(if $(KEY),-- "$$KEY")

.PHONY: watch
watch: $(STAMP) ## Follow images through the pipeline, live (SECONDS=, JSON=1)
	@$(PY) -m operations watch --env "$(ENV)" $(if $(SECONDS),--seconds "$(SECONDS)") $(if $(JSON),--json)

.PHONY: reprocess
reprocess: $(STAMP) ## Analyse one image again, on purpose (KEY=); QUIET=1 tells nobody
	@$(PY) -m operations reprocess --env "$(ENV)" $(if $(QUIET),--quiet) $(if $(JSON),--json) $(if $(KEY),-- "$$KEY")

.PHONY: backfill
backfill: $(STAMP) ## Count and price the photos under PREFIX= that have no record; DRY_RUN=0 analyses them (NOTIFY=1)
	@$(PY) -m operations backfill --env "$(ENV)" $(if $(filter 0,$(DRY_RUN))$(CONFIRMED),--confirm) $(if $(NOTIFY),--notify) $(if $(JSON),--json) $(if $(filter undefined,$(origin PREFIX)),,-- "$$PREFIX")

.PHONY: cost
cost: $(STAMP) ## Estimate a month's bill from the environment's settings (IMAGES=, PHOTO_MB=, JSON=1)
	@$(PY) -m operations cost --env "$(ENV)" $(if $(IMAGES),--images "$(IMAGES)") $(if $(PHOTO_MB),--photo-mb "$(PHOTO_MB)") $(if $(JSON),--json)

.PHONY: rollback
rollback: $(STAMP) ## Put FUNCTION=process_image or send_notification back a version, or TO= one (DRY_RUN=1 only shows it)
	@$(PY) -m operations rollback --env "$(ENV)" $(if $(TO),--to "$(TO)") $(if $(filter-out 0,$(DRY_RUN)),--dry-run) $(if $(JSON),--json) $(if $(FUNCTION),-- "$(FUNCTION)")

.PHONY: redrive
redrive: $(STAMP) ## Show the dead-letter queue; CONFIRM=1 starts its work again (DISCARD=id deletes one message, JSON=1)
	@$(PY) -m operations redrive --env "$(ENV)" $(if $(DISCARD),--discard "$(DISCARD)") $(if $(CONFIRMED),--confirm) $(if $(JSON),--json)

.PHONY: audit
audit: $(STAMP) ## Account for every upload (PREFIX=); CONFIRM=1 starts what is unaccounted for
	@$(PY) -m operations audit --env "$(ENV)" $(if $(PREFIX),--prefix "$$PREFIX") $(if $(GRACE),--grace "$(GRACE)") $(if $(CONFIRMED),--confirm) $(if $(JSON),--json)

.PHONY: erase
erase: $(STAMP) ## Show everything stored about one photo (KEY=); CONFIRM=1 erases it for good
	@$(PY) -m operations erase --env "$(ENV)" $(if $(CONFIRMED),--confirm) $(if $(JSON),--json)

##@ Maintaining

.PHONY: permissions
permissions: $(STAMP) ## Write the table of permissions in docs/security.md from a deployed environment
	@$(PY) -m tools.permissions --env "$(ENV)"

.PHONY: reliability
reliability: $(STAMP) ## Write the table of faults in docs/reliability.md from the marks of the tests
	@$(PY) -m tools.reliability

.PHONY: lock
lock: $(STAMP) ## Bring the locked development dependencies up to date
	@$(PY) -m tools.lock
