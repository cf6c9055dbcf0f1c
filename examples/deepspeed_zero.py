"""A model of this library under DeepSpeed's ZeRO, which shards what the optimizer knows.

`bash install_deepspeed.sh --zero-only`, then with as many processes as there are devices:

    torchrun --nproc-per-node 2 examples/deepspeed_zero.py

`alphafold2 train --parallel fsdp` shards weights and moments too, with checkpoints and
all losses: this is for a training loop of your own. Without a GPU it needs a C++ compiler, and
`DS_ACCELERATOR=cpu` in the environment.
"""

import argparse

import torch

from alphafold2_pytorch import Alphafold2


def batch(seed: int) -> list[torch.Tensor]:
    """Random letters, an alignment, and classes of distances to learn."""
    random = torch.Generator().manual_seed(seed)
    sizes = ((20, (1, 32)), (20, (1, 4, 32)), (37, (1, 32, 32)))
    return [torch.randint(0, below, shape, generator=random) for below, shape in sizes]


def main() -> None:
    """Some steps on one batch a process; the loss falls."""
    import deepspeed

    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--stage", type=int, choices=(1, 2, 3), default=2)
    options = parser.parse_args()
    torch.manual_seed(0)
    model = Alphafold2(dim=32, depth=1, heads=2, dim_head=16)
    engine, *_ = deepspeed.initialize(
        model=model,
        model_parameters=model.parameters(),
        config={
            "train_micro_batch_size_per_gpu": 1,
            "optimizer": {"type": "Adam", "params": {"lr": 1e-3, "torch_adam": True}},
            "zero_optimization": {"stage": options.stage},
        },
    )
    rank = torch.distributed.get_rank()
    seq, msa, bins = (each.to(engine.device) for each in batch(seed=rank))
    for step in range(options.steps):
        distogram = engine(seq, msa)  # (1, 32, 32, 37)
        loss = torch.nn.functional.cross_entropy(distogram.flatten(0, 2).float(), bins.flatten())
        engine.backward(loss)
        engine.step()
        if rank == 0:
            print(f"step {step}: loss {loss.item():.4f}", flush=True)


if __name__ == "__main__":
    main()
