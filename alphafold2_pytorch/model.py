"""`Alphafold2`: embeddings, trunk, heads and structure module, in the order of one trip."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple, cast

import torch
from torch import nn

from alphafold2_pytorch.config import Alphafold2Config, Runtime
from alphafold2_pytorch.data.parse.records import Msa, Template
from alphafold2_pytorch.features import Features, Prediction
from alphafold2_pytorch.geometry.atoms import place_cbeta, pseudo_beta
from alphafold2_pytorch.heads import HEADS
from alphafold2_pytorch.heads.base import DistanceHead
from alphafold2_pytorch.heap import make_room
from alphafold2_pytorch.inputs import INPUTS, Asked
from alphafold2_pytorch.inputs.check import check_features, pack, refuse_unknown, samples_of
from alphafold2_pytorch.inputs.once import EACH_TIME, Once, room
from alphafold2_pytorch.inputs.recycling import change
from alphafold2_pytorch.memory import predict_bytes
from alphafold2_pytorch.ops import set_empty, set_runtime
from alphafold2_pytorch.ops.pieces import pieces_chosen
from alphafold2_pytorch.presets import preset
from alphafold2_pytorch.streams import Recycled, Representations
from alphafold2_pytorch.structure import STRUCTURES, StructureModule, log_unread
from alphafold2_pytorch.structure.single import SingleProjection
from alphafold2_pytorch.structure.start import ITERATIONS, frames_from_distances
from alphafold2_pytorch.trunk import Trunk
from alphafold2_pytorch.typing import Float, Tensor
from alphafold2_pytorch.weights.deepmind import write
from alphafold2_pytorch.weights.io import (
    check_arrays,
    check_state,
    embedded_weights,
    load_arrays,
    load_state,
    load_weights,
    read_deepmind,
    write_deepmind,
)
from alphafold2_pytorch.weights.sizes import config_from_arrays


class Alphafold2(nn.Module):
    """One network from sequence and alignment to distances and, if wanted, coordinates.

    `Alphafold2(dim=64, depth=2)` or `Alphafold2(Alphafold2Config(...))`; see `Alphafold2Config`
    for the keywords. `forward` is one cycle on plain tensors, `predict` the whole trip on
    `Features`, `fold` starts from letters. Jumper et al. (2021). `end_to_end` may be set to False:
    then what is learned of the structure does not reach the trunk.
    """

    end_to_end = True

    def __init__(self, config: Alphafold2Config | None = None, **keywords):
        super().__init__()
        if config is not None and keywords:
            raise TypeError(f"give a config or keywords, not both (got {sorted(keywords)})")
        self.config = config = config or Alphafold2Config.from_keywords(**keywords)
        self.inputs = INPUTS[config.inputs](config)
        self.trunk = Trunk(config)
        self.single: SingleProjection | None = None
        self.structure: StructureModule | None = None
        if config.predict_coords:
            self.single = SingleProjection(config, **config.options.get("single", {}))
            self.structure = STRUCTURES[str(config.structure_module_type)].from_config(config)
            log_unread(config)
            if config.mds_iters is not None and not self.structure.needs_start:
                raise ValueError(
                    f"mds_iters={config.mds_iters} would change nothing: this structure module "
                    f"({config.structure_module_type!r}) needs no first coordinates; 'ipa' does "
                    "with options={'ipa': {'start': 'mds'}}"
                )
        self.heads = nn.ModuleDict(
            {
                name: head.from_config(config, name)
                for name, head in sorted(HEADS.entries.items())
                if head.wanted(config)
            }
        )
        set_empty(self, config.empty_attention)

    @property
    def distance_head(self) -> DistanceHead:
        """The head that predicts distances: `distogram`, or `distance` for real values."""
        [head] = (head for head in self.heads.values() if isinstance(head, DistanceHead))
        return head

    @classmethod
    def from_pretrained(
        cls, path: str | Path | None = None, runtime: Runtime | None = None
    ) -> "Alphafold2":
        """A model with the weights of a file, by default the small ones that come with the package.

        In eval mode, on the CPU. `FileNotFoundError` or `ValueError` say what is wrong with a file.
        """
        path = embedded_weights() if path is None else Path(path)
        if path.suffix == ".npz":
            return cls.from_deepmind(path, runtime)
        state, config, _ = load_weights(path)
        with torch.device("meta"):  # a damaged configuration may ask for more memory than there is
            check_state(cls(config), state, path)
        model = cls(config)
        load_state(model, state, path)
        set_runtime(model, runtime or Runtime())
        return model.eval()

    @classmethod
    def from_preset(cls, name: str, runtime: Runtime | None = None) -> "Alphafold2":
        """DeepMind's network with random weights: `model_1` to `model_5`, and with `_ptm`."""
        model = cls(preset(name))
        set_runtime(model, runtime or Runtime())
        return model

    @classmethod
    def from_deepmind(cls, path: str | Path, runtime: Runtime | None = None) -> "Alphafold2":
        """DeepMind's network with the parameters of one of its files, `params_model_*.npz`.

        Sizes are those of the arrays, the features those of the preset that the file is named
        after. In eval mode, on the CPU. Errors as `load_deepmind`.
        """
        arrays = read_deepmind(path)
        config = config_from_arrays(arrays, Path(path).name)
        with torch.device("meta"):  # as above
            check_arrays(cls(config), arrays, path)
        model = cls(config)
        load_arrays(model, arrays, path)
        set_runtime(model, runtime or Runtime())
        return model.eval()

    def load_deepmind(self, path: str | Path) -> "Alphafold2":
        """Put the parameters of one of DeepMind's files into this model, and give it back.

        `FileNotFoundError` or `ValueError` name the file, and the arrays that are missing, unknown,
        of another shape or not finite; nothing is loaded then.
        """
        load_arrays(self, read_deepmind(path), path)
        return self

    def save_deepmind(self, path: str | Path) -> None:
        """Write the parameters in DeepMind's released format; `ValueError` for another network."""
        write_deepmind(path, write(self))

    def forward(
        self,
        seq: Tensor,  # b n, tokens
        msa: Tensor | None = None,  # b s m, tokens
        *,
        mask: Tensor | None = None,  # b n, True where there is data, as in all masks
        msa_mask: Tensor | None = None,  # b s m
        templates_seq: Tensor | None = None,  # b t n, tokens
        templates_coors: Tensor | None = None,  # b t n 3, CA, angstrom
        templates_mask: Tensor | None = None,  # b t n
        templates_sidechains: Tensor | None = None,  # b t n 3, unit vectors from CA to C
        embeds: Tensor | None = None,  # b n num_embedds
        msa_embeds: Tensor | None = None,  # b s m num_embedds
        return_trunk: bool = False,
        return_confidence: bool = False,
        **unknown: Any,
    ) -> Any:
        """One cycle on plain tensors.

        Distogram logits `b n n 37`; or with `predict_real_value_distances` `b n n 2`, mean and
        standard deviation in angstrom; with `predict_angles` these as the first of `Logits`; with
        `predict_coords` the atoms `b (n k) 3` instead, in angstrom, of one residue after the other
        the k that `atoms` chooses in atom14's order: N, CA, C by default (documents of older
        interfaces list C, CA, N). Atoms that a residue does not have are at zero:
        `predict(...).structure.atom_mask` says which are there. To the atoms `return_aux_logits`
        adds the `Logits` and `return_confidence` the pLDDT `b n`; `return_trunk` gives what there
        is without them.
        `TypeError` and `ValueError` name an argument that does not fit.
        """
        refuse_unknown(unknown)
        features = pack(
            seq=seq,
            msa=msa,
            mask=mask,
            msa_mask=msa_mask,
            templates_seq=templates_seq,
            templates_coors=templates_coors,
            templates_mask=templates_mask,
            templates_sidechains=templates_sidechains,
            embeds=embeds,
            msa_embeds=msa_embeds,
        )
        if return_confidence and self.structure is None:
            raise ValueError("return_confidence needs a structure: use predict_coords=True")
        prediction = self.predict(features)
        logits = Logits.of(prediction.outputs)
        if prediction.structure is None or return_trunk:
            return logits if self.config.predict_angles else logits.distance
        chosen = list(self.config.atom_slots)
        coords = prediction.structure.atoms[-1][:, :, chosen].flatten(1, 2)
        more: list[Any] = [logits] if self.config.return_aux_logits else []
        if return_confidence:
            more.append(prediction.plddt)
        return (coords, *more) if more else coords

    def predict(
        self,
        features: Features | Sequence[Features],
        recycles: int = 0,
        progress: Callable[[int, int], None] | None = None,
        *,
        ensemble: int = 1,
        tolerance: float | None = None,
        representations: bool = False,
        trajectory: bool = False,
    ) -> Prediction:
        """`recycles` + 1 cycles over a batch; gradients flow through the last one only.

        `features` is one batch for all cycles, or a list with one for each of the `ensemble`
        members of each cycle, as `featurize_clusters` draws them: what members find is averaged.
        `tolerance` stops as soon as a cycle changes the CA distances of no chain by more (root mean
        square, angstrom). `progress` is called with (cycles done, cycles) after each. What the
        trunk found, and every cycle's atoms, are kept on request. `FloatingPointError` if the
        result is not finite. Jumper et al. (2021) Suppl. Alg. 2 and 30.
        """
        self.check(features if isinstance(features, Sequence) else [features])
        return self.predict_checked(
            features,
            recycles,
            progress,
            ensemble=ensemble,
            tolerance=tolerance,
            representations=representations,
            trajectory=trajectory,
        )

    def check(self, samples: Sequence[Features]) -> None:
        """`ValueError` names the field of a batch that does not fit this model, and how."""
        for each in {id(each): each for each in samples}.values():
            check_features(each, self.config, self.inputs.reads)

    def predict_checked(
        self,
        features: Features | Sequence[Features],
        recycles: int = 0,
        progress: Callable[[int, int], None] | None = None,
        *,
        ensemble: int = 1,
        tolerance: float | None = None,
        representations: bool = False,
        trajectory: bool = False,
    ) -> Prediction:
        """`predict` of what `check` has seen, perhaps before it was moved to a GPU.

        No value is looked at on the way (but with `tolerance`), so nothing waits for the GPU.
        """
        samples = samples_of(features, recycles, ensemble)
        if tolerance is not None and (torch.is_grad_enabled() or self.structure is None):
            raise ValueError(
                "tolerance needs coordinates (predict_coords=True), and no gradients: which cycle "
                "is the last, and so has them, is not known before"
            )
        with pieces_chosen(self, samples[0].seq.device):
            # a term of templates in training has dropout, anew in each cycle
            free = room(self.trunk.blocks.runtime.chunk_bytes or 0)
            once = EACH_TIME if self.training else Once(samples, free)
            recycled = self.inputs.first(samples[0])
            kept: list[Tensor] = []
            for cycle in range(recycles + 1):
                members = samples[cycle * ensemble : (cycle + 1) * ensemble]
                recycled.readers = ensemble
                last = cycle == recycles
                with torch.set_grad_enabled(torch.is_grad_enabled() and last):
                    x = self._cycle(members, recycled, once)
                    recycled = self._recycle(members[0], x)
                if x.structure is not None:
                    kept.append(x.structure.atoms[-1])
                if progress:
                    progress(cycle + 1, recycles + 1)
                if last:
                    break
                if tolerance is not None and cycle:
                    if change(kept[-2], kept[-1], x.mask) <= tolerance:
                        break
                kept = kept if trajectory else kept[-1:]
                x = cast(Representations, None)  # the next cycle needs the room
                make_room(recycled.pair.nbytes)
            outputs = {name: head(x) for name, head in self.heads.items()}
        return Prediction(
            members[0],
            outputs,
            x.structure,
            self.distance_head.edges,
            representations=x.named if representations else None,
            trajectory=tuple(kept) if trajectory else None,
        )

    def fold(
        self,
        sequence: str,
        msa: Msa | Iterable[str] | str | Path | None = None,
        recycles: int = 3,
        seed: int = 0,
        max_rows: int | None = None,
        progress: Callable[[int, int], None] | None = None,
        name: str = "query",
        *,
        templates: Iterable[Template] = (),
        ensemble: int = 1,
        tolerance: float | None = None,
    ) -> Prediction:
        """Fold one chain from its letters and, if there is one, its alignment.

        `msa`: an `Msa`, a3m text, the path of an a3m or Stockholm file, or aligned rows, the first
        one the sequence; for `inputs="clusters"` also a list of several. Of more than `max_rows`
        rows a sample drawn with `seed` is read (None: 256, with clusters all). `templates`:
        of `data.templates.read_template`, best first. `ensemble` and `tolerance` as in `predict`;
        so is `progress`, which is also called with (0, cycles) once the features are there.
        Runs where the model is, in eval mode under `no_grad`: unlike those of `inference_mode` its
        results may take part in gradients later. `ValueError` for letters that are
        no residue, `FloatingPointError` if the result is not finite.
        """
        device, was_training = next(self.parameters()).device, self.training
        asked = Asked(sequence, msa, list(templates), max_rows, seed)
        drawn = self.inputs.draw(asked, (recycles + 1) * ensemble)
        # what is drawn once for all cycles stays one
        stacked = {id(each): Features.stack([each]).to(device) for each in drawn}
        samples = [stacked[id(each)] for each in drawn]
        if progress:
            progress(0, recycles + 1)
        try:
            with torch.no_grad():
                prediction = self.eval().predict(
                    samples, recycles, progress, ensemble=ensemble, tolerance=tolerance
                )
        finally:
            self.train(was_training)
        for what, value in prediction.outputs.items():
            if not torch.isfinite(value).all():
                raise FloatingPointError(f"the output of head {what!r} is not finite")
        return replace(prediction, name=name)

    def memory_estimate(
        self, residues: int, rows: int, templates: int = 0, ensemble: int = 1
    ) -> int:
        """Bytes that `predict` needs at its peak beyond weights and features, without gradients.

        `rows`: of the alignment, as many as there are. See `alphafold2_pytorch.memory`.
        """
        return predict_bytes(self, residues, rows, templates, ensemble)

    def _cycle(
        self, members: Sequence[Features], recycled: Recycled, once: Once
    ) -> Representations:
        x = Representations.mean(self._represent(each, recycled, once) for each in members)
        if x.single is None or self.structure is None:
            return x
        features, start = members[0], None
        if self.structure.needs_start:
            head = self.distance_head
            distances = head.distances(head(x))
            steps = self.config.mds_iters or ITERATIONS
            start = frames_from_distances(distances, features.residue_index, x.mask, steps)
        pair = x.pair if self.end_to_end else x.pair.detach()
        given = (x.single, pair, x.mask, features.seq, start, features.residue_index)
        return replace(x, structure=self.structure(*given))

    def _represent(self, features: Features, recycled: Recycled, once: Once) -> Representations:
        x = self.trunk.read_extra(self.inputs(features, recycled, once))
        x = self.trunk(x)
        own = slice(features.msa.shape[1])  # rows made from templates have done their work
        x = replace(x, msa=x.msa[:, own], msa_mask=x.msa_mask[:, own])
        known = x if self.end_to_end else replace(x, pair=x.pair.detach(), msa=x.msa.detach())
        single = None if self.single is None else self.single(known)
        first = x.msa[:, 0] if x.msa.shape[2] == x.pair.shape[1] else None
        return Representations(single, x.pair, x.msa, features.mask, first)

    def _recycle(self, features: Features, x: Representations) -> Recycled:
        cbeta = None
        if x.structure is not None:
            seq = features.seq.clamp(max=20)
            atoms = x.structure.atoms[-1].detach()
            cbeta, known = pseudo_beta(seq, atoms, x.structure.atom_mask)
            if self.inputs.places_cbeta:
                placed = place_cbeta(*atoms[..., :3, :].unbind(-2))
                cbeta = torch.where(known[..., None], cbeta, placed)
        # a copy: a view would keep the whole MSA
        first = None if x.msa_first is None else x.msa_first.detach().clone()
        return Recycled(x.pair.detach(), first, cbeta)


class Logits(NamedTuple):
    """What the trunk alone predicts of each pair: distances, and angles if the model has them."""

    distance: Float[Tensor, "b n n k"]
    theta: Float[Tensor, "b n n 25"] | None = None
    phi: Float[Tensor, "b n n 13"] | None = None
    omega: Float[Tensor, "b n n 25"] | None = None

    @classmethod
    def of(cls, outputs: Mapping[str, Tensor]) -> "Logits":
        """Picked from the outputs of the heads."""
        distance = outputs["distance"] if "distance" in outputs else outputs["distogram"]
        return cls(distance, *(outputs.get(name) for name in ("theta", "phi", "omega")))
