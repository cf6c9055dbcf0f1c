"""Our Evoformer block at AlphaFold2's widths; and what all sides are given."""

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

from peers import Arrays, Work
from peers.torch_side import tensors, torch_work

MSA, PAIR, HEADS, HEADS_PAIR, WIDTH, OUTER, WIDEN = 256, 128, 8, 4, 32, 32, 4
SMALL = ("output_w", "transition2", "output_projection")  # what ends an update


def block(msa: bool = True) -> Any:
    """`msa=False`: the five updates of the pairs alone."""
    from alphafold2_pytorch.blocks.evoformer import Evoformer

    heads: dict[str, Any] = {
        "heads": HEADS,
        "dim_head": WIDTH,
        "heads_pair": HEADS_PAIR,
        "dim_head_pair": WIDTH,
    }
    wide: dict[str, Any] = {"dim_outer": OUTER, "dim_triangle": PAIR, "widen": WIDEN}
    return Evoformer(PAIR, MSA, **heads, **wide, msa=msa).eval()


def rows_of_table() -> Any:
    """The block's names and DeepMind's."""
    from alphafold2_pytorch.weights.deepmind import EVOFORMER, part

    return part("trunk.blocks.{}", f"{EVOFORMER}/evoformer_iteration")


def draw(residues: int, rows: int) -> dict[str, Any]:
    """Random streams, and parameters with which no update is small beside its stream."""
    import numpy as np

    from alphafold2_pytorch.weights.deepmind import shapes

    random = np.random.default_rng(0)
    arrays: dict[str, Any] = {}
    for name, shape in shapes(block(), rows_of_table()).items():
        value = random.standard_normal(shape)
        if name.endswith(("//scale", "//gating_b")):
            value = 1 + value / 10
        elif name.endswith(("//offset", "//bias", "//output_b")):
            value /= 10
        else:
            inputs = np.prod(shape[:-1]) if name.endswith("output_w") else shape[0]
            value *= (0.5 if any(word in name for word in SMALL) else 1.0) / np.sqrt(inputs)
        arrays[name] = value.astype(np.float32)
    arrays["in/msa"] = random.standard_normal((rows, residues, MSA), np.float32)
    arrays["in/pair"] = random.standard_normal((residues, residues, PAIR), np.float32)
    return arrays


def operations(residues: int, rows: int, msa: bool = True) -> int:
    """Floating-point operations of the block's matrix products, two for a multiplication and sum.

    As `FlopCounterMode` counts: what is done feature by feature (norms, gates, softmax) is not
    among them. `msa=False`: of the five updates of the pairs.
    """
    n, s, places, pairs = residues, rows, residues * rows, residues**2

    def linear(count: int, wide: int, out: int) -> int:
        return 2 * count * wide * out

    def attention(count: int, wide: int, heads: int, keys: int) -> int:  # q, k, v, gate and out
        return 5 * linear(count, wide, heads * WIDTH) + 4 * count * heads * WIDTH * keys

    multiplication = 4 * linear(pairs, PAIR, PAIR) + 2 * n**3 * PAIR + 2 * linear(pairs, PAIR, PAIR)
    around = attention(pairs, PAIR, HEADS_PAIR, n) + linear(pairs, PAIR, HEADS_PAIR)
    total = 2 * multiplication + 2 * around + 2 * linear(pairs, PAIR, WIDEN * PAIR)
    if not msa:
        return total
    total += attention(places, MSA, HEADS, n) + linear(pairs, PAIR, HEADS)
    total += attention(places, MSA, HEADS, s) + 2 * linear(places, MSA, WIDEN * MSA)
    total += 2 * linear(places, MSA, OUTER) + 2 * pairs * s  # and the rows that pairs share
    if s < OUTER:  # rows are projected before they are summed
        return total + linear(places, OUTER, OUTER * PAIR) + linear(pairs, s * OUTER, PAIR)
    return total + linear(pairs, s, OUTER**2) + linear(pairs, OUTER**2, PAIR)


def load(arrays: Arrays, half: bool = False, msa: bool = True) -> Work:
    """`half`: under autocast to bfloat16."""
    import torch

    from alphafold2_pytorch import keep_freed_memory
    from alphafold2_pytorch.streams import Streams
    from alphafold2_pytorch.weights.deepmind import read

    keep_freed_memory()
    module, rows = block(msa), rows_of_table()
    names = {name for row in rows for name in row.theirs}
    state = read({k: torch.from_numpy(v) for k, v in arrays.items() if k in names}, rows)
    own = module.state_dict()
    module.load_state_dict({name: value for name, value in state.items() if name in own})
    streams = tensors(arrays)
    masks = {
        "pair_mask": torch.ones(streams[1].shape[:3], dtype=torch.bool),
        "msa_mask": torch.ones(streams[0].shape[:3], dtype=torch.bool),
    }

    def call(module: Callable[[Any], Any], msa: Any, pair: Any) -> tuple[Any, Any]:
        with torch.autocast("cpu", torch.bfloat16) if half else nullcontext():
            out = module(Streams(pair=pair, msa=msa, **masks, owned=True))
        return out.msa, out.pair

    return torch_work(module, call, streams)._replace(counted=None)
