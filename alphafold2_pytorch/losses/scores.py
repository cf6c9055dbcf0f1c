"""Superposition and scores of points laid out as columns, `(3, n)` or `(b, 3, n)`, in angstrom.

One chain may meet a batch of others; scores are `(b,)`, of one chain alone with b = 1.
"""

import torch

from alphafold2_pytorch.geometry.align import superpose
from alphafold2_pytorch.geometry.precision import float32
from alphafold2_pytorch.losses.lddt import lddt
from alphafold2_pytorch.losses.tm import gdt, tm_score
from alphafold2_pytorch.typing import Float, Tensor

LIMITS = {"TS": (1.0, 2.0, 4.0, 8.0), "HA": (0.5, 1.0, 2.0, 4.0)}  # angstrom


@float32
def Kabsch(
    A: Float[Tensor, "*#b 3 n"], B: Float[Tensor, "*#b 3 n"]
) -> tuple[Float[Tensor, "*#b 3 n"], Float[Tensor, "*#b 3 n"]]:
    """A laid onto B by the best rotation, never a mirror image, and B, both centred at zero.

    Kabsch (1976) Acta Cryst. A32:922.
    """
    fixed = B - B.mean(-1, keepdim=True)
    moving = (A - A.mean(-1, keepdim=True)).mT
    weights = torch.ones_like(moving[..., 0])
    return superpose(moving, fixed.mT, weights).unsqueeze(-1).apply(moving).mT, fixed


@float32
def RMSD(A: Float[Tensor, "*#b 3 n"], B: Float[Tensor, "*#b 3 n"]) -> Float[Tensor, " b"]:
    """The root of the mean, over points, of the squared distance, as A and B lie.

    For the one after superposition: `RMSD(*Kabsch(A, B))`.
    """
    A, B = _batches(A, B)
    return torch.linalg.vector_norm(A - B, dim=(1, 2)) / A.shape[1] ** 0.5


def GDT(
    A: Float[Tensor, "*#b 3 n"], B: Float[Tensor, "*#b 3 n"], mode: str = "TS"
) -> Float[Tensor, " b"]:
    """GDT of C-alphas A against the true B, 0 to 1, by the best motions found.

    `mode` 'TS' counts what comes within 1, 2, 4 and 8 angstrom, 'HA' within half of these.
    """
    if mode not in LIMITS:
        raise ValueError(f"mode must be 'TS' or 'HA', got {mode!r}")
    A, B = _batches(A, B)
    known = torch.ones_like(A[0, :, 0], dtype=torch.bool)
    scores = [gdt(a, b, known, LIMITS[mode]) for a, b in zip(A, B, strict=True)]
    return A.new_tensor(scores)


def TMscore(A: Float[Tensor, "*#b 3 n"], B: Float[Tensor, "*#b 3 n"]) -> Float[Tensor, " b"]:
    """TM-score of C-alphas A against the true B, 0 to 1, by the best motion found."""
    A, B = _batches(A, B)
    known = torch.ones_like(A[0, :, 0], dtype=torch.bool)
    return A.new_tensor([tm_score(a, b, known) for a, b in zip(A, B, strict=True)])


def lDDT(
    A: Float[Tensor, "*#b 3 n"], B: Float[Tensor, "*#b 3 n"], cutoff: float = 15.0
) -> Float[Tensor, " b"]:
    """lDDT of C-alphas A against the true B, 0 to 1, over pairs nearer than `cutoff` in B."""
    A, B = _batches(A, B)
    return lddt(A, B, torch.ones(A.shape[:2], dtype=torch.bool, device=A.device), cutoff)


def _batches(A: Tensor, B: Tensor) -> tuple[Tensor, Tensor]:
    """Both as `b n 3`."""
    a, b = (each[None] if each.ndim == 2 else each for each in (A, B))
    fits = a.shape[1:] == b.shape[1:] and (len(a) == len(b) or 1 in (len(a), len(b)))
    if a.ndim != 3 or b.ndim != 3 or a.shape[1] != 3 or not fits:
        raise ValueError(
            f"A and B must be (3, n) or (b, 3, n) alike, got {tuple(A.shape)} and {tuple(B.shape)}"
        )
    a, b = torch.broadcast_tensors(a, b)
    return a.mT, b.mT
