# `make demo` and `make test` each do all of their own set-up, in any order.
PYTHON ?= python3
VENV ?= .venv

BIN := $(abspath $(VENV))/bin
# CMake and Ninja come from the virtual environment.
export PATH := $(BIN):$(PATH)
export PIP_DISABLE_PIP_VERSION_CHECK := 1

INSTALL := $(BIN)/pip install --quiet --no-build-isolation \
           --config-settings=build-dir=build/python --editable
# What TensorFlow makes for the tests is kept for the next run.
MODELS := build/test-models

# What `make test` runs, two side by side: neither pytest keeps two cores busy. Each runs to its
# end, whatever the others do, and the last lines say how each ended.
PARTS := pytest pytest-session asan instructions
OUTCOMES := build/test-outcomes

.PHONY: demo test $(PARTS) bench format

demo: $(VENV)/ready
	$(INSTALL) ".[cpu]"
	$(BIN)/savedmodel demo

test: export SAVEDMODEL_TEST_MODELS := $(abspath $(MODELS))
test: $(VENV)/ready build/test-packages
	$(INSTALL) ".[cpu,test]"
	$(MAKE) $(MODELS)/complete
	@rm -f $(OUTCOMES)
	@$(MAKE) --no-print-directory --keep-going --jobs=2 --output-sync=line $(PARTS:%=test-%); \
	  status=$$?; echo; cat $(OUTCOMES); exit $$status

test-%:
	@if $(MAKE) $*; then echo "passed: $*" >> $(OUTCOMES); \
	  else echo "FAILED: $*" >> $(OUTCOMES); exit 1; fi

pytest:
	$(BIN)/python -m pytest
pytest-session:
	SAVEDMODEL_ENGINE=session $(BIN)/python -m pytest
asan:
	cmake --preset asan
	cmake --build --preset asan
	ctest --preset asan
instructions:
	$(BIN)/python benchmarks/instructions

# Ratios to TensorFlow's Python, to bare C++ and to other runtimes; not part of the tests.
bench: $(VENV)/ready
	$(INSTALL) ".[cpu,bench]"
	$(BIN)/python benchmarks/overhead
	$(BIN)/python benchmarks/load
	$(BIN)/python benchmarks/cli
	$(BIN)/python benchmarks/runtimes

format: $(VENV)/ready
	$(INSTALL) ".[cpu,test]"
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	git ls-files -co --exclude-standard '*.h' '*.cc' | xargs $(BIN)/clang-format -i
	$(BIN)/python python/bindings/generate_stubs.py

# The build requirements stand in pyproject.toml alone.
$(VENV)/ready: pyproject.toml
	third_party/debian_packages.sh \
	  "$$($(PYTHON) -c 'import sysconfig; print(sysconfig.get_path("include"))')/Python.h" python3-dev
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet cmake ninja $$($(BIN)/python -c 'import tomllib; \
	  print(*tomllib.load(open("pyproject.toml", "rb"))["build-system"]["requires"])')
	touch $@

build/test-packages:
	third_party/debian_packages.sh /usr/include/gtest/gtest.h libgtest-dev
	third_party/debian_packages.sh /usr/bin/ccache ccache || true
	third_party/debian_packages.sh /usr/bin/valgrind valgrind || true
	mkdir -p build && touch $@

$(MODELS)/complete: $(shell find tests/models -name '*.py')
	$(BIN)/python tests/models/generate.py $(MODELS) > /dev/null
