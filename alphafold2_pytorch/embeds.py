"""Protein language models in front of `Alphafold2`: their embeddings are added to its input.

`ESMEmbedWrapper(alphafold2=model)` is called like the model itself. Nothing is downloaded before
the first call.
"""

import argparse
import importlib
import warnings
from typing import Any

import torch
from torch import nn

from alphafold2_pytorch.chem.residues import GAP, LETTERS, MASK, NUM_TOKENS
from alphafold2_pytorch.inputs.check import check_tokens, pack
from alphafold2_pytorch.layers.init import linear
from alphafold2_pytorch.model import Alphafold2
from alphafold2_pytorch.typing import Bool, Float, Int, Tensor

# The published vocabularies, in order, and in them the token for each of ours, the mask last.
ESM_VOCABULARY = ("<cls>", "<pad>", "<eos>", "<unk>", *"LAGVSERTIDPKQNFYMHWCXBUZO.-")
ESM_VOCABULARY += ("<null_1>", "<mask>")
ESM_IDS = tuple(ESM_VOCABULARY.index(each) for each in (*LETTERS[:MASK], "<mask>"))
PROT_T5_VOCABULARY = ("<pad>", "</s>", "<unk>", *"ALGVSREDTIPKFQNYMHWCXBOUZ")
PROT_T5_IDS = tuple(PROT_T5_VOCABULARY.index(each) for each in (*LETTERS[:GAP], "<unk>", "X"))
MOST_ROWS, MOST_COLUMNS = 1024, 1023  # of the MSA Transformer; a column is its own start


class EmbedWrapper(nn.Module):
    """What the wrappers share: when the language model is loaded, frozen, and how it is projected.

    `language_model`: a loaded one, in place of the published `checkpoint`. With `freeze` it is in
    eval mode without gradients whatever the mode of the wrapper, and not among its parameters nor
    in its `state_dict`. `ValueError` for an `Alphafold2` that reads no embeddings.
    """

    checkpoint: str
    width: int  # of the checkpoint's embeddings

    def __init__(
        self,
        alphafold2: Alphafold2,
        language_model: nn.Module | None = None,
        freeze: bool = True,
    ):
        super().__init__()
        to = alphafold2.config.num_embedds
        if not to:
            raise ValueError("this Alphafold2 reads no embeds: it was built with num_embedds=0")
        if language_model is None and not freeze:
            raise ValueError(
                f"freeze=False needs the parameters now, but {self.checkpoint!r} is loaded on the "
                "first call: pass a loaded language_model"
            )
        self.alphafold2, self.freeze = alphafold2, freeze
        self.language_model: nn.Module | None = None
        width = self.width if language_model is None else self.width_of(language_model)
        self.project = nn.Identity() if width == to else linear(width, to, bias=False)
        if language_model is not None:
            self._keep(language_model)

    def width_of(self, language_model: nn.Module) -> int:
        """The width of a loaded model's embeddings; `TypeError` for a model of another kind."""
        raise NotImplementedError

    def load(self) -> nn.Module:
        """The published checkpoint, from its cache or the network."""
        raise NotImplementedError

    def represent(
        self,
        seq: Int[Tensor, "b n"],
        msa: Int[Tensor, "b s m"],
        mask: Bool[Tensor, "b n"],
        msa_mask: Bool[Tensor, "b s m"],
    ) -> tuple[Float[Tensor, "b n e"], Float[Tensor, "b s m e"]]:
        """Embeddings of the sequence and of the alignment; what is masked does not enter them."""
        raise NotImplementedError

    def embed(
        self,
        seq: Tensor,
        msa: Tensor | None = None,
        *,
        mask: Tensor | None = None,
        msa_mask: Tensor | None = None,
    ) -> tuple[Float[Tensor, "b n e"], Float[Tensor, "b s m e"] | None]:
        """`embeds` and (None without an MSA) `msa_embeds`, as `Alphafold2.forward` takes them."""
        features = pack(seq=seq, msa=msa, mask=mask, msa_mask=msa_mask)
        check_tokens("seq", features.seq, NUM_TOKENS)
        check_tokens("msa", features.msa, NUM_TOKENS)
        if self.language_model is None:
            self._keep(self._load())
        if self.freeze:
            self.language_model.eval()  # type: ignore[union-attr]
        rows = features.msa if msa is not None else features.msa[:, :0]
        rows_mask = features.msa_mask[:, : rows.shape[1]]
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.freeze):
            found = self.represent(features.seq, rows, features.mask, rows_mask)
        dtype = next(self.alphafold2.parameters()).dtype
        embeds, msa_embeds = (self.project(each.to(dtype)) for each in found)
        return embeds, None if msa is None else msa_embeds

    def forward(
        self,
        seq: Tensor,
        msa: Tensor | None = None,
        *,
        mask: Tensor | None = None,
        msa_mask: Tensor | None = None,
        **others: Any,
    ) -> Any:
        """`Alphafold2.forward` with the embeddings; `others` are its other arguments."""
        embeds, msa_embeds = self.embed(seq, msa, mask=mask, msa_mask=msa_mask)
        masks = {"mask": mask, "msa_mask": msa_mask}
        return self.alphafold2(seq, msa, embeds=embeds, msa_embeds=msa_embeds, **masks, **others)

    def _load(self) -> nn.Module:
        try:
            model = self.load()
        except OSError as error:
            raise OSError(
                f"could not load {self.checkpoint!r} ({error}). It is downloaded on the first "
                f"call; without a network pass a loaded model: {type(self).__name__}"
                "(alphafold2=model, language_model=...)"
            ) from error
        return model.to(next(self.alphafold2.parameters()).device)

    def _keep(self, language_model: nn.Module) -> None:
        if self.freeze:  # past `nn.Module`, so that it is no part of the state, the optimizer, DDP
            self.__dict__["language_model"] = language_model.requires_grad_(False)
        else:
            self.language_model = language_model

    def _apply(self, fn, recurse: bool = True):
        """What `.to()` and its like call; a frozen model moves too."""
        if self.freeze and self.language_model is not None:
            self.language_model._apply(fn, recurse)
        return super()._apply(fn, recurse)


