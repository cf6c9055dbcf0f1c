"""The dot product of tiles, as all kernels call it."""

from typing import no_type_check

import triton
import triton.language as tl


@triton.jit
@no_type_check  # as it stands: Triton reads the function's source and globals
def dot(a, b, found, PRECISION: tl.constexpr):
    """found + a b, summed in float32; `b` is rounded to the dtype of `a`, or the other way round
    where `a` is a float32 result and `b` came from memory."""
    if a.dtype != b.dtype:
        if a.dtype == tl.float32:
            a = a.to(b.dtype)
        else:
            b = b.to(a.dtype)
    if PRECISION == "widened":  # the interpreter multiplies the bits of bfloat16 as integers
        a = a.to(tl.float32)
        b = b.to(tl.float32)
        return tl.dot(a, b, found, input_precision="ieee")
    return tl.dot(a, b, found, input_precision=PRECISION)
