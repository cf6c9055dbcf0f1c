"""AlphaFold2's input embedding and templates, and all between features and heads."""

import torch
from torch import Tensor, nn

from alphafold2_pytorch.config import Alphafold2Config
from alphafold2_pytorch.features import Features
from alphafold2_pytorch.geometry.atoms import pseudo_beta
from alphafold2_pytorch.geometry.torsions import torsions_from_atom14
from alphafold2_pytorch.inputs.atom_templates import FIRST, AtomTemplates, Templates
from alphafold2_pytorch.inputs.channels import extra_channels
from alphafold2_pytorch.inputs.clusters import ClusterInputs
from alphafold2_pytorch.inputs.template_torsions import torsion_channels
from alphafold2_pytorch.layers.init import linear
from alphafold2_pytorch.ops import set_empty
from alphafold2_pytorch.streams import Recycled, Streams
from alphafold2_pytorch.trunk import Trunk
from alphafold2_pytorch.weights.deepmind import EVOFORMER
from golden_checks.base import DIRECTIONS, Case, check
from golden_checks.records import with_backbone

TEMPLATES = f"{EVOFORMER}/template_embedding"
SINGLE = f"{TEMPLATES}/single_template_embedding"
STACK = "template_pair_stack/__layer_stack_no_state"


def loaded(case: Case, module: nn.Module, theirs: str, ours: str) -> nn.Module:
    """The module with the file's parameters, whose empty rows average as DeepMind's do."""
    case.load(module, theirs, ours)
    set_empty(module, "average")
    return module.eval()


def sizes(case: Case, end: str) -> torch.Size:
    """The shape of the one parameter whose name ends so."""
    [found] = [v.shape for k, v in case.under("param").items() if f"/{k}".endswith(f"/{end}")]
    return found


def block_options(case: Case, block: str) -> dict[str, int]:
    """Of a block of the Evoformer that is called `block`."""
    row, triangle = "msa_row_attention_with_pair_bias", "triangle_attention_ending_node"
    *_, heads, dim_head = sizes(case, f"{block}/{row}/attention//query_w")
    *_, pairs, dim_pairs = sizes(case, f"{block}/{triangle}/attention//query_w")
    outer = sizes(case, f"{block}/outer_product_mean/left_projection//bias")[-1]
    hidden = sizes(case, f"{block}/triangle_multiplication_incoming/left_gate//bias")[-1]
    options = {"heads": heads, "dim_head": dim_head, "heads_pair": pairs}
    return {**options, "dim_head_pair": dim_pairs, "dim_outer": outer, "dim_triangle": hidden}


def template_options(case: Case, attention: bool) -> dict[str, int]:
    """Of the templates' pair stack and, if it is there, of the attention over them."""
    *_, dim, heads, dim_head = sizes(
        case, f"{STACK}/triangle_attention_ending_node/attention//query_w"
    )
    triangle = sizes(case, f"{STACK}/triangle_multiplication_incoming/left_gate//bias")[-1]
    options = {"dim": dim, "heads": heads, "dim_head": dim_head, "dim_triangle": triangle}
    if attention:
        _, over, dim_over = sizes(case, "template_embedding/attention//query_w")
        options |= {"heads_pointwise": over, "dim_head_pointwise": dim_over}
    return options


def depth(case: Case, end: str) -> int:
    """How many blocks are stacked in a parameter whose name ends so."""
    return sizes(case, end)[0]


def found_templates(case: Case) -> dict[str, Tensor]:
    """Fields of `Features`; the C-beta that DeepMind's code is given is the one derived here."""
    many = len(case["in/template_aatype"].shape) == 2
    seq, atoms = case.input("template_aatype"), case.input("template_all_atom_positions")
    known = case.input("template_all_atom_masks")
    cbeta, has_cbeta = pseudo_beta(seq, atoms[..., FIRST, :], known[..., FIRST])
    assert torch.equal(cbeta, case.input("template_pseudo_beta"))
    assert torch.equal(has_cbeta, case.input("template_pseudo_beta_mask"))
    exists = case.input("template_mask") if many else torch.ones(1, 1, dtype=torch.bool)
    fields = {"template_seq": seq, "template_atoms": atoms, "template_atom_mask": known}
    return {k: v if many else v[None] for k, v in fields.items()} | {"template_exists": exists}


@check("single_template_embedding", "single_template_embedding_unit_vector")
def single_template_embedding(case: Case) -> None:
    """Alg. 16, and Alg. 2 lines 9 to 12 for one template."""
    found = found_templates(case)
    options = template_options(case, attention=False)
    blocks = depth(case, f"{STACK}/pair_transition/transition1//bias")
    unit_vectors = case.stem.endswith("unit_vector")
    module = AtomTemplates(1, blocks, **options, unit_vectors=unit_vectors)
    del module.attention
    loaded(case, module, SINGLE, "inputs.templates")
    pair_mask = case.input("mask_2d")
    seq, atoms, known = (found[f"template_{name}"][0] for name in ("seq", "atoms", "atom_mask"))
    case.compare("out", module.of_each(seq, atoms, known, pair_mask), pair_mask)
    case.input("query_embedding")  # not read, so that its gradient is zero
    case.compare_gradients(module)


@check("template_pair_stack")
def template_pair_stack(case: Case) -> None:
    """Alg. 16."""
    blocks = depth(case, f"{STACK}/pair_transition/transition1//bias")
    stack = AtomTemplates(1, blocks, **template_options(case, attention=False)).blocks
    loaded(case, stack, f"{SINGLE}/template_pair_stack", "inputs.templates.blocks")
    pair, mask = case.input("pair_act"), case.input("pair_mask")
    out = stack(Streams(pair, pair.new_zeros(1, 0, 0, 1), mask, mask.new_zeros(1, 0, 0))).pair
    case.compare("out", out, mask)
    case.compare_gradients(stack)


