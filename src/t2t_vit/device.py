"""From a user's word for a device to the device."""

from __future__ import annotations

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
