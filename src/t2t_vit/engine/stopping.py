"""Signals that ask a run to stop: at once before its first step, and then at the end of a step."""

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
    """Hears stop signals while in its `with` block.

    At first one ends the run at once, as there is nothing to save. After `remember` the first is remembered for the end
    of a step, and a second Ctrl-C a second later interrupts at once.
    """

    def __init__(self) -> None:
        self.signal: int | None = None
        self._remembers = False
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

    def remember(self) -> None:
        """From now on, leave it to the run to look for a signal."""
        self._remembers = True

    @property
    def status(self) -> int:
        """Exit status for the signal that was heard."""
        return 130 if self.signal == signal.SIGINT else 143

    def _hear(self, number: int, _: FrameType | None) -> None:
        if self.signal is None:
            self.signal, self._heard = number, time.monotonic()
            if not self._remembers:
                raise TrainingStopped("stopped before the first step; nothing is lost", self.status)
        # torchrun sends on what the terminal has sent already: within a second it is the same Ctrl-C.
        elif number == signal.SIGINT and time.monotonic() - self._heard > 1:
            raise KeyboardInterrupt