class SequenceWrapper(EmbedWrapper):
    """A model of single sequences: of each row its residues alone, put back into their columns.

    Gaps and masked entries are left out of a row, as the model never saw them in training; their
    embedding is zero. `rows_at_once` rows are embedded together: memory, not numbers.
    """

    rows_at_once = 32
    ids: tuple[int, ...]  # the model's token for each of ours
    start: tuple[int, ...] = ()  # tokens before the first residue
    end: int
    pad: int

    def represent(
        self,
        seq: Int[Tensor, "b n"],
        msa: Int[Tensor, "b s m"],
        mask: Bool[Tensor, "b n"],
        msa_mask: Bool[Tensor, "b s m"],
    ) -> tuple[Float[Tensor, "b n e"], Float[Tensor, "b s m e"]]:
        sequence = self._rows(seq, mask)
        if not msa.numel():
            return sequence, sequence.new_zeros(*msa.shape, sequence.shape[-1])
        rows = self._rows(msa.flatten(0, 1), msa_mask.flatten(0, 1))
        return sequence, rows.unflatten(0, msa.shape[:2])

    def _rows(self, rows: Tensor, keep: Tensor) -> Float[Tensor, "r m e"]:
        parts = zip(rows.split(self.rows_at_once), keep.split(self.rows_at_once), strict=True)
        return torch.cat([self._few_rows(*part) for part in parts])

    def _few_rows(
        self, rows: Int[Tensor, "r m"], keep: Bool[Tensor, "r m"]
    ) -> Float[Tensor, "r m e"]:
        keep = keep & (rows != GAP)
        first, length = len(self.start), keep.sum(1, keepdim=True)
        place = first + keep.long().cumsum(1) - 1  # of each residue in the model's input
        shape = len(rows), first + int(length.max()) + 1
        tokens = rows.new_full(shape, self.pad)
        tokens[:, :first] = tokens.new_tensor(self.start)
        tokens.scatter_(1, first + length, self.end)
        row, column = keep.nonzero(as_tuple=True)
        tokens[row, place[row, column]] = tokens.new_tensor(self.ids)[rows[row, column]]
        used = torch.arange(shape[1], device=rows.device) <= first + length
        hidden = self.language_model(  # type: ignore[misc]
            input_ids=tokens, attention_mask=used.long()
        ).last_hidden_state
        out = hidden.new_zeros(*rows.shape, hidden.shape[-1])
        return out.index_put((row, column), hidden[row, place[row, column]])


class ESMEmbedWrapper(SequenceWrapper):
    """`Alphafold2` with embeddings of ESM-2 (650 million parameters); Lin et al. (2023).

    `language_model`: a `transformers.EsmModel` (ESM-1b and every size of ESM-2 share their tokens).
    Needs the extra `embeds`.
    """

    checkpoint, width = "facebook/esm2_t33_650M_UR50D", 1280
    ids, start, pad, end = ESM_IDS, (0,), 1, 2

    def width_of(self, language_model: nn.Module) -> int:
        return require(language_model, "transformers", "EsmModel").config.hidden_size

    def load(self) -> nn.Module:
        model = import_extra("transformers").EsmModel
        return model.from_pretrained(self.checkpoint, add_pooling_layer=False, use_safetensors=True)


