"""The loss curve of a run, from its metrics file."""

import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from alphafold2_pytorch.train.checkpoint import write_atomically

NOT_LOSSES = {"step", "loss", "grad_norm", "learning_rate", "seconds", "recycles", "chains"}


def read_jsonl(path: Path) -> list[dict[str, Any]]:
    """The complete lines of a metrics file; a last line that was cut off by a kill is left out."""
    records = []
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
        try:
            records.append(json.loads(line))
        except json.JSONDecodeError:
            break
    return records


def smooth(values: Sequence[float], window: int) -> list[float]:
    """The mean over the last `window` values at each place."""
    sums = [0.0]
    for value in values:
        sums.append(sums[-1] + value)
    ends = range(1, len(sums))
    return [(sums[end] - sums[max(end - window, 0)]) / min(end, window) for end in ends]


def plot_losses(metrics: Path, image: Path) -> None:
    """Draw the loss and its parts over the steps into a PNG; nothing if there is no step yet.

    The total also as single steps (grey). Raises `ImportError` naming the extra without matplotlib.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise ImportError(
            "drawing the loss needs matplotlib: pip install 'alphafold2-pytorch[train]'"
        ) from None
    if not (records := read_jsonl(metrics)):
        return
    steps = [record["step"] for record in records]
    window = max(1, len(steps) // 50)
    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.add_subplot()
    loss = [record["loss"] for record in records]
    axes.plot(steps, loss, color="0.85", linewidth=0.8)
    axes.plot(steps, smooth(loss, window), color="black", label="loss")
    for name in sorted(set(records[-1]) - NOT_LOSSES):
        part = [record.get(name, float("nan")) for record in records]
        axes.plot(steps, smooth(part, window), linewidth=1.2, label=name)
    validation = read_jsonl(metrics.with_name("valid.jsonl"))
    if validation:
        at, values = [v["step"] for v in validation], [v["loss"] for v in validation]
        axes.plot(at, values, "o", color="crimson", markersize=4, label="loss on valid")
    axes.set_xlabel("step")
    axes.set_ylabel(f"loss, mean of {window} steps" if window > 1 else "loss")
    axes.set_ylim(0, 1.1 * max(smooth(loss, window)))
    axes.grid(alpha=0.3)
    axes.legend(frameon=False, fontsize=8)
    content = io.BytesIO()
    figure.savefig(content, dpi=120, format="png")
    write_atomically(image, content.getvalue())
