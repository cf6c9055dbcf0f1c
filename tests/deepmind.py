"""Load arrays in DeepMind's released layout into our modules, for the parity tests."""

from pathlib import Path

import numpy as np
import torch
from einops import rearrange

GOLDEN = Path(__file__).parent / "golden"


class Golden:
    """One golden file: `x["in/pair"]` and DeepMind's parameters by the tail of their name."""

    def __init__(self, name: str):
        self.arrays = dict(np.load(GOLDEN / f"{name}.npz", allow_pickle=False))

    def __getitem__(self, key: str) -> torch.Tensor:
        return torch.from_numpy(self.arrays[key])

    def parameters(self, prefix: str) -> dict[str, torch.Tensor]:
        start = f"param/{prefix}"
        return {k[len(start) :]: self[k] for k in self.arrays if k.startswith(start)}


def set_linear(layer, *weights, bias=()):
    """Several of theirs, side by side, into one of ours; theirs are input first."""
    with torch.no_grad():
        joined = torch.cat([w.flatten(1) for w in weights], dim=1).T
        assert layer.weight.shape == joined.shape
        layer.weight.copy_(joined)
        if layer.bias is not None:
            layer.bias.copy_(torch.cat([b.flatten() for b in bias]))


def set_norm(layer, p, name):
    with torch.no_grad():
        layer.weight.copy_(p[f"{name}//scale"])
        layer.bias.copy_(p[f"{name}//offset"])


def set_dense(layer, p, name):
    set_linear(layer, p[f"{name}//weights"], bias=[p[f"{name}//bias"]])


def set_attention(layer, p, name="attention"):
    set_linear(layer.q, p[f"{name}//query_w"])
    set_linear(layer.kv, p[f"{name}//key_w"], p[f"{name}//value_w"])
    set_linear(layer.gate, p[f"{name}//gating_w"], bias=[p[f"{name}//gating_b"]])
    out = rearrange(p[f"{name}//output_w"], "h c o -> (h c) o")
    set_linear(layer.out, out, bias=[p[f"{name}//output_b"]])


def set_transition(layer, p):
    set_norm(layer.norm, p, "input_layer_norm")
    set_dense(layer.wide, p, "transition1")
    set_dense(layer.out, p, "transition2")


def set_triangle_multiplication(layer, p, sides):
    for ours, theirs in ((layer.edges, "projection"), (layer.edge_gates, "gate")):
        names = [f"{side}_{theirs}" for side in sides]
        weights = [p[f"{name}//weights"] for name in names]
        set_linear(ours, *weights, bias=[p[f"{name}//bias"] for name in names])
    set_norm(layer.norm, p, "layer_norm_input")
    set_norm(layer.norm_out, p, "center_layer_norm")
    set_dense(layer.out, p, "output_projection")
    set_dense(layer.gate, p, "gating_linear")


def set_evoformer(block, golden, prefix="evoformer_iteration/"):
    def part(name):
        return golden.parameters(f"{prefix}{name}")

    row = part("msa_row_attention_with_pair_bias")
    row = {k.removeprefix("/") if not k.startswith("//") else k: v for k, v in row.items()}
    set_norm(block.row.norm, row, "query_norm")
    set_norm(block.row.bias[0], row, "feat_2d_norm")
    set_linear(block.row.bias[1], row["//feat_2d_weights"])
    set_attention(block.row.attention, row)
    column = part("msa_column_attention/")
    set_norm(block.column.norm, column, "query_norm")
    set_attention(block.column.attention, column)
    set_transition(block.msa_transition.transition, part("msa_transition/"))
    set_transition(block.pair_transition.transition, part("pair_transition/"))
    outer = part("outer_product_mean")
    set_norm(block.outer_product.norm, outer, "/layer_norm_input")
    set_dense(block.outer_product.left, outer, "/left_projection")
    set_dense(block.outer_product.right, outer, "/right_projection")
    out = rearrange(outer["//output_w"], "c e o -> (c e) o")
    set_linear(block.outer_product.out, out, bias=[outer["//output_b"]])
    # DeepMind's incoming equation pairs its left with our right (Suppl. Alg. 12 has it our way).
    outgoing = part("triangle_multiplication_outgoing/")
    set_triangle_multiplication(block.outgoing, outgoing, ("left", "right"))
    incoming = part("triangle_multiplication_incoming/")
    set_triangle_multiplication(block.incoming, incoming, ("right", "left"))
    for ours, theirs in ((block.starting, "starting"), (block.ending, "ending")):
        p = part(f"triangle_attention_{theirs}_node")
        p = {k.removeprefix("/") if not k.startswith("//") else k: v for k, v in p.items()}
        set_norm(ours.norm, p, "query_norm")
        set_linear(ours.bias, p["//feat_2d_weights"])
        set_attention(ours.attention, p)


def set_ipa(layer, p):
    set_dense(layer.q, p, "q_scalar")
    set_dense(layer.kv, p, "kv_scalar")
    set_dense(layer.q_points, p, "q_point_local")
    set_dense(layer.kv_points, p, "kv_point_local")
    set_dense(layer.bias, p, "attention_2d")
    set_dense(layer.out, p, "output_projection")
    with torch.no_grad():
        layer.point_weight.copy_(p["//trainable_point_weights"])


def set_structure(module, golden):
    p = golden.parameters("structure_module/")
    set_norm(module.norm_single, p, "single_layer_norm")
    set_norm(module.norm_pair, p, "pair_layer_norm")
    set_dense(module.project, p, "initial_projection")
    p = golden.parameters("structure_module/fold_iteration/")
    ipa = {
        k.removeprefix("invariant_point_attention").removeprefix("/")
        if not k.startswith("invariant_point_attention//")
        else k.removeprefix("invariant_point_attention"): v
        for k, v in p.items()
    }
    set_ipa(module.attention, ipa)
    set_norm(module.norm_attention, p, "attention_layer_norm")
    set_norm(module.norm_transition, p, "transition_layer_norm")
    for layer, name in zip(module.transition[::2], ("", "_1", "_2"), strict=True):
        set_dense(layer, p, f"transition{name}")
    set_dense(module.update, p, "affine_update")
    torsions = {k.removeprefix("rigid_sidechain/"): v for k, v in p.items()}
    set_dense(module.torsions.now, torsions, "input_projection")
    set_dense(module.torsions.initial, torsions, "input_projection_1")
    for block, name in zip(module.torsions.blocks, ("", "_1"), strict=True):
        set_dense(block[1], torsions, f"resblock1{name}")
        set_dense(block[3], torsions, f"resblock2{name}")
    set_dense(module.torsions.out, torsions, "unnormalized_angles")
