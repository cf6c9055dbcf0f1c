"""FASTA: one or more named sequences."""

from alphafold2_pytorch.data.parse.records import Sequence, check_letters, plain_letters

SHOWN = 60  # letters of a name in a message


def split_records(text: str) -> list[tuple[str, str]]:
    """Headers (without `>`) and letters (white space taken out) of FASTA or a3m text.

    Lines before the first header may be comments that start with `#`; `ValueError` for others.
    """
    records: list[tuple[str, list[str]]] = []
    for line in text.splitlines():
        if line.startswith(">"):
            records.append((line[1:].strip(), []))
        elif records:
            records[-1][1].append("".join(line.split()))
        elif line.strip() and not line.startswith("#"):
            raise ValueError(f"expected a header that starts with '>', got {line.strip()[:40]!r}")
    return [(header, "".join(lines)) for header, lines in records]


def parse_fasta(text: str, default_name: str = "query") -> list[Sequence]:
    """Every record, its name the first word of its header (`default_name` where that is empty).

    Lower case is read as upper case, U as C, B as D, Z as E, O and J as X. `ValueError` for any
    other letter, gaps and `*` too, for an empty record, a name given twice, and no record at all.
    """
    found: dict[str, Sequence] = {}
    for header, letters in split_records(text):
        name = (header.split() or [default_name])[0]
        where = f"record {name[:SHOWN]!r}"
        if name in found:
            raise ValueError(f"{where} comes twice: give each record a name of its own")
        if not letters:
            raise ValueError(f"{where} has no residues")
        letters = letters.upper()
        check_letters(letters, where, gaps=False)
        found[name] = Sequence(name, plain_letters(letters))
    if not found:
        raise ValueError("no FASTA record: a record starts with a line such as '>name'")
    return list(found.values())
