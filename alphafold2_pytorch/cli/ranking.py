"""What several models found of one query, best first."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from alphafold2_pytorch.cli.compare import Comparison
from alphafold2_pytorch.cli.models import RANK_BY, Weights
from alphafold2_pytorch.cli.results import Result

if TYPE_CHECKING:
    import numpy as np

    from alphafold2_pytorch.features import Prediction


@dataclass(frozen=True, eq=False)
class Folded:
    """One model's result, beside the scores that a truth gives it."""

    weights: Weights
    result: Result
    comparison: Comparison | None
    cycles: int
    rows: dict[str, int]  # of the alignment that were read, by the JSON file's words
    features: "dict[str, np.ndarray] | None" = None  # what the last cycle read, if it is wanted

    @classmethod
    def of(
        cls,
        weights: Weights,
        prediction: "Prediction",
        cycles: int,
        comparison: Comparison | None,
        save_features: bool = False,
    ) -> "Folded":
        """From what a model found in so many cycles."""
        rows = {"msa_rows_read": prediction.features.size("s")}
        if (extra := prediction.features.extra_msa_mask) is not None:
            rows["extra_msa_rows_read"] = int(extra.any(-1).sum())
        features = None
        if save_features:
            tensors = prediction.features.tensors
            features = {name: tensor[0].cpu().numpy() for name, tensor in tensors.items()}
        return cls(weights, Result.of(prediction), comparison, cycles, rows, features)

    def score(self, by: str) -> float:
        """What it is ranked by, one of `RANK_BY`; `ValueError` where the model has none."""
        score = self.result.mean_plddt if by == "plddt" else self.result.ptm
        if score is None:
            raise ValueError(f"{self.weights.name} predicts no pTM to rank by")
        return score


def ranked(found: list[Folded], by: str) -> list[Folded]:
    """Best first; of equal ones that whose weights were named first."""
    return sorted(found, key=lambda each: each.score(by), reverse=True)


def ranking_line(order: list[Folded], by: str) -> str:
    """The models with their scores, best first."""
    digits = 1 if by == "plddt" else 3
    names = (f"{each.weights.name} {each.score(by):.{digits}f}" for each in order)
    return f"ranked by {RANK_BY[by]}: {', '.join(names)}"


def ranking(name: str, order: list[Folded], by: str, failed: list[str]) -> dict[str, Any]:
    """The content of ranking.json; `failed` are the weights that found nothing."""
    models = [
        {
            "file": f"ranked_{at}.pdb",
            "model": each.weights.model,
            "weights": each.weights.name,
            "weights_sha256": each.weights.sha256,
            "preset": each.weights.preset,
            **each.result.scores,
            "cycles": each.cycles,
            "truth": None if each.comparison is None else each.comparison.scores(),
        }
        for at, each in enumerate(order)
    ]
    return {"name": name, "ranked_by": by, "models": models, "failed": failed}
