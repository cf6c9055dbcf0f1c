"""Our own weights: safetensors with the model's configuration inside."""

import hashlib
import os
import tempfile
from importlib import resources
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from alphafold2_pytorch.config import Alphafold2Config
from alphafold2_pytorch.typing import Tensor

EMBEDDED = "small.safetensors"


def save_weights(
    path: str | Path, state: dict[str, Tensor], config: Alphafold2Config, **metadata: str
) -> None:
    """Write to a temporary name, then rename: a reader never sees half a file."""
    path = Path(path)
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in state.items()}
    data = save(tensors, metadata={**metadata, "config": config.to_json()})
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=path.name, suffix=".part")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def load_weights(
    path: str | Path,
) -> tuple[dict[str, Tensor], Alphafold2Config, dict[str, str]]:
    """The tensors, the configuration and the other metadata of a file of `save_weights`.

    `FileNotFoundError` if it is not there, `ValueError` if it is something else (a pickle is
    refused, never read) or cut short.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no weights file {str(path)!r}")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = dict(file.metadata() or {})
            state = {name: file.get_tensor(name) for name in file.keys()}
    except SafetensorError as error:
        raise ValueError(
            f"{str(path)!r} is not a whole safetensors file ({error}); weights are read from "
            "files that `alphafold2 train` or `save_weights` wrote"
        ) from None
    if "config" not in metadata:
        raise ValueError(f"{str(path)!r} is not a weights file of this library: no configuration")
    return state, Alphafold2Config.from_json(metadata.pop("config")), metadata


def embedded_weights() -> Path:
    """Where the weights that come with the package lie."""
    return Path(str(resources.files("alphafold2_pytorch.weights") / EMBEDDED))


def sha256(path: str | Path) -> str:
    """The fingerprint of a weights file, for records of what made a prediction."""
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()
