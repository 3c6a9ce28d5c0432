# Everything a fresh machine with Python >= 3.11 needs; the environment is made once, in .venv.
least = $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break
PYTHON ?= $(shell for p in python3 python python3.14 python3.13 python3.12 python3.11; do $(least); done)
NEWEST ?= $(shell for p in python3.14 python3.13 python3.12 python3.11 python3 python; do $(least); done)
VENV := .venv
RUN := $(VENV)/bin/python
PIP := -m pip install --quiet --disable-pip-version-check
# most of a test's time is tracing and compiling on one core; neighbours share what is compiled
WORKERS := -n auto --dist worksteal --durations 10

# XLA's buffers come from malloc, which asks for huge pages only when told to; NumPy asks by itself
demo bench: export GLIBC_TUNABLES := glibc.malloc.hugetlb=1

.PHONY: demo test test-all test-newest newest-differs lint results-check docs bench bench-gpu \
	accelerators clean

# two jobs side by side: most of each is compiling, which keeps one core busy
demo: $(VENV)/ready
	@$(MAKE) --no-print-directory -j2 job-demo job-influence_demo
	@echo "reports: results/demo/report.html and results/influence_demo/report.html, tables and figures beside them"

job-%: $(VENV)/ready
	@set -e; $(RUN) -m experiments run configs/$*.toml; \
		for step in collect figures report; do $(RUN) -m experiments $$step $*; done

test: $(VENV)/ready
	$(RUN) -m pytest -q $(WORKERS)

# every hypothesis suite with 10,000 examples, and the programs that users run: see tests/compiling.py
test-all: export XLA_FLAGS ?=
test-all: export HYPOTHESIS_PROFILE := thorough
test-all: $(VENV)/ready
	$(RUN) -m pytest -q $(WORKERS) -m "slow or not slow"

# the same tests on the newest Python found here and the newest jax that it takes
test-newest: $(VENV)-newest/ready
	$(VENV)-newest/bin/python -c 'import jax, sys; print("Python", sys.version.split()[0], "jax", jax.__version__)'
	$(VENV)-newest/bin/python -m pytest -q $(WORKERS)

# says which newer Python there is than the machine's own, if any
newest-differs:
	@test "$$($(NEWEST) -c 'import sys; print(sys.version_info[:2])')" = \
		"$$($(PYTHON) -c 'import sys; print(sys.version_info[:2])')" || echo $(NEWEST)

lint: $(VENV)/dev
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/basedpyright --pythonpath $(RUN)

# whether the numbers in README.md and results/README.md are those of the committed tables
results-check: $(VENV)/ready
	$(RUN) -m experiments results-check

docs: $(VENV)/docs
	$(VENV)/bin/sphinx-build -q -W --keep-going -b html docs docs/_build/html
	@echo "docs/_build/html/index.html"

bench: $(VENV)/ready
	@set -e; for name in kernels als influence partition certificate; do $(RUN) -m experiments bench $$name; done

# everything that a device is asked for, in one table; the environment needs jax for that device
bench-gpu:
	$(RUN) -m experiments bench device

# compilers for accelerators that are not here, in a folder of their own: JAX would look for the
# devices. tests/test_accelerators.py compiles with them; `bench roofline` with the folder on the path
accelerators: $(VENV)/accelerators

$(VENV)/accelerators: $(VENV)/ready
	v=$$($(RUN) -c 'import jax; print(jax.__version__)'); \
		$(RUN) $(PIP) --no-deps --target $@ jax-cuda12-pjrt==$$v jax-cuda12-plugin==$$v libtpu

# `implicit` has no wheel for every platform; its parity tests are skipped where it is absent.
$(VENV)/ready: pyproject.toml
	@test -n "$(PYTHON)" || { echo "jaxforget needs Python 3.11 or newer; none was found on the PATH" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(RUN) $(PIP) --editable ".[test]"
	$(RUN) $(PIP) --only-binary=:all: implicit \
		|| echo "no wheel of implicit here: its parity tests will be skipped"
	@touch $@

$(VENV)-newest/ready: pyproject.toml
	$(NEWEST) -m venv $(VENV)-newest
	$(VENV)-newest/bin/python $(PIP) --upgrade --editable ".[test]" jax jaxlib
	$(VENV)-newest/bin/python $(PIP) --only-binary=:all: implicit \
		|| echo "no wheel of implicit here: its parity tests will be skipped"
	@touch $@

$(VENV)/dev $(VENV)/docs: $(VENV)/%: $(VENV)/ready
	$(RUN) $(PIP) --editable ".[$*]"
	@touch $@

clean:
	rm -rf $(VENV) $(VENV)-newest docs/_build
