#!/usr/bin/env bash
# Install DeepSpeed beside this package: ZeRO for training over several GPUs, and the kernels of
# its Evoformer attention (DS4Sci). DeepSpeed's own sparse attention no longer exists; ours
# (sparse_self_attn=True) needs none of this.
#
# It needs: Linux, an NVIDIA GPU with its driver (nvidia-smi), the CUDA toolkit (nvcc) of the major
# version that torch was built with, a C++ compiler (g++), and for the Evoformer kernels the
# CUTLASS headers: `git clone --depth 1 https://github.com/NVIDIA/cutlass`, then
# CUTLASS_PATH=that folder. Without CUTLASS_PATH, `--zero-only` installs the rest.
#
# usage: [PYTHON=.venv/bin/python] [CUTLASS_PATH=...] ./install_deepspeed.sh [--zero-only]
set -euo pipefail

PYTHON=${PYTHON:-python3}
DEEPSPEED="deepspeed>=0.19,<0.20" # the Evoformer attention is called as these versions have it

usage="usage: [PYTHON=python] [CUTLASS_PATH=folder] $0 [--zero-only]"
zero_only=false
case "${1:-}" in
  "") ;;
  --zero-only) zero_only=true ;;
  -h | --help) echo "$usage"; exit 0 ;;
  *) echo "unknown argument: $1" >&2; echo "$usage" >&2; exit 2 ;;
esac

missing=()
need() { missing+=("$1"); }

[[ $(uname -s) == Linux ]] || need "Linux (this is $(uname -s))"
command -v nvidia-smi >/dev/null && nvidia-smi -L >/dev/null 2>&1 \
  || need "an NVIDIA GPU with its driver: nvidia-smi finds none"
nvcc=${CUDA_HOME:+$CUDA_HOME/bin/}nvcc
command -v "$nvcc" >/dev/null || need "the CUDA toolkit: no nvcc on PATH nor in CUDA_HOME/bin"
command -v "${CXX:-g++}" >/dev/null || need "a C++ compiler: no ${CXX:-g++}"
if ! command -v "$PYTHON" >/dev/null; then
  need "Python: no $PYTHON (set PYTHON)"
elif ! cuda=$("$PYTHON" -c 'import torch; print(torch.version.cuda or "none")' 2>/dev/null); then
  need "torch in $PYTHON: install this package there first"
elif [[ $cuda == none ]]; then
  need "a torch built for CUDA: the one of $PYTHON is for the CPU"
elif command -v "$nvcc" >/dev/null; then
  toolkit=$("$nvcc" --version | sed -n 's/.*release \([0-9]*\)\..*/\1/p')
  [[ $toolkit == "${cuda%%.*}" ]] || need "a CUDA toolkit $cuda, as torch has: nvcc is of $toolkit"
fi
if [[ $zero_only == false && ! -f ${CUTLASS_PATH:-}/include/cutlass/cutlass.h ]]; then
  need "CUTLASS_PATH, the folder of the CUTLASS headers (or --zero-only, without Evoformer kernels)"
fi

if ((${#missing[@]})); then
  echo "DeepSpeed is not installed, nothing was changed. It needs" >&2
  printf '  - %s\n' "${missing[@]}" >&2
  echo "The library works without it, on a CPU too." >&2
  exit 1
fi

"$PYTHON" -m pip install ninja "$DEEPSPEED"
"$PYTHON" -c 'import deepspeed; print("DeepSpeed", deepspeed.__version__)'
if [[ $zero_only == false ]]; then
  # compiled here, once, rather than within the first training step
  "$PYTHON" - <<'PYTHON'
from deepspeed.ops.op_builder import EvoformerAttnBuilder

EvoformerAttnBuilder().load()
print("the Evoformer attention kernels are built")
PYTHON
fi
