# Every target installs its requirements inside this folder; it needs only Python 3.11+, make and the package registry.
# Exception: the browser for test-browser and screenshots is installed on the machine. Paths are relative, so that the
# path of this folder can contain spaces.

PYTHON ?= python3
TOPIC ?= Why the ocean glows at night
# Take the value as typed: make must not expand a dollar sign in a topic.
override TOPIC := $(value TOPIC)
export TOPIC

# The demo must not touch the records of an installation.
DEMO := TENXSOM_HOME=.demo TENXSOM_OUTPUT_DIR=videos TENXSOM_QUEUE_TYPE=local

IN_VENV := .venv/bin/python -m

.PHONY: help demo test test-unit test-browser check day bench chaos storm fuzz screenshots docs format clean
.PHONY: lock fuzz-api api-kills bench-api bench-recovery bench-in-flight bench-million bench-remote bench-lists bench-report
.PHONY: bench-dashboard bench-bad-clients bench-budgets bench-events bench-bucket-memory bench-compare bench-accept

help:
	@echo 'make demo [TOPIC="..."]   turn a topic into a video under videos/'
	@echo 'make test                 run all tests'
	@echo 'make test-unit            run the pure tests in seconds: they start no process, server or thread'
	@echo 'make test-browser         run the tests of the dashboard in a real browser'
	@echo 'make check                lint, strict types, import rules, and phrases that read as translated'
	@echo 'make bench [ONLY="cloud_tasks limiters"]'
	@echo '                          measure speed, in part against other libraries, and name the ratios that moved;'
	@echo '                          benchmarks/README.md has the results and longer benchmarks: bench-recovery, …'
	@echo 'make bench-accept         make the ratios of the latest run those to compare with'
	@echo 'make chaos [JOBS=600 SECONDS=120 BACKENDS="local redis cloud_tasks" SEED=7 OUTPUT=bucket]'
	@echo '                          inject faults into the whole engine, and check all guarantees'
	@echo 'make storm [JOBS=500 SECONDS=6 BACKENDS="redis cloud_tasks" SERVERS="oldest newest"]'
	@echo '                          let a Redis server refuse commands in every way that passes, during paid creates'
	@echo 'make fuzz [SUBJECTS="requests tokens databases records deliveries media" SEED=7 ONLY=12]'
	@echo '                          give mutated inputs to the engine, and count the unexpected answers'
	@echo 'make fuzz-api [CASES=10000]'
	@echo '                          send generated requests to the HTTP API, and compare the answers with its document'
	@echo 'make api-kills [REQUESTS=10000]'
	@echo '                          lose and repeat the answers of the HTTP API while its server is killed'
	@echo 'make day [VIDEOS=1000 SERVICES=pixverse,ltx_studio SEED=7]'
	@echo '                          simulate days of 96 and 10,000 videos, or of VIDEOS; see docs/scaling.md'
	@echo 'make day WEEK=1 [SEED=7]  simulate weeks of two channels with schedules, through a clock change and an outage'
	@echo 'make docs                 generate docs/cli.md and docs/configuration.md'
	@echo 'make lock [PACKAGE=flask] update the lock files after a change of the requirements, or of one package'
	@echo 'make screenshots          take the pictures of the dashboard and of drafts in docs/images'
	@echo 'make format               format the code'
	@echo 'make clean                remove the files of the other targets, except videos/'

demo: .venv/.runtime
	@$(DEMO) .venv/bin/python run_flow_enhanced.py single --topic "$$TOPIC" --service draft --wait
	@echo 'The demo has its own records, which other commands do not see. List them with:' >&2
	@echo '    $(DEMO) .venv/bin/python run_flow_enhanced.py jobs' >&2

test: .venv/.development
	$(IN_VENV) pytest -n auto

test-unit: .venv/.development
	$(IN_VENV) pytest -n auto tests/unit

test-browser: .venv/.development
	@tests/browser/chromium.sh
	$(IN_VENV) pytest tests/browser

check: .venv/.development
	$(IN_VENV) ruff check .
	$(IN_VENV) ruff format --check .
	$(IN_VENV) mypy
	.venv/bin/python -c 'from importlinter.cli import lint_imports_command as lint; lint()'
	.venv/bin/python docs/check_language.py

