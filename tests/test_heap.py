"""Freed memory kept for the next tensor: counted by the pages that the system has to give."""

import subprocess
import sys

import pytest

SCRIPT = """
import ctypes, resource, sys
from alphafold2_pytorch import keep_freed_memory

if sys.argv[1] == "keep" and not keep_freed_memory():
    sys.exit("no glibc")
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
libc.free.argtypes = [ctypes.c_void_p]
size = 16 * 2**20

def use():
    blocks = [libc.malloc(size) for _ in range(6)]
    for block in blocks:
        ctypes.memset(block, 1, size)
    for block in blocks:
        libc.free(block)

use(), use()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(4):
    use()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def pages(word: str) -> int:
    """How many pages the system gave while blocks of 16 MiB came and went."""
    done = subprocess.run([sys.executable, "-c", SCRIPT, word], capture_output=True, text=True)
    if done.stderr.strip() == "no glibc":
        pytest.skip("the C library has no mallopt")
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="counts pages as Linux does")
def test_freed_memory_is_kept_and_importing_alone_does_not_ask_for_that():
    assert pages("keep") < 1000 < pages("leave")
