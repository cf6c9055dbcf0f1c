"""Our own Triton kernels; the extra `triton` brings what they need.

Nothing here is imported before it is used: modules whose names end in `_kernels` import Triton.
"""
