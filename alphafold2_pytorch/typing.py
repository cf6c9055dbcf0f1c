"""The shape types of every signature, in one vocabulary of letters.

`b` batch, `s` MSA rows, `m` MSA columns, `n` residues, `a` atoms, `g` rigid groups, `t` torsions,
`h` heads, `d` features, `k` bins, `*` any leading dimensions. Tests check them, a user's run does
not pay for them.
"""

from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor

__all__ = ["Bool", "Float", "Int", "Shaped", "Tensor"]
