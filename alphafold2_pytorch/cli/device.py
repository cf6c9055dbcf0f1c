"""Where a command runs, and how much memory there is."""

DEVICES = ("auto", "cpu", "cuda")


def choose_device(name: str) -> str:
    """`cpu` or `cuda` for a name in `DEVICES`; `ValueError` for another, or if there is no GPU."""
    import torch

    if name not in DEVICES:
        raise ValueError(f"unknown device {name!r}; choose from {', '.join(DEVICES)}")
    available = torch.cuda.is_available()
    if name == "cuda" and not available:
        raise ValueError("there is no CUDA device here; choose cpu or auto")
    return "cuda" if available and name != "cpu" else "cpu"


def free_memory(device: str) -> int | None:
    """Bytes that can still be had on a device; None where the system does not tell."""
    import torch

    from alphafold2_pytorch.ops import pieces

    if device == "cuda":
        torch.cuda.empty_cache()  # what an attempt before this one left
    return pieces.free_memory(torch.device(device))
