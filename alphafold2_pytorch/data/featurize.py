"""Parsed text to the tensors that the model reads: one pure function, one protein."""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from alphafold2_pytorch.chem.residues import encode
from alphafold2_pytorch.data.parse.a3m import parse_a3m
from alphafold2_pytorch.data.parse.query import read_query
from alphafold2_pytorch.data.parse.records import Msa, Sequence, check_letters, plain_letters
from alphafold2_pytorch.features import Features


def featurize(
    sequence: str | Sequence | Msa,
    msa: Msa | Iterable[str] | str | Path | None = None,
    max_rows: int | None = None,
    seed: int = 0,
) -> Features:
    """Features of one protein, without a batch axis; the first row of the MSA is the protein.

    `sequence` may be an alignment itself; otherwise `msa` is one for it: an `Msa`, its aligned rows
    with the sequence first, the text of an a3m, or a file. With `max_rows`, rows beyond that are
    left out: the first stays, the others are drawn with `seed`, in their old order. Raises
    `ValueError` for letters that are no residue and an alignment of another sequence (see
    `alphafold2_pytorch.data.align.align_to_query`).
    """
    if isinstance(sequence, Msa):
        alignment = sequence.on_query()
        letters = alignment.query
    else:
        letters = sequence.letters if isinstance(sequence, Sequence) else sequence.upper()
        check_letters(letters, "the sequence", gaps=False)
        letters = plain_letters(letters)
        if not letters:
            raise ValueError("the sequence is empty: give at least one residue")
        alignment = read_msa((letters,) if msa is None else msa)
    if alignment.query != letters:
        raise ValueError(
            "the alignment's first row is not the sequence; if they differ by a few residues, "
            "alphafold2_pytorch.data.align.align_to_query(msa, sequence) moves it over"
        )
    alignment = sample_rows(alignment, max_rows, seed)
    tokens = encode("".join(alignment.rows)).reshape(len(alignment.rows), -1)
    msa_tokens = torch.from_numpy(tokens)
    length = len(letters)
    return Features(
        seq=msa_tokens[0].clone(),
        residue_index=torch.arange(length),
        mask=torch.ones(length, dtype=torch.bool),
        msa=msa_tokens,
        deletions=torch.from_numpy(alignment.deletions.copy()),
        msa_mask=torch.ones_like(msa_tokens, dtype=torch.bool),
    )


def read_msa(source: Msa | Iterable[str] | str | Path) -> Msa:
    """An alignment on its query's columns, from what `featurize` takes as one.

    A string that starts with a header is the text of an a3m, any other is a file's name.
    `ValueError` for a file of several sequences that are not aligned.
    """
    if isinstance(source, Msa):
        return source.on_query()
    if isinstance(source, str) and source.lstrip().startswith((">", "#")):
        return parse_a3m(source).on_query()
    if isinstance(source, (str, Path)):
        found = read_query(source)
        if len(found) > 1:
            raise ValueError(f"{source} has {len(found)} sequences that are not aligned")
        return found[0] if isinstance(found[0], Msa) else read_msa([found[0].letters])
    rows = tuple(row.upper() for row in source)
    deletions = np.zeros((len(rows), len(rows[0]) if rows else 0), np.float32)
    return Msa("query", rows, deletions, ("",) * len(rows)).on_query()


def sample_rows(msa: Msa, max_rows: int | None, seed: int) -> Msa:
    """At most `max_rows` rows: the first, and others at random without replacement, in order."""
    count = len(msa.rows)
    if max_rows is None or count <= max_rows:
        return msa
    if max_rows < 1:
        raise ValueError(f"max_rows must be at least 1 (the sequence itself), got {max_rows}")
    drawn = np.random.default_rng(seed).choice(count - 1, max_rows - 1, replace=False) + 1
    keep = [0, *sorted(drawn.tolist())]
    return replace(
        msa,
        rows=tuple(msa.rows[at] for at in keep),
        deletions=msa.deletions[keep],
        headers=tuple(msa.headers[at] for at in keep),
    )
