"""NVIDIA's cuEquivariance: the whole triangle multiplication (extra)."""

import torch

from alphafold2_pytorch.ops.backends.cuequivariance import PACKAGES
from alphafold2_pytorch.ops.choice import extra, missing
from alphafold2_pytorch.ops.runtime import added
from alphafold2_pytorch.ops.triangles.base import TRIANGLES, computed_in

STEP = 32  # features of its tiles


@TRIANGLES.register("cuequivariance")
class CuEquivariance:
    """`cuequivariance_torch.triangle_multiplicative_update` as of version 0.13."""

    @staticmethod
    def refuses(pair, mask, outgoing, weights):
        if pair.device.type != "cuda":
            return "it runs on CUDA only"
        if (dtype := computed_in(pair)) not in (torch.bfloat16, torch.float32):
            return f"it has no {dtype} with room for the sum over residues"
        widths = weights.out_weight.shape
        if any(width % STEP for width in widths):
            return f"widths must be multiples of {STEP}, got {widths[0]} and {widths[1]} inside"
        return missing(PACKAGES, extra("cuequivariance"))

    @staticmethod
    def run(pair, mask, outgoing, weights, rows, into=None):
        import cuequivariance_torch

        w = weights
        update = cuequivariance_torch.triangle_multiplicative_update(
            pair,
            direction="outgoing" if outgoing else "incoming",
            mask=mask.to(pair.dtype),
            norm_in_weight=w.norm_weight,
            norm_in_bias=w.norm_bias,
            p_in_weight=w.edges_weight,
            p_in_bias=w.edges_bias,
            g_in_weight=w.gates_weight,
            g_in_bias=w.gates_bias,
            norm_out_weight=w.norm_out_weight,
            norm_out_bias=w.norm_out_bias,
            p_out_weight=w.out_weight,
            p_out_bias=w.out_bias,
            g_out_weight=w.gate_weight,
            g_out_bias=w.gate_bias,
        )
        return added(update, into)
