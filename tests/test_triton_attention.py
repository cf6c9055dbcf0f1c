"""Attention by our Triton kernels agrees with plain PyTorch, in Triton's interpreter."""

import pytest
import torch
from triton_kit import CASES, check_compiled, check_errors, lines_of, needs_triton

from alphafold2_pytorch.ops.kernels.attention import attend, limits

KERNELS = {"forward", "output_dots", "backward_queries", "backward_keys", "backward_bias"}


@pytest.fixture(scope="session")
def found(tmp_path_factory):
    lines = lines_of(tmp_path_factory, "run_triton.py", "attention")
    return {line["case"]: line["found"] for line in lines}


@needs_triton
@pytest.mark.parametrize("case", CASES["attention"])
def test_output_and_gradients_are_as_good_as_plain_pytorchs(found, case):
    check_errors(found[case])


@needs_triton
def test_autograd_keeps_the_inputs_and_one_output(found):
    sizes = found["bytes"]
    assert sizes["kept"] <= sizes["inputs"] + sizes["found"]


@needs_triton
@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_every_kernel_compiles_for_an_h100(tmp_path_factory, dtype):
    check_compiled(lines_of(tmp_path_factory, "compile_triton.py", "attention", dtype), KERNELS)


@needs_triton
def test_a_row_without_keys_gives_zero_and_zero_gradients(found):
    assert found["no keys"]["empty"] == [0] * 4
    assert all(found["no keys"]["others"])


def test_what_the_kernels_cannot_take_is_told():
    q = torch.zeros(1, 2, 3, 4, 128)
    assert limits(q) is None
    assert "float64" in limits(q.double())
    assert "129" in limits(torch.zeros(1, 2, 3, 4, 129))
    with pytest.raises(ValueError, match="at most 128"):
        attend(*3 * [torch.zeros(1, 2, 3, 4, 129)])
    with pytest.raises(ValueError, match="one dtype"):
        attend(q, q, q.half())
