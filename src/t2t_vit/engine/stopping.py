"""Signals that ask a run to stop, heard at the end of a step."""

from __future__ import annotations

import signal
import time
from types import FrameType, TracebackType
from typing import Any, Self

_SIGNALS = [s for s in ("SIGINT", "SIGTERM", "SIGUSR1") if hasattr(signal, s)]


class TrainingStopped(BaseException):
    """A run ended early because it was asked to; its checkpoint is written.

    Attributes:
        status: Exit status that says so: 130 after Ctrl-C, else 143.
    """

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


class StopRequest:
    """Remembers the first stop signal while in its `with` block; a second Ctrl-C a second later interrupts at once."""

    def __init__(self) -> None:
        self.signal: int | None = None
        self._heard = 0.0
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> Self:
        for name in _SIGNALS:
            number = getattr(signal, name)
            self._previous[number] = signal.signal(number, self._hear)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    @property
    def status(self) -> int:
        """Exit status for the signal that was heard."""
        return 130 if self.signal == signal.SIGINT else 143

    def _hear(self, number: int, _: FrameType | None) -> None:
        if self.signal is None:
            self.signal, self._heard = number, time.monotonic()
        # torchrun sends on what the terminal has sent already: within a second it is the same Ctrl-C.
        elif number == signal.SIGINT and time.monotonic() - self._heard > 1:
            raise KeyboardInterrupt
