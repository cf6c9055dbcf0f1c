"""An a3m text straight to arrays: for training, where thousands of alignments are read a minute."""

import numpy as np

AMBIGUOUS = {"U": "C", "B": "D", "Z": "E", "O": "X", "J": "X"}


def _letters_to_tokens() -> np.ndarray:
    table = np.full(256, 255, dtype=np.uint8)  # 255: not a letter of an alignment
    for token, letter in enumerate("ARNDCQEGHILKMFPSTWYVX-"):
        table[ord(letter)] = token
    for letter, read_as in AMBIGUOUS.items():
        table[ord(letter)] = table[ord(read_as)]
    return table


TOKENS = _letters_to_tokens()


def parse_a3m_arrays(text: bytes) -> tuple[np.ndarray, np.ndarray]:
    """Tokens [rows, columns] uint8 and deletions [rows, columns] int32 of an a3m alignment.

    Deletions count the lower-case letters between a column and the one before it. U is read as C,
    B as D, Z as E, O and J as X. Raises `ValueError` for no rows, rows of unequal length and
    letters that are none.
    """
    records = (b"\n" + text.replace(b"\r", b"")).split(b"\n>")
    if records[0].strip() or len(records) == 1:
        raise ValueError("an a3m starts with a line '>name', this one does not")
    rows = [record.partition(b"\n")[2].translate(None, b" \t\n.") for record in records[1:]]
    letters = np.frombuffer(b"".join(rows), dtype=np.uint8)
    inserted = (letters >= ord("a")) & (letters <= ord("z"))
    row_of = np.repeat(np.arange(len(rows)), [len(row) for row in rows])
    columns = np.bincount(row_of[~inserted], minlength=len(rows))
    if (bad := np.flatnonzero(columns != columns[0])).size or not columns[0]:
        row = int(bad[0]) if bad.size else 0
        raise ValueError(
            f"row {row + 1} of the a3m has {columns[row]} columns without its lower-case letters, "
            f"the first row has {columns[0]}"
        )
    shape = (len(rows), int(columns[0]))
    aligned = np.flatnonzero(~inserted)
    tokens = TOKENS[letters[aligned]].reshape(shape)
    if (tokens == 255).any():
        letter = chr(letters[aligned][tokens.ravel() == 255][0])
        raise ValueError(f"the a3m has the letter {letter!r}, which is neither residue nor gap")
    # Between two aligned letters lie the inserted ones; what trails the row before is not ours.
    starts = np.cumsum([0] + [len(row) for row in rows[:-1]])
    deletions = np.diff(aligned, prepend=-1).reshape(shape) - 1
    deletions[:, 0] = aligned.reshape(shape)[:, 0] - starts
    return tokens, deletions.astype(np.int32)
