"""The Evoformer block and the structure module give DeepMind's numbers on DeepMind's parameters."""

import torch
from deepmind import Golden, set_evoformer, set_ipa, set_structure

from alphafold2_pytorch.blocks.evoformer import Evoformer
from alphafold2_pytorch.geometry.rotations import quaternion_to_rotation
from alphafold2_pytorch.streams import Streams
from alphafold2_pytorch.structure.ipa import IpaStructure
from alphafold2_pytorch.structure.point_attention import InvariantPointAttention


def test_the_evoformer_block_gives_deepminds_numbers():
    golden = Golden("evoformer_iteration_block")
    pairs = {"heads_pair": 3, "dim_outer": 8, "dim_triangle": 20}
    block = Evoformer(24, 32, heads=4, dim_head=8, **pairs).eval()
    set_evoformer(block, golden)
    pair_mask, msa_mask = golden["in/pair_mask"].bool(), golden["in/msa_mask"].bool()
    x = Streams(golden["in/pair"][None], golden["in/msa"][None], pair_mask[None], msa_mask[None])
    out = block(x)
    for ours, theirs, mask in ((out.msa, "out/msa", msa_mask), (out.pair, "out/pair", pair_mask)):
        torch.testing.assert_close(ours[0][mask], golden[theirs][mask], rtol=1e-4, atol=1e-4)


def test_invariant_point_attention_gives_deepminds_numbers():
    golden = Golden("invariant_point_attention")
    layer = InvariantPointAttention(40, 6, 8, 10, 3, 5, pairwise_repr_dim=24)
    set_ipa(layer, ipa_parameters(golden))
    quaternion, trans = golden["in/affine"].split([4, 3], dim=-1)
    frames = {"rotations": quaternion_to_rotation(quaternion)[None], "translations": trans[None]}
    mask = golden["in/mask"][:, 0].bool()
    single, pair = golden["in/inputs_1d"][None], golden["in/inputs_2d"][None]
    out = layer(single, pair, **frames, mask=mask[None])
    torch.testing.assert_close(out[0][mask], golden["out"][mask], rtol=1e-4, atol=1e-4)


def test_the_structure_module_gives_deepminds_numbers():
    golden = Golden("structure_module")
    module = IpaStructure(
        40, 24, 8, 6, 8, points_qk=3, points_v=5, dim_value=10, dim_torsions=28
    ).eval()
    set_structure(module, golden)
    mask, seq = golden["in/seq_mask"].bool(), golden["in/aatype"].long()
    out = module(golden["in/single"][None], golden["in/pair"][None], mask[None], seq[None])
    for ours, theirs in (
        (out.frames.trans[:, 0], golden["out/traj"][..., 4:]),
        (out.torsions[:, 0], golden["out/sidechains/angles_sin_cos"]),
        (out.atoms[:, 0], golden["out/sidechains/atom_pos"]),
        (out.groups.rot, golden["out/sidechains/frames/rot"][-1:]),
        (out.single, golden["out/representations/structure_module"][None]),
    ):
        torch.testing.assert_close(ours[:, mask], theirs[:, mask], rtol=1e-3, atol=1e-3)


def ipa_parameters(golden: Golden) -> dict[str, torch.Tensor]:
    found = golden.parameters("invariant_point_attention")
    return {k if k.startswith("//") else k.removeprefix("/"): v for k, v in found.items()}
