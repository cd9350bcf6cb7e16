"""From a user's word for a device to the device, and what memory it has left."""

from __future__ import annotations

from pathlib import Path

import torch

from t2t_vit.errors import DeviceError


def find_device(device: str | torch.device | None) -> torch.device:
    """Return the device called `device`: `auto` is a GPU if there is one, None the CPU.

    Raises:
        DeviceError: There is no such device here.
    """
    if device is None:
        return torch.device("cpu")
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        found = torch.device(device)
        torch.empty(0, device=found)
    except (RuntimeError, AssertionError, NotImplementedError, TypeError) as error:
        reason = str(error).splitlines()[0]
        raise DeviceError(f"device {str(device)!r} cannot be used here ({reason}); try 'cpu' or 'auto'") from None
    return found


def free_memory(device: torch.device) -> int | None:
    """Return the bytes that are free where `device` computes; None if the system does not tell."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        available = next(line for line in lines if line.startswith("MemAvailable:"))
        return int(available.split()[1]) * 1024
    except (OSError, StopIteration, ValueError, IndexError):
        return None
