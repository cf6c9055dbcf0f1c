"""OpenFold-3's Evoformer block, which it has beside its Pairformer, made AlphaFold2's.

Its layers are AlphaFold3's: that one turns the pair bias around the ending residue, and most of its
projections have no bias. Both are set as AlphaFold2 has them, so that outputs can be compared.
"""

from collections.abc import Iterator
from copy import deepcopy
from importlib import import_module
from importlib.metadata import version
from typing import Any

from peers import Arrays, Work
from peers.torch_side import tensors, torch_work

ATTENTION = {
    "query_w": "linear_q",
    "key_w": "linear_k",
    "value_w": "linear_v",
    "gating_w": "linear_g",
    "output_w": "linear_o",
}
MULTIPLICATION = {
    "layer_norm_input": "layer_norm_in",
    "left_projection": "linear_a_p",
    "right_projection": "linear_b_p",
    "left_gate": "linear_a_g",
    "right_gate": "linear_b_g",
    "center_layer_norm": "layer_norm_out",
    "output_projection": "linear_z",
    "gating_linear": "linear_g",
}
SWAPPED = {
    f"{side}_{what}": f"{other}_{what}"
    for side, other in (("left", "right"), ("right", "left"))
    for what in ("projection", "gate")
}
TRANSITION = {
    "input_layer_norm": "layer_norm",
    "transition1": "transition_mlp.layers.0.0",
    "transition2": "transition_mlp.linear_out",
}
HOMES = {
    "msa_row_attention_with_pair_bias": "msa_att_row",
    "msa_column_attention": "msa_att_col._msa_att",
    "msa_transition": "msa_transition",
    "outer_product_mean": "outer_product_mean",
    "triangle_multiplication_outgoing": "pair_stack.tri_mul_out",
    "triangle_multiplication_incoming": "pair_stack.tri_mul_in",
    "triangle_attention_starting_node": "pair_stack.tri_att_start",
    "triangle_attention_ending_node": "pair_stack.tri_att_end",
    "pair_transition": "pair_stack.pair_transition",
}
OUTER = {"layer_norm_input": "layer_norm", "left_projection": "linear_1"}
OUTER |= {"right_projection": "linear_2", "output": "linear_out"}


def name_of(theirs: str) -> str:
    """OpenFold-3's name of a parameter from DeepMind's."""
    module, leaf = theirs.split("//")
    _, home, *inner = module.split("/")
    kind = "bias" if leaf in ("bias", "offset", "output_b", "gating_b") else "weight"
    if inner == ["attention"]:
        inside = "mha." + ATTENTION[leaf.replace("_b", "_w")]
    elif home.startswith("triangle_multiplication"):
        part = inner[0]
        if home.endswith("incoming"):  # as the paper has it, DeepMind's code swaps the sides
            part = SWAPPED.get(part, part)
        inside = MULTIPLICATION[part]
    elif home.endswith("transition"):
        inside = TRANSITION[inner[0]]
    elif home == "outer_product_mean":
        inside = OUTER[inner[0] if inner else "output"]
    elif leaf == "feat_2d_weights":
        inside = "linear_z"
    elif home.startswith("msa"):
        inside = {"query_norm": "layer_norm_m", "feat_2d_norm": "layer_norm_z"}[inner[0]]
    else:
        inside = "layer_norm"
    return f"{HOMES[home]}.{inside}.{kind}"


def layers(words: Any) -> Iterator[tuple[str, Any, Any]]:
    """Every layer of a tree of initialisations: its name, its words, and what it is part of."""
    for name, value in words.items():
        if "bias" in value:
            yield name, value, words
        elif hasattr(value, "items"):
            yield from layers(value)


def load(arrays: Arrays) -> Work:
    """As it predicts: in place, and with the chunk size it has by default, which is none."""
    import torch

    sizes = import_module("openfold3.core.config.default_linear_init_config")
    words = deepcopy(sizes.evo_block_init)
    words.unlock()
    for name, layer, parent in layers(words):  # those of AlphaFold3's layers have none
        plain = name in ("linear_q", "linear_k", "linear_v")
        layer["bias"] = not plain and not (name == "linear_z" and "mha" in parent)
    block = import_module("openfold3.core.model.latent.evoformer").EvoformerBlock(
        c_m=256,
        c_z=128,
        c_hidden_msa_att=32,
        c_hidden_opm=32,
        c_hidden_mul=128,
        c_hidden_pair_att=32,
        no_heads_msa=8,
        no_heads_pair=4,
        transition_type="relu",
        transition_n=4,
        msa_dropout=0.15,
        pair_dropout=0.25,
        no_column_attention=False,
        opm_first=False,
        fuse_projection_weights=False,
        inf=1e9,
        eps=1e-3,
        linear_init_params=words,
    )
    like, state = block.state_dict(), {}
    for theirs, array in arrays.items():
        if "//" in theirs:
            name, value = name_of(theirs), torch.from_numpy(array)
            shape = like[name].shape
            state[name] = value.reshape(shape[::-1]).T if len(shape) == 2 else value.reshape(shape)
    block.load_state_dict(state)
    ending = block.pair_stack.tri_att_end
    as_it_is = ending.forward

    def untransposed(*args: Any, **words: Any) -> Any:
        return as_it_is(*args, **{**words, "transpose_bias": False})

    ending.forward = untransposed
    streams = tensors(arrays)

    def call(module: Any, msa: Any, pair: Any) -> tuple[Any, Any]:
        masks = {
            "msa_mask": torch.ones_like(msa[..., 0]),
            "pair_mask": torch.ones_like(pair[..., 0]),
        }
        return module(msa, pair, **masks, inplace_safe=True, _mask_trans=False)

    work = torch_work(block, call, streams)
    return work._replace(version=f"openfold3 {version('openfold3')}, {work.version}")
