"""Memory that is freed is used again."""

from __future__ import annotations

import subprocess
import sys

import pytest

# As many threads as there are arenas by default allocate at once, and say in how many heaps malloc's memory lies.
PROGRAM = """
import ctypes, os, sys, tempfile, threading
from predictor.allocator import limit_arenas
if sys.argv[1] == "limited":
    assert limit_arenas()
ready = threading.Barrier(8)
def allocate():
    ready.wait()
    kept = [os.urandom(2000) for _ in range(100)]
    ready.wait()
threads = [threading.Thread(target=allocate) for _ in range(8)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
libc = ctypes.CDLL(None)
libc.fopen.restype = ctypes.c_void_p
with tempfile.NamedTemporaryFile() as file:
    stream = ctypes.c_void_p(libc.fopen(file.name.encode(), b"w"))
    libc.malloc_info(0, stream)
    libc.fclose(stream)
    print(file.read().count(b"<heap nr="))
"""


def arenas(how: str) -> int:
    """How many arenas a process of eight threads has."""
    out = subprocess.run([sys.executable, "-c", PROGRAM, how], check=True, capture_output=True, text=True).stdout
    return int(out)


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's malloc is Linux's alone")
def test_threads_share_two_arenas() -> None:
    """Each would have its own otherwise."""
    assert arenas("limited") == 2
    assert arenas("as it is") > 2


# Blocks of 8 MB come and go, as the bodies of large requests do; pages that were not there before are counted.
BLOCKS = """
import resource, sys
from predictor.allocator import keep_large_blocks
if sys.argv[1] == "kept":
    assert keep_large_blocks()
for count in range(30):
    if count == 10:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    blocks = [bytes(range(256)) * (32 << 10) for _ in range(2)]
    del blocks
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def page_faults(how: str) -> int:
    """How many pages the kernel had to bring for blocks of which the like were freed before."""
    out = subprocess.run([sys.executable, "-c", BLOCKS, how], check=True, capture_output=True, text=True).stdout
    return int(out)


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's malloc is Linux's alone")
def test_large_blocks_are_used_again() -> None:
    assert page_faults("kept") < 1000
    assert page_faults("as it is") > 10_000
