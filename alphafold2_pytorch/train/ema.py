"""The moving average of the weights, which predicts better than the weights of any one step."""

import torch
from torch import nn

from alphafold2_pytorch.train.distributed import own_shard


class MovingAverage:
    """Exponential moving average of a model's state; early on it forgets faster.

    The decay is min(`decay`, (1 + step) / (10 + step)), so that the random start does not linger.
    Jumper et al. (2021) Suppl. Sec. 1.11.7 use 0.999. Of a model in shards it is in shards.
    """

    def __init__(self, model: nn.Module, decay: float):
        self.decay = decay
        self.averaged = {name for name, _ in model.named_parameters()}
        self.state = {name: value.detach().clone() for name, value in model.state_dict().items()}

    @torch.no_grad()
    def update(self, model: nn.Module, step: int) -> None:
        """Take in the weights after `step` steps; buffers, such as projections, are copied."""
        keep = min(self.decay, (1 + step) / (10 + step))
        means, weights = [], []
        for name, value in model.state_dict().items():
            mean, new = own_shard(self.state[name]), own_shard(value)
            if name in self.averaged:
                means.append(mean)
                weights.append(new)
            else:
                mean.copy_(new)
        torch._foreach_lerp_(means, weights, 1 - keep)
