"""Block-sparse attention: its pattern, and that it is dense attention under that pattern."""

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from alphafold2_pytorch.config import Runtime
from alphafold2_pytorch.ops import Attend, SparseAttend, set_runtime
from alphafold2_pytorch.ops.backends import BACKENDS, flex
from alphafold2_pytorch.ops.sparse import BLOCK, block_table

LENGTHS = [1, 16, 37, 64, 100]


def inputs(n: int, rows: int = 2, dtype=torch.float64, width: int = 4):
    """Queries, keys, values, and a mask with one row that keeps nothing."""
    q, k, v = (torch.randn(2, rows, 2, n, width, dtype=dtype) for _ in range(3))
    mask = torch.rand(2, rows, n) > 0.3
    mask[0, -1] = False
    return q.requires_grad_(), k.requires_grad_(), v.requires_grad_(), mask


def dense(q, k, v, mask):
    """Softmax over all keys, those outside the pattern or the mask at minus infinity."""
    n = q.shape[-2]
    table = block_table(n)
    seen = torch.tensor([[bool(table[i // BLOCK, j // BLOCK]) for j in range(n)] for i in range(n)])
    keep = seen & mask[:, :, None, None]
    logits = q @ k.mT / q.shape[-1] ** 0.5
    weights = logits.masked_fill(~keep, -torch.inf).softmax(-1)
    return torch.where(keep.any(-1, keepdim=True), weights, 0.0) @ v


def test_the_pattern_is_local_global_and_strided():
    table = block_table(40 * BLOCK)
    assert table[20].nonzero()[:, 0].tolist() == [0, 4, 12, 16, 19, 20, 21, 24, 28, 36]
    assert table[0].all() and table[:, 0].all()
    assert torch.equal(table, table.T)


@pytest.mark.parametrize("length", [1, 15, 16, 17, 200])
def test_the_pattern_does_not_depend_on_what_comes_after(length):
    table = block_table(length)
    assert len(table) == -(-length // BLOCK)
    assert torch.equal(table, block_table(1000)[: len(table), : len(table)])


def test_blocks_are_skipped_from_64_positions_on_and_work_grows_slower_than_length():
    assert int(block_table(64).sum()) == 14  # of 16
    assert int(block_table(1024).sum()) == 698  # of 4096
    for blocks in (4, 16, 64, 256):
        most = block_table(blocks * BLOCK)[1:].sum(-1).max()
        assert most <= 2 + 2 * torch.tensor(blocks).log2()


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("name", sorted(BACKENDS.entries))
def test_output_and_gradients_are_those_of_dense_attention_with_the_patterns_mask(length, name):
    q, k, v, mask = inputs(length)
    if (refusal := BACKENDS[name].refuses(q, k, v, None, mask, 0.0)) is not None:
        pytest.skip(f"{name}: {refusal}")
    attend = SparseAttend()
    set_runtime(attend, Runtime(attention=name))
    sparse, expected = attend(q, k, v, None, mask), dense(q, k, v, mask)
    torch.testing.assert_close(sparse, expected, rtol=1e-9, atol=1e-9)
    direction = torch.randn_like(sparse)
    found = torch.autograd.grad(sparse, (q, k, v), direction)
    torch.testing.assert_close(
        found, torch.autograd.grad(expected, (q, k, v), direction), rtol=1e-9, atol=1e-9
    )


def test_without_a_mask_all_keys_of_the_pattern_count():
    q, k, v, mask = inputs(70)
    everything = torch.ones_like(mask)
    torch.testing.assert_close(SparseAttend()(q, k, v), dense(q, k, v, everything))


def test_gradients_are_those_of_finite_differences():
    q, k, v, mask = inputs(66, rows=1, width=1)
    attend = SparseAttend()
    short = [x[:1, :, :1].detach().requires_grad_() for x in (q, k, v)]
    assert torch.autograd.gradcheck(lambda *x: attend(*x, None, mask[1:]), short, fast_mode=True)


def test_a_block_outside_the_pattern_is_not_even_read():
    """Values that are not numbers would spread through a dense product with weight zero."""
    q, k, v, mask = (x.detach() for x in inputs(64))
    mask[:] = True
    k[..., 3 * BLOCK :, :], v[..., 3 * BLOCK :, :] = torch.nan, torch.nan
    out = SparseAttend()(q, k, v, None, mask)
    seen = block_table(64)[:, 3]
    assert seen.tolist() == [True, False, True, True]
    for i, reads in enumerate(seen.tolist()):
        assert out[..., i * BLOCK : (i + 1) * BLOCK, :].isnan().any() == reads


def test_products_are_as_large_as_the_pattern_says():
    from torch.utils.flop_counter import FlopCounterMode

    def flops(attend, n):
        q = torch.randn(1, 1, 1, n, 4)
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            attend(q, q, q)
        return counter.get_total_flops()

    for n in (64, 128, 512):
        share = block_table(n).float().mean().item()
        assert flops(SparseAttend(), n) == pytest.approx(share * flops(Attend(), n))


def test_rows_in_pieces_give_the_same_numbers():
    q, k, v, mask = inputs(50, rows=3)
    attend = SparseAttend()
    with torch.no_grad():
        whole = attend(q, k, v, None, mask)
        set_runtime(attend, Runtime(chunk_bytes=1))
        torch.testing.assert_close(attend(q, k, v, None, mask), whole)


def test_the_backward_pass_keeps_no_gathered_keys():
    q, k, v, mask = inputs(128)
    mask[:] = True  # else what is kept has zero rows to multiply with
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda x: kept.append(x) or x, lambda x: x):
        SparseAttend()(q, k, v, None, mask)
    assert sum(x.numel() for x in kept if x.is_floating_point()) <= 2 * q.numel()


def test_dropout_falls_on_training_only_and_is_the_same_when_recomputed():
    q, k, v, mask = inputs(48)
    attend = SparseAttend(0.5)
    out = attend(q, k, v, None, mask)
    assert not torch.equal(out, attend(q, k, v, None, mask))
    ones = torch.ones_like(v, requires_grad=True)
    out = attend(q, k, ones, None, mask)  # linear in the values: the gradient gives it back
    [grad] = torch.autograd.grad(out.sum(), ones)
    torch.testing.assert_close(grad.sum(), out.sum())
    attend.eval()
    torch.testing.assert_close(attend(q, k, v, None, mask), dense(q, k, v, mask))


def test_a_pair_bias_is_refused():
    q, k, v, _ = inputs(16)
    with pytest.raises(ValueError, match="takes no pair bias"):
        SparseAttend()(q, k, v, q.new_zeros(2, 2, 16, 16))


def test_the_gpu_kernel_says_why_it_refuses():
    q, k, v, mask = inputs(16)
    assert flex.refuses_blocks(q, k, v, mask, 0.0) == "it runs on CUDA only"

    def on_gpu(width: int = 32, dropout: float = 0.0, dtype=torch.float32):
        with FakeTensorMode():  # a GPU's tensor without a GPU
            q = torch.empty(1, 1, 1, 64, width, dtype=dtype, device="cuda", requires_grad=True)
            return flex.refuses_blocks(q, q, q, mask, dropout)

    assert on_gpu() is None
    assert "no dropout" in on_gpu(dropout=0.1)
    assert "16 to 256 wide, got 8" in on_gpu(width=8)
    assert "no torch.float64" in on_gpu(dtype=torch.float64)
    assert "half precision" in on_gpu(dtype=torch.bfloat16)
    with torch.no_grad():
        assert on_gpu(dtype=torch.bfloat16) is None


def test_flex_attention_asked_for_by_name_never_falls_back():
    attend = SparseAttend()
    set_runtime(attend, Runtime(attention="flex"))
    q, k, v, mask = inputs(16)
    with pytest.raises(ValueError, match="'flex' refuses these blocks: it runs on CUDA only"):
        attend(q, k, v, None, mask)


@pytest.mark.parametrize("length", LENGTHS)
def test_the_block_mask_of_the_gpu_kernel_is_the_table(length):
    table = block_table(length)
    keep = torch.ones(3, length, dtype=torch.bool)
    mask = flex.make_block_mask(keep, table, BLOCK)
    assert mask.shape[-2:] == (length, length)
    assert torch.equal(mask.to_dense()[0, 0].bool(), table)
    assert torch.equal(mask.q_num_blocks[0, 0], table.sum(0))


@pytest.mark.compile
@pytest.mark.parametrize("length", LENGTHS)
def test_the_gpu_kernels_definition_agrees_on_a_cpu(length):
    q, k, v, mask = (x.detach() for x in inputs(length, dtype=torch.float32))
    out = flex.run_blocks(q, k, v, mask, block_table(length), BLOCK, compiled=False)
    torch.testing.assert_close(out, dense(q, k, v, mask), rtol=1e-4, atol=1e-5)


@pytest.mark.gpu
@pytest.mark.compile
@pytest.mark.parametrize("length", [64, 100, 512])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_gpu_kernel_agrees(length, dtype):
    """pytest -o addopts= -m gpu tests/test_sparse.py"""
    q, k, v, mask = (x.detach().cuda() for x in inputs(length, dtype=torch.float32, width=32))
    attend, gathered = SparseAttend(), SparseAttend()
    set_runtime(gathered, Runtime(attention="reference"))
    far = {torch.float32: 1e-4, torch.bfloat16: 3e-2}[dtype]
    with torch.no_grad():
        low = [x.to(dtype) for x in (q, k, v)]
        assert flex.refuses_blocks(*low, mask, 0.0) is None
        expected = gathered(q, k, v, None, mask)
        torch.testing.assert_close(attend(*low, None, mask).float(), expected, rtol=far, atol=far)
    low = [x.requires_grad_() for x in low]
    assert (flex.refuses_blocks(*low, mask, 0.0) is None) == (dtype == torch.float32)
    found = torch.autograd.grad(attend(*low, None, mask).square().sum(), low)
    high = [x.clone().requires_grad_() for x in (q, k, v)]
    expected = torch.autograd.grad(gathered(*high, None, mask).square().sum(), high)
    for left, right in zip(found, expected, strict=True):
        torch.testing.assert_close(left.float(), right, rtol=10 * far, atol=10 * far)
