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


ROOM = r"""
import ctypes, re, sys
from pathlib import Path
from alphafold2_pytorch.heap import LARGEST, keep_freed_memory, make_room

def held():
    return 1024 * int(re.search(r"VmRSS:\s+(\d+) kB", Path("/proc/self/status").read_text())[1])

if not keep_freed_memory():
    sys.exit("no glibc")
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
libc.free.argtypes = [ctypes.c_void_p]
blocks = [libc.malloc(16 * 2**20) for _ in range(6)]
for block in blocks:
    ctypes.memset(block, 1, 16 * 2**20)
for block in blocks:
    libc.free(block)
before = held()
make_room(LARGEST - 1)
same = held()
make_room(LARGEST)
print((before - same) // 2**20, (before - held()) // 2**20)
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


def test_settings_of_the_environment_are_left_alone(monkeypatch):
    monkeypatch.setenv("MALLOC_MMAP_THRESHOLD_", "65536")
    script = "from alphafold2_pytorch import keep_freed_memory as keep; print(keep())"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout.strip() == "False", done.stderr


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc/self/status")
def test_what_is_kept_goes_back_before_tensors_that_cannot_lie_in_it():
    done = subprocess.run([sys.executable, "-c", ROOM], capture_output=True, text=True)
    if done.stderr.strip() == "no glibc":
        pytest.skip("the C library has no mallopt")
    small, large = map(int, done.stdout.split())
    assert small < 5 and large > 85, done.stdout + done.stderr
