"""What a loading process frees, it keeps for the next image."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

from t2t_vit.data import freed_memory

COUNT = """
import resource, sys
import numpy as np
from t2t_vit.data.freed_memory import keep_freed_memory
if {keep}:
    keep_freed_memory()

def work():
    buffers = [np.ones(100_000) for _ in range(6)]  # 800 KB each, as a view of floats

work()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(50):
    work()
print((resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before) / 50)
"""


def faults(keep):
    """Pages that the system hands out anew for 4.8 MB of buffers."""
    done = subprocess.run([sys.executable, "-c", COUNT.format(keep=keep)], capture_output=True, text=True, check=True)
    return float(done.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc has these settings")
def test_buffers_are_reused():
    assert faults(keep=False) > 200
    assert faults(keep=True) < 20


def test_other_c_libraries_are_left_alone(monkeypatch):
    monkeypatch.setattr(freed_memory.platform, "libc_ver", lambda: ("", ""))
    monkeypatch.setattr(freed_memory.ctypes, "CDLL", None)  # a call would be an error
    freed_memory.keep_freed_memory()