@check("template_embedding")
def template_embedding(case: Case) -> None:
    """Alg. 16 and 17."""
    pair, pair_mask = case.input("query_embedding"), case.input("mask_2d")
    blocks = depth(case, f"{STACK}/pair_transition/transition1//bias")
    module = AtomTemplates(pair.shape[-1], blocks, **template_options(case, attention=True))
    loaded(case, module, TEMPLATES, "inputs.templates")
    fields = found_templates(case)
    seq, atoms, known, exists = fields.values()
    case.compare("out", module(pair, pair_mask, Templates(seq, atoms, known, exists)), pair_mask)
    case.compare_gradients(module)


class WithoutHeads(nn.Module):
    """What DeepMind's module of the input embedding and the trunk holds, by our names."""

    def __init__(self, config: Alphafold2Config, dim_single: int):
        super().__init__()
        self.inputs, self.trunk = ClusterInputs(config), Trunk(config)
        self.single = nn.Module()
        self.single.from_msa = linear(config.width_msa, dim_single)


def config_of(case: Case) -> Alphafold2Config:
    """The sizes of a file of `EmbeddingsAndEvoformer`."""
    templates = "in/template_mask" in case.arrays
    row = "msa_row_attention_with_pair_bias/attention//output_b"
    blocks, dim_msa = sizes(case, f"evoformer_iteration/{row}")
    extra, dim_extra = sizes(case, f"extra_msa_stack/{row}")
    options = {"evoformer": block_options(case, "evoformer_iteration")}
    options["extra_msa"] = block_options(case, "extra_msa_stack")
    if templates:
        options["templates"] = template_options(case, attention=True)
    return Alphafold2Config(
        dim=case["in/prev_pair"].shape[-1],
        dim_msa=dim_msa,
        inputs="clusters",
        num_embedds=0,
        extra_msa_depth=extra,
        dim_extra_msa=dim_extra,
        custom_block_types=("evoformer",) * blocks,
        template_attn_depth=depth(case, f"{STACK}/pair_transition/transition1//bias")
        if templates
        else 0,
        predict_coords=True,  # of which only the recycled distances are here
        options=options,
    )


@check("embeddings_and_evoformer")
def embeddings_and_evoformer(case: Case) -> None:
    """Alg. 2 lines 5 to 18: all between the features and the heads."""
    config = config_of(case)
    model = WithoutHeads(config, case["out/single"].shape[-1])
    loaded(case, model, EVOFORMER, "")
    seq, mask, msa_mask = (case.input(name) for name in ("aatype", "seq_mask", "msa_mask"))
    squashed = case.input("extra_deletion_value")
    features = Features(
        seq=seq,
        residue_index=case.input("residue_index"),
        mask=mask,
        msa=torch.zeros(msa_mask.shape, dtype=torch.long),  # its channels are given
        deletions=torch.zeros(msa_mask.shape),
        msa_mask=msa_mask,
        extra_msa=case.input("extra_msa"),
        extra_deletions=3 * torch.tan(squashed * torch.pi / 2),
        extra_msa_mask=case.input("extra_msa_mask"),
        **(found_templates(case) if config.template_attn_depth else {}),
    )
    last = case.input("prev_pos")
    cbeta, _ = pseudo_beta(seq, last[..., FIRST, :], last[..., FIRST, 0] < torch.inf)
    recycled = Recycled(case.input("prev_pair"), case.input("prev_msa_first_row"), cbeta)
    target, msa = case.input("target_feat"), case.input("msa_feat")
    x = model.trunk(model.inputs.embed(target, msa, features, recycled))
    clusters = x.msa[:, : msa.shape[1]]
    case.compare("msa", clusters, msa_mask)
    case.compare("msa_first_row", clusters[:, 0], mask)
    case.compare("pair", x.pair, mask[:, :, None] & mask[:, None])
    case.compare("single", model.single.from_msa(clusters[:, 0]), mask)
    case.compare_gradients(model)


@check("create_extra_msa_feature")
def create_extra_msa_feature(case: Case) -> None:
    """Suppl. Table 1, the extra MSA; their counts are given squashed."""
    counts = 3 * torch.tan(case.input("extra_deletion_value") * torch.pi / 2)
    case.compare("feature", extra_channels(case.input("extra_msa"), counts))


@check("atom37_to_torsion_angles", "atom37_to_torsion_angles_placeholder")
def template_torsions(case: Case) -> None:
    """The torsions as a template's, and as a structure's; undefined ones too where they are a
    placeholder.
    """
    case.share = DIRECTIONS
    placeholder = case.stem.endswith("placeholder")
    seq, atoms, known = (case.input(n) for n in ("aatype", "all_atom_pos", "all_atom_mask"))
    undefined = "placeholder" if placeholder else "computed"
    channels, defined = torsion_channels(seq, atoms, known, undefined)
    assert torch.equal(channels[..., 22:][..., -7:].bool(), defined)
    case.compare("torsion_angles_mask", defined.float())
    where = None if placeholder else defined
    sin_cos, alternative = channels[..., 22:50].unflatten(-1, (2, 7, 2)).unbind(-3)
    case.compare("torsion_angles_sin_cos", sin_cos, where)
    case.compare("alt_torsion_angles_sin_cos", alternative, where)
    sin_cos, alternative, found = torsions_from_atom14(seq, *with_backbone(seq, atoms, known))
    assert torch.equal(found, defined)
    case.compare("torsion_angles_sin_cos", sin_cos, defined)
    case.compare("alt_torsion_angles_sin_cos", alternative, defined)
