"""The one door to kernels: parameter-free operations, each run the way `Runtime` says."""

from alphafold2_pytorch.ops.attention import Attend, TiedAttend
from alphafold2_pytorch.ops.empty import set_empty
from alphafold2_pytorch.ops.explain import explain
from alphafold2_pytorch.ops.outer import OuterProduct
from alphafold2_pytorch.ops.runtime import Operation, set_runtime
from alphafold2_pytorch.ops.sparse import SparseAttend
from alphafold2_pytorch.ops.triangle import TriangleUpdate, TriangleWeights

__all__ = [
    "Attend",
    "Operation",
    "OuterProduct",
    "SparseAttend",
    "TiedAttend",
    "TriangleUpdate",
    "TriangleWeights",
    "explain",
    "set_empty",
    "set_runtime",
]