day: .venv/.development
	.venv/bin/python -m benchmarks.day $(if $(WEEK),--week) $(VIDEOS:%=--videos %) $(SERVICES:%=--services %) $(SEED:%=--seed %)

bench: .venv/.development
	.venv/bin/python -m benchmarks $(ONLY)

bench-compare: .venv/.development
	.venv/bin/python -m benchmarks.results

bench-accept: .venv/.development
	.venv/bin/python -m benchmarks.results --accept

bench-recovery bench-in-flight bench-million: bench-%: .venv/.development
	.venv/bin/python -m benchmarks.redis_$(subst -,_,$*)

bench-lists bench-report bench-dashboard bench-bad-clients bench-budgets bench-events bench-bucket-memory: bench-%: .venv/.development
	.venv/bin/python -m benchmarks.$(subst -,_,$*)

bench-remote: .venv/.development
	.venv/bin/python -m benchmarks.remote_service

bench-api: .venv/.development
	.venv/bin/python -m benchmarks.http_api

chaos: .venv/.development
	.venv/bin/python -m chaos --jobs $(or $(JOBS),200) --seconds $(or $(SECONDS),30) \
		--backends "$(or $(BACKENDS),$(CARRIERS),local redis cloud_tasks)" $(if $(SEED),--seed $(SEED)) \
		$(if $(OUTPUT),--output $(OUTPUT))

storm: .venv/.development
	.venv/bin/python -m chaos.storm $(JOBS:%=--jobs %) $(SECONDS:%=--seconds %) \
		$(if $(BACKENDS),--backends "$(BACKENDS)") $(if $(SERVERS),--servers "$(SERVERS)")

fuzz: .venv/.development
	.venv/bin/python -m fuzz $(if $(SUBJECTS),--subjects "$(SUBJECTS)") $(SEED:%=--seed %) $(INPUTS:%=--inputs %) \
		$(ONLY:%=--only %)

api-kills: .venv/.development
	$(IN_VENV) pytest tests/e2e/test_api_process.py -k by_kills --api-requests $(or $(REQUESTS),10000)

fuzz-api: .venv/.development
	.venv/bin/python -m fuzz.api $(CASES:%=--cases %) $(SEED:%=--seed %)

screenshots: .venv/.development
	@tests/browser/chromium.sh
	$(IN_VENV) tests.browser.screenshots docs/images
	.venv/bin/python docs/contact_sheet.py docs/images/drafts.jpg

docs: .venv/.runtime
	.venv/bin/python docs/generate_cli.py > docs/cli.md
	.venv/bin/python docs/generate_configuration.py > docs/configuration.md

# Existing pins are kept. PACKAGE updates one package to its latest version; UPGRADE=1 updates all.
LOCK := .venv/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--custom-compile-command "make lock" $(PACKAGE:%=--upgrade-package %) $(if $(UPGRADE),--upgrade)

lock: .venv/.uv
	$(LOCK) requirements.txt -o requirements.lock
	$(LOCK) requirements.txt requirements-dev.txt -c requirements.lock -o requirements-dev.lock

format: .venv/.development
	$(IN_VENV) ruff check --fix .
	$(IN_VENV) ruff format .

clean:
	rm -rf build *.egg-info .venv .bench-venv .bench-results.json .demo .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -r {} +

.venv/.runtime: requirements.lock | .venv/bin/python
	@echo 'Installing the requirements of the engine …' >&2
	@$(IN_VENV) pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	@touch $@

.venv/.development: requirements-dev.lock .venv/.runtime
	@echo 'Installing the requirements of tests and checks …' >&2
	@$(IN_VENV) pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.lock
	@touch $@

.venv/.uv: | .venv/bin/python
	@$(IN_VENV) pip install --quiet --disable-pip-version-check uv
	@touch $@

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo 'error: Python 3.11 or newer is required; choose one with: make PYTHON=/path/to/python3.12' >&2; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { \
		echo 'error: this Python lacks venv; install it, on Debian and Ubuntu with: apt install python3-venv' >&2; \
		exit 1; }
	@$(PYTHON) -m venv .venv
