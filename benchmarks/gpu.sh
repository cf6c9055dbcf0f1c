#!/bin/sh
# One command on a machine with one GPU: under nine minutes, no network.
#   benchmarks/gpu.sh            writes to $OUT, by default benchmarks/results
#   PYTHON=... benchmarks/gpu.sh with another Python than .venv's or the first on the path
# More words go to benchmark_gpu.py, as in: benchmarks/gpu.sh --dry --device cpu --out /tmp/dry
set -eu
cd "$(dirname "$0")/.."
if [ -z "${PYTHON:-}" ]; then
    PYTHON=python3
    [ ! -x .venv/bin/python ] || PYTHON=.venv/bin/python
fi
PYTHONPATH="$PWD${PYTHONPATH:+:$PYTHONPATH}"
export PYTHONPATH PYTHONUNBUFFERED=1
"$PYTHON" - <<'CHECK'
import importlib.util as util
import sys

needs = ("torch", "einops", "jaxtyping", "numpy", "safetensors", "gemmi", "matplotlib")
missing = [name for name in needs if util.find_spec(name) is None]
if missing:
    sys.exit(f"{sys.executable} lacks {', '.join(missing)}: install them, or set PYTHON")
for name in ("triton", "cuequivariance_torch", "deepspeed", "trifast"):
    if util.find_spec(name) is None:
        print(f"not here, so not compared: {name}")
CHECK
exec "$PYTHON" benchmarks/benchmark_gpu.py --out "${OUT:-benchmarks/results}" "$@"
