# Everything is set up in .venv on first use, with pip alone: `make demo` and `make test` just work.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready

.PHONY: demo test check benchmark clean

demo: $(READY)
	$(BIN)/alphafold2 fold examples/data/1a3a_C.fasta -o demo --overwrite \
		--db examples/data/demo_db.fasta.gz --truth examples/data/1a3a_C.pdb

# the second call is without the shape checks, which torch.compile cannot trace
test: $(READY)
	$(BIN)/python -m pytest -n 2
	$(BIN)/python -m pytest -o addopts= -m "compile and not gpu"

check: $(READY)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

# the older package of the same name that the first compares with gets .venv-peer for itself
benchmark: $(READY)
	$(BIN)/python benchmarks/benchmark_trunk.py
	$(BIN)/python benchmarks/benchmark_options.py
	$(BIN)/python benchmarks/benchmark_sparse.py
	$(BIN)/python benchmarks/benchmark_networks.py
	$(BIN)/python benchmarks/benchmark_structure.py
	$(BIN)/python benchmarks/benchmark_loader.py --data tests/sample

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10) and "Python 3.10 or newer is needed: make PYTHON=python3.11 ...")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

clean:
	rm -rf .venv .venv-peer .venv-jax .venv-block demo
