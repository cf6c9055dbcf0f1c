"""Which reader a file of queries needs, and what its results may be called."""

import gzip
import re
import zlib
from pathlib import Path

from alphafold2_pytorch.data.parse.a3m import parse_a3m
from alphafold2_pytorch.data.parse.fasta import parse_fasta
from alphafold2_pytorch.data.parse.records import Msa, Sequence
from alphafold2_pytorch.data.parse.stockholm import parse_stockholm

STOCKHOLM = (".sto", ".stk", ".stockholm")
FASTA = (".fasta", ".fa", ".faa", ".fas", ".seq")
CONTROL = re.compile(r"[\x00-\x08\x0e-\x1f\x7f-\x9f]")
LONGEST_NAME = 100


def read_text(path: str | Path) -> str:
    """A text file, gzipped or not.

    `FileNotFoundError` for no such file; `ValueError` for a folder, an empty file, and bytes that
    are no text.
    """
    path = Path(path)
    if path.is_dir():
        raise ValueError(f"{path} is a folder: name the file in it")
    if not path.exists():
        raise FileNotFoundError(2, "no such file", str(path))
    data = path.read_bytes()
    if data[:2] == b"\x1f\x8b":
        try:
            data = gzip.decompress(data)
        except (OSError, EOFError, zlib.error) as error:
            raise ValueError(f"{path} is a damaged gzip file: {error}") from None
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = data.decode("latin-1")  # old files have such letters in headers
    if CONTROL.search(text):
        raise ValueError(f"{path} is not a text file")
    if not text.strip():
        raise ValueError(f"{path} is empty")
    return text


def read_query(path: str | Path) -> list[Sequence | Msa]:
    """What there is to fold in a FASTA, a3m or Stockholm file, plain or gzipped.

    The ending of the name decides; with any other ending, text that starts with `# STOCKHOLM` is
    Stockholm, several records with gaps among them are a3m, all else is FASTA.
    An alignment is called after its file (tools call most queries "query") and is on the columns
    of its query. Raises `FileNotFoundError` and `ValueError`, both naming the file.
    """
    path, text = Path(path), read_text(path)
    suffix = Path(path.stem if path.suffix == ".gz" else path.name).suffix.lower()
    name = Path(path.stem).stem if path.suffix == ".gz" else path.stem
    try:
        if suffix in STOCKHOLM or text.startswith("# STOCKHOLM"):
            return [parse_stockholm(text, name)]
        if suffix == ".a3m" or suffix not in FASTA and looks_aligned(text):
            return [parse_a3m(text, name).on_query()]
        return list(parse_fasta(text, name))
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def looks_aligned(text: str) -> bool:
    """Whether several records have gaps among them."""
    letters = [line for line in text.splitlines() if line[:1] not in (">", "#")]
    return text.count("\n>") + text.startswith(">") > 1 and any("-" in line for line in letters)


def safe_name(name: str) -> str:
    """A file name made from a query's: letters, digits and `._=+-`, no path, at most 100 long."""
    name = re.sub(r"[^A-Za-z0-9._=+-]+", "_", name).lstrip(".-_")
    return name[:LONGEST_NAME] or "query"
