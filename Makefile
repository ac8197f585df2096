# One verb per chore. Each sets up what it needs; a second run starts at once.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/ready
NODE := web/node_modules/ready
NATIVE := .venv/native

.PHONY: demo test check bench census sanitize clean

demo: $(NATIVE)  ## the main job: a real decoder reads a real file, and you see what it looked at
	$(BIN)/lookbehind demo
	@command -v lookbehind >/dev/null || echo "  (lookbehind is $(BIN)/lookbehind; \". $(BIN)/activate\" puts it on your path)"

test: $(NATIVE)  ## the whole suite, doctests and README included; the atlas in Chromium, which is installed where it can be
	@command -v chromium >/dev/null || test ! -x /usr/bin/apt-get || test "$$(id -u)" != 0 || \
	  { apt-get update -qq && apt-get install -qq -y --no-install-recommends chromium; } || true
	$(BIN)/python -m pytest

check: $(READY)  ## formatting, lint, types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/pyright
	@if command -v npm >/dev/null; then $(MAKE) --no-print-directory page; else echo "atlas: no Node here, so the page was not checked"; fi

.PHONY: page
page: $(NODE)  ## the atlas's page: types, tests of its modules, and that the committed bundle is what web/ makes
	cd web && node node_modules/typescript/bin/tsc --project tsconfig.json && node build.js --check && node --test --test-reporter=dot tests/*.test.js

$(NODE): web/package-lock.json
	cd web && npm ci --silent --no-audit --no-fund
	touch $(NODE)

DEVICE ?= cpu
bench: $(NATIVE)  ## the figures in benchmarks/README.md and atlas.md, read on this machine; DEVICE=cuda: those of cuda.md, on a card
	$(BIN)/lookbehind bench --device $(DEVICE)
	test $(DEVICE) != cpu || $(BIN)/python benchmarks/atlas.py

census: $(NATIVE)  ## docs/census.md: every decoder of the installed transformers, audited (some ten minutes of two cores)
	$(BIN)/python -m census.run

# First the library alone, driven from C++; then the Python tests, with an extension that watches itself.
SANITIZE := $(BIN)/cmake -G Ninja -DCMAKE_MAKE_PROGRAM=$(CURDIR)/$(BIN)/ninja -DPython_EXECUTABLE=$(CURDIR)/$(BIN)/python -S .
sanitize: $(NATIVE)  ## the native engine under AddressSanitizer, UBSan and ThreadSanitizer
	$(SANITIZE) -B build/address -DLOOKBEHIND_SANITIZE=address,undefined && $(BIN)/cmake --build build/address
	$(SANITIZE) -B build/thread -DLOOKBEHIND_SANITIZE=thread -DLOOKBEHIND_PYTHON=OFF && $(BIN)/cmake --build build/thread
	build/address/driver
	build/thread/driver
	LD_PRELOAD="$$(g++ -print-file-name=libasan.so) $$(g++ -print-file-name=libstdc++.so)" \
	  ASAN_OPTIONS=detect_leaks=0 LOOKBEHIND_EXTENSION=$$(ls build/address/_native.*) \
	  $(BIN)/python -m pytest -n 0 -p tests.native.instead tests/engines/native -k "not without and not as_large and not interrupting"

clean:
	rm -rf .venv web/node_modules demo-output build dist .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Stamps are written last, so that a set-up cut short starts again. First everything but the compiled part...
$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	SKBUILD_WHEEL_CMAKE=false $(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $(READY)

# ... then that, again whenever a source of it changes; what did not change is not compiled again.
$(NATIVE): $(READY) CMakeLists.txt $(shell find native -type f)
	@echo "compiling the native engine; some minutes of one core"
	PATH=$(CURDIR)/$(BIN):$$PATH $(BIN)/python -m pip install --quiet --no-build-isolation --no-deps --editable .
	@$(BIN)/python -c "import lookbehind._native" 2>/dev/null || \
	  echo "the native engine was not built; $(BIN)/python -m pip install -v --no-build-isolation --no-deps . tells why"
	touch $(NATIVE)