class ProtTranEmbedWrapper(SequenceWrapper):
    """`Alphafold2` with embeddings of ProtT5's encoder; Elnaggar et al. (2021).

    `language_model`: a `transformers.T5EncoderModel`. The published checkpoint is a pickle, which
    transformers reads as tensors alone, and 11 GB. ProtT5 knows no mask: it is read as X. Needs
    the extra `embeds`.
    """

    checkpoint, width = "Rostlab/prot_t5_xl_uniref50", 1024
    ids, pad, end = PROT_T5_IDS, 0, 1

    def width_of(self, language_model: nn.Module) -> int:
        return require(language_model, "transformers", "T5EncoderModel").config.d_model

    def load(self) -> nn.Module:
        return import_extra("transformers").T5EncoderModel.from_pretrained(self.checkpoint)


class MSAEmbedWrapper(EmbedWrapper):
    """`Alphafold2` with embeddings of the MSA Transformer; Rao et al. (2021).

    The sequence is embedded as the first row of its alignment (put on top if it is not there
    already), or alone if the alignment has other columns. Each example is embedded on its own,
    without the rows and columns that are masked in full; other masked entries are read as gaps. At
    most 1024 rows and 1023 columns (`ValueError`).

    `language_model`: an `esm.MSATransformer`. Needs the extra `embeds`.
    """

    checkpoint = "https://dl.fbaipublicfiles.com/fair-esm/models/esm_msa1b_t12_100M_UR50S.pt"
    width = 768

    def width_of(self, language_model: nn.Module) -> int:
        return require(language_model, "esm", "MSATransformer").args.embed_dim

    def load(self) -> nn.Module:
        pretrained = import_extra("esm.pretrained")
        # a pickle: nothing but tensors and a namespace of plain values is let in
        with torch.serialization.safe_globals([argparse.Namespace]):
            data = torch.hub.load_state_dict_from_url(
                self.checkpoint, map_location="cpu", progress=False, weights_only=True
            )
        name = self.checkpoint.rpartition("/")[2].removesuffix(".pt")
        with warnings.catch_warnings():  # its contact head is neither loaded nor used
            warnings.filterwarnings("ignore", message="Regression weights not found")
            return pretrained.load_model_and_alphabet_core(name, data)[0]

    def represent(
        self,
        seq: Int[Tensor, "b n"],
        msa: Int[Tensor, "b s m"],
        mask: Bool[Tensor, "b n"],
        msa_mask: Bool[Tensor, "b s m"],
    ) -> tuple[Float[Tensor, "b n e"], Float[Tensor, "b s m e"]]:
        seq, msa = torch.where(mask, seq, GAP), torch.where(msa_mask, msa, GAP)
        aligned = seq.shape[1] == msa.shape[2]
        sequences, alignments = [], []
        for query, rows, known, rows_known in zip(seq, msa, mask, msa_mask, strict=True):
            if not aligned:
                sequences.append(self._alignment(query[None], known[None])[0])
                alignments.append(self._alignment(rows, rows_known))
                continue
            used = rows_known.any(1).nonzero()[:1, 0]  # the first row in use, if there is one
            on_top = 1 - int(torch.equal(rows[used], query[None]))
            rows = torch.cat([query[None], rows])[1 - on_top :]
            found = self._alignment(rows, torch.cat([known[None], rows_known])[1 - on_top :])
            sequences.append(found[0] if on_top else found[used[0]])
            alignments.append(found[on_top:])
        return torch.stack(sequences), torch.stack(alignments)

    def _alignment(
        self, rows: Int[Tensor, "s m"], keep: Bool[Tensor, "s m"]
    ) -> Float[Tensor, "s m e"]:
        model: Any = self.language_model
        out = model.embed_tokens.weight.new_zeros(*rows.shape, model.args.embed_dim)
        row, column = keep.any(1).nonzero()[:, 0], keep.any(0).nonzero()[:, 0]
        if not len(row):
            return out
        if len(row) > MOST_ROWS or len(column) > MOST_COLUMNS:
            raise ValueError(
                f"the MSA Transformer reads at most {MOST_ROWS} rows and {MOST_COLUMNS} columns, "
                f"got {len(row)} and {len(column)}"
            )
        tokens = rows.new_tensor(ESM_IDS)[rows[row][:, column]]
        start = tokens.new_full((len(row), 1), model.cls_idx)
        last = model.num_layers
        found = model(torch.cat([start, tokens], dim=1)[None], repr_layers=[last])
        embeds = found["representations"][last][0, :, 1:]
        return out.index_put((row[:, None], column[None]), embeds) * keep[..., None]


def require(language_model: Any, module: str, name: str) -> Any:
    """The same model; `TypeError` if it is of another class."""
    if not isinstance(language_model, getattr(import_extra(module), name)):
        came = type(language_model).__name__
        raise TypeError(f"language_model must be a {module}.{name}, got {came}")
    return language_model


def import_extra(module: str) -> Any:
    """A module of the extra `embeds`; `ImportError` says how to install it."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        package = "fair-esm" if module.startswith("esm") else module
        raise ImportError(
            f"this embedding needs {package}: pip install 'alphafold2-pytorch[embeds]'"
        ) from error
