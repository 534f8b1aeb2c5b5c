# Everything needs only python3 (3.11 or later, with venv), make and cc; `make setup` makes the rest.
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
JOBS ?= 2
MINUTES ?= 10
SEEDS ?= 0:1000000
VERSION ?= 2.36

TRACES := buffers cc1 git-log git-pack jq ld perl python sqlite3 churn large_buffers ramp server
ROUNDS ?= 15

.PHONY: setup demo test test-fast test-full fuzz fuzz-inputs lint bench validate paper clean

setup: $(STAMP)

$(STAMP): pyproject.toml
	test -x $(BIN)/python || python3 -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --editable ".[dev]"
	touch $@

demo: $(STAMP)  ## the main job: one experiment over four policies, its table and figures
	$(BIN)/allocsim run experiments/threshold.toml --jobs $(JOBS)
	$(BIN)/allocsim figures results/threshold

test: $(STAMP)  ## all tests but those of test-full, under five minutes
	$(BIN)/python -m pytest -n $(JOBS) -m "not full and not browser"

test-full: $(STAMP)  ## tests with real programs, a browser, other versions of glibc, and long ones
	$(BIN)/python -m pytest -n $(JOBS) -m "full or browser"

test-fast: $(STAMP)  ## what to run while working
	$(BIN)/python -m pytest -n $(JOBS) -m "not slow and not full"

fuzz: $(STAMP)  ## the glibc model against the real library: make fuzz MINUTES=10 SEEDS=0:1000 VERSION=2.41
	$(BIN)/python tests/glibc/fuzz.py --version $(VERSION) --minutes $(MINUTES) --seeds $(SEEDS)

fuzz-inputs: $(STAMP)  ## damaged and absurd inputs to every command: make fuzz-inputs MINUTES=10 SEEDS=0:1000
	$(BIN)/python tests/fuzz/fuzz_inputs.py --minutes $(MINUTES) --seeds $(SEEDS)

lint: $(STAMP)  ## style, types and the direction of imports
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(STAMP)  ## how fast the simulation is beside the real C library, about 15 minutes
	$(BIN)/python -m benchmarks.speed --keep

validate: $(STAMP)  ## simulated and measured costs of all shipped workloads, half an hour
	mkdir -p results
	$(BIN)/allocsim validate $(TRACES) --rounds $(ROUNDS) \
	    --against mmap_threshold=64K --against mmap_threshold=0,mmap_max=1000000 -o results/validation

paper: $(STAMP)  ## paper/build/paper.pdf from stored results
	$(BIN)/allocsim run experiments/threshold.toml --jobs $(JOBS)
	$(BIN)/allocsim figures results/threshold
	mkdir -p paper/build
	$(BIN)/allocsim claims --json-file paper/build/claims.json
	$(BIN)/python paper/build.py

clean:
	rm -rf $(VENV) results paper/build
