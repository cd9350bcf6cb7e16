"""Images of a run that cannot be read: counted, listed, and too many of them end it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from t2t_vit.data.views import BadImage
from t2t_vit.errors import TrainingError
from t2t_vit.files import write_text


class BadImages:
    """The bad training images of a run, each once, in `bad_images.txt`: name, tab, reason.

    Args:
        folder: The work folder.
        num_images: Training images in all.
        limit: Part of them that may be bad. One may always, unless this is 0.
        active: Whether this process is the one that writes.
    """

    def __init__(self, folder: Path, num_images: int, limit: float, *, active: bool) -> None:
        self.path = folder / "bad_images.txt"
        self.num_images = num_images
        self.allowed = max(1, int(limit * num_images)) if limit else 0
        self.active = active
        self._reasons: dict[str, str] = {}

    def add(self, images: Iterable[BadImage]) -> list[BadImage]:
        """Note `images` and return those that are new."""
        new = [image for image in dict(images).items() if image[0] not in self._reasons]
        self._reasons.update(new)
        if new:
            self._write()
        return [BadImage(*image) for image in new]

    def check(self) -> None:
        """Go on, unless there are too many.

        Raises:
            TrainingError: There are.
        """
        count = len(self._reasons)
        if count > self.allowed:
            name, reason = next(reversed(self._reasons.items()))
            raise TrainingError(
                f"{count} of {self.num_images} training images cannot be read, more than the {self.allowed} that "
                f"data.bad_images_limit allows; they are listed in {self.path}, the last is {name} ({reason}); mend or "
                "remove them (`t2t-vit verify-data` finds all), or raise the limit"
            )

    def state(self) -> dict[str, str]:
        """Return what a run that goes on has to know."""
        return dict(self._reasons)

    def load_state(self, reasons: Mapping[str, str]) -> None:
        """Know what an earlier part of the run found, and nothing that it found later."""
        self._reasons = dict(reasons)
        self._write()

    def _write(self) -> None:
        if self.active and self._reasons:
            write_text(self.path, "".join(f"{name}\t{reason}\n" for name, reason in self._reasons.items()))
        elif self.active:
            self.path.unlink(missing_ok=True)
