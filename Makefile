# Everything is set up in .venv on first use, with pip alone: `make demo` and `make test` just work.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready

.PHONY: demo test check benchmark clean

demo: $(READY)
	$(BIN)/alphafold2 fold examples/data/1a3a_C.fasta -o demo --overwrite \
		--db examples/data/demo_db.fasta.gz --relax best --truth examples/data/1a3a_C.pdb

# the second call is without the shape checks, which torch.compile cannot trace
test: $(READY)
	$(BIN)/python -m pytest -n 2
	$(BIN)/python -m pytest -o addopts= -m "compile and not gpu"

check: $(READY)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

benchmark: $(READY)
	$(BIN)/python benchmarks/benchmark_trunk.py --rounds 1 --repeats 1
	$(BIN)/python benchmarks/benchmark_block.py --sizes 128x128 --rounds 1
	$(BIN)/python benchmarks/benchmark_options.py --lengths 128 --rounds 1 --repeats 0
	$(BIN)/python benchmarks/benchmark_sparse.py --rounds 1
	$(BIN)/python benchmarks/benchmark_networks.py --points 64 --rounds 1
	$(BIN)/python benchmarks/benchmark_structure.py --steps 30 --draws 1 --modules egnn en ipa se3 equiformer
	$(BIN)/python benchmarks/benchmark_loader.py --data tests/sample --examples 50 --rounds 1 --steps 1
	$(BIN)/python benchmarks/benchmark_memory.py --residues 256
	$(BIN)/python benchmarks/benchmark_growth.py --lengths 64 128 256 512

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10) and "Python 3.10 or newer is needed: make PYTHON=python3.11 ...")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

clean:
	rm -rf .venv .venv-peer .venv-jax .venv-block demo
