"""How sure a mean over chains is: bootstrap intervals."""

import numpy as np

RESAMPLES = 4000
AT_ONCE = 200


def bootstrap_interval(
    values: np.ndarray, seed: int = 0, resamples: int = RESAMPLES, level: float = 0.95
) -> tuple[np.ndarray, np.ndarray]:
    """Lower and upper end of the percentile interval of the means of `values` (chains, metrics).

    Whole chains are drawn with replacement, so all metrics see the same draws. NaN entries are left
    out of the means; a metric that no chain has gets NaN. From one chain the interval has no width:
    look at the count beside it. The same seed gives the same numbers. Efron & Tibshirani (1993).
    """
    if values.ndim != 2 or len(values) == 0:
        raise ValueError(f"values must have the shape (chains, metrics), got {values.shape}")
    generator = np.random.default_rng(seed)
    present = np.isfinite(values)
    filled, counted = np.where(present, values, 0.0), present.astype(np.float64)
    count = len(values)
    means = []
    for first in range(0, resamples, AT_ONCE):
        size = min(AT_ONCE, resamples - first)
        # How often each chain was drawn says all there is to know of a resample.
        draws = generator.multinomial(count, np.full(count, 1 / count), size=size)
        with np.errstate(invalid="ignore", divide="ignore"):
            means.append((draws @ filled) / (draws @ counted))
    joined = np.concatenate(means)
    ends = np.full((2, values.shape[1]), np.nan)
    for metric in np.flatnonzero(present.any(0)):
        drawn = joined[:, metric]
        tail = (1 - level) / 2
        ends[:, metric] = np.quantile(drawn[np.isfinite(drawn)], [tail, 1 - tail])
    return ends[0], ends[1]
