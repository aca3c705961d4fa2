# Everything runs in .venv. A stamp remembers what is installed; it goes stale with pyproject.toml and constraints.txt.
PYTHON ?= python3
BIN := .venv/bin
DEPENDENCIES := pyproject.toml constraints.txt

# The switch that Material itself names for a notice about its successor.
MKDOCS := NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs

.PHONY: demo test test-slow test-heavy test-compile test-notebooks test-docs test-browser docs docs-serve app-pictures lint clean

demo: .venv/installed-train
	OMP_NUM_THREADS=1 $(BIN)/perceivers demo

# One thread a process: two processes with many threads each would fight over the cores. A file stays in one process, so
# that what its tests share is made once.
test: .venv/installed-dev
	OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 --dist loadfile

test-slow: .venv/installed-dev
	OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 --dist loadfile -m "slow and not heavy"

test-heavy: .venv/installed-dev
	$(BIN)/pytest -m heavy

test-compile: .venv/installed-dev
	OMP_NUM_THREADS=1 $(BIN)/pytest -m compile

test-notebooks: .venv/installed-dev
	OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 -m notebooks

# Needs Chromium (Debian: apt-get install chromium).
test-browser: .venv/installed-dev
	OMP_NUM_THREADS=1 $(BIN)/pytest -m browser tests/web

# The pictures of the web demo in docs/app.md.
app-pictures: .venv/installed-dev
	OMP_NUM_THREADS=1 $(BIN)/pytest -m browser tests/web --screenshots docs/pictures/app

# Every code block of the pages and READMEs is run, without the checks of shapes that other tests have; then the site is
# built.
test-docs: .venv/installed-dev
	PERCEIVERS_CHECK_SHAPES=0 OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 --dist worksteal -m docs --show-capture=no
	$(MKDOCS) build --strict --quiet

docs: .venv/installed-dev
	$(MKDOCS) build --strict

docs-serve: .venv/installed-dev
	$(MKDOCS) serve

lint: .venv/installed-dev
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/pyright

clean:
	rm -rf .venv build dist demo site .pytest_cache .ruff_cache
	find src tests -name __pycache__ -type d -prune -exec rm -rf {} +

$(BIN)/python:
	$(PYTHON) -m venv .venv

.venv/installed-train: $(DEPENDENCIES) | $(BIN)/python
	$(BIN)/pip install -c constraints.txt -e ".[train,video]"
	touch $@

.venv/installed-dev: $(DEPENDENCIES) | $(BIN)/python
	$(BIN)/pip install -c constraints.txt -e ".[train,dev]"
	touch $@ .venv/installed-train
