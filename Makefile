# The face of the project: `make help` lists what it does.
PYTHON ?= python3
VENV   ?= .venv
STATE  ?= var
BIN    := $(VENV)/bin
TRIAL  := $(BIN)/python -W error::DeprecationWarning:sora -m twisted.trial --temp-directory=$(or $(TMPDIR),/tmp)/sora-trial-$(shell id -u)-$$PPID

.PHONY: help venv build run test test-integration check format docs wheel image news clean

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

$(VENV)/.ready: setup.cfg pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	@# What setuptools warns of, a folder named like the package, is not here.
	PYTHONWARNINGS='ignore:Editable installation' $(BIN)/python -m pip install --quiet --editable '.[embedded,dev]'
	@# An editable install shows Python src/ only; twistd looks for twisted/plugins beside it.
	@echo '$(CURDIR)' > $$($(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/sora-checkout.pth
	@touch $@

venv: $(VENV)/.ready  ## make the virtual environment with everything the project needs

build: venv  ## make everything that `make run` needs and look whether it can be run
	$(BIN)/python -m compileall -q src twisted
	$(BIN)/twistd sora --help >/dev/null
	$(BIN)/sora-admin --help >/dev/null

run: venv  ## run the server on embedded defaults (STATE=DIR: another state directory)
	@mkdir -p '$(STATE)'
	@exec $(BIN)/twistd --nodaemon --pidfile= --logger sora.observe.log.observer sora --state '$(STATE)'

test: venv  ## run all tests
	$(TRIAL) $(or $(ONLY),tests)

test-integration: venv  ## run the tests that need PostgreSQL, an object store, sockets and other programs
	$(TRIAL) $(or $(ONLY),tests.integration tests.contract)

check: venv  ## format, lint, types, import layers, sizes
	$(BIN)/ruff format --check src tests twisted bench
	$(BIN)/ruff check src tests twisted bench
	$(BIN)/mypy src/sora
	$(BIN)/lint-imports --config .importlinter
	$(BIN)/python -m twisted.trial --temp-directory=/tmp/sora-trial-house-$$PPID tests.unit.test_house

format: venv  ## format the code
	$(BIN)/ruff format src tests twisted bench
	$(BIN)/ruff check --fix --quiet src tests twisted bench

docs: venv  ## write what is generated: etc/sora.toml and docs/operate/configuration.md
	$(BIN)/python -m sora.core.config.write

news: venv  ## show the news of the next release
	$(BIN)/towncrier build --draft

wheel: venv  ## build dist/*.whl
	@# What was built before may hold modules that are gone.
	@rm -rf build
	$(BIN)/python -m build --wheel

image:  ## build the container image
	docker build --tag sora .

clean:  ## remove what can be made again (never the state directory)
	rm -rf build dist src/*.egg-info _trial_temp* .mypy_cache .ruff_cache .hypothesis

.PHONY: bench soak
bench: venv  ## measure the server beside Dovecot and Cyrus, where installed (BENCH='--quick': options, --help lists them)
	$(BIN)/python -m bench $(BENCH)

soak: venv  ## half load for MINUTES=30: does memory grow, or anything else?
	$(BIN)/python -m bench --soak $(or $(MINUTES),30) $(BENCH)

.PHONY: faults
faults: venv  ## the long faults: kills on both layouts, and the games that take too long for `make test` (SEED=N, KILLS=N)
	$(BIN)/python -m tests.faults.kill --seed $(or $(SEED),1) --kills $(or $(KILLS),1000) --minutes 60
	$(BIN)/python -m tests.faults.kill --seed $(or $(SEED),1) --kills $(or $(KILLS),200) --minutes 15 --layout embedded
	$(BIN)/python -m tests.faults.kill --seed $(or $(SEED),1) --kills $(or $(KILLS),200) --minutes 15 --workers 0
	SORA_FAULTS_LONG=1 $(TRIAL) tests.faults
