"""Random numbers of whole batches that belong to each sample: equal for it in whatever batch and process it is drawn.

B batch.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def uniform(key: Sequence[int], samples: Sequence[int], count: int) -> NDArray[np.float64]:
    """Return `count` numbers in [0, 1) for each of `samples`, (B, count), that depend on `key` and the sample alone.

    Source: the mixing function of SplitMix64 (Steele, Lea and Flood, OOPSLA 2014), as a hash of counters.
    """
    digest = hashlib.blake2b(" ".join(map(str, key)).encode(), digest_size=8).digest()
    first = np.uint64(int.from_bytes(digest, "little"))
    states = _mixed(first + np.asarray(samples, np.uint64) * _GOLDEN)  # (B,)
    values = _mixed(states[:, None] + np.arange(1, count + 1, dtype=np.uint64) * _GOLDEN)
    return (values >> np.uint64(11)).astype(np.float64) * 2.0**-53


def _mixed(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))
