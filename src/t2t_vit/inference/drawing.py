"""Predictions shown to people: one picture an image, in a folder or in a window."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from PIL import Image

from t2t_vit.data.url import is_url
from t2t_vit.errors import ConfigError
from t2t_vit.files import written_whole
from t2t_vit.inference.inputs import ImageInput

#: Draws the picture at a position among the others, with its predicted class and score.
Draw = Callable[[int, Image.Image, str, float], None]

_MAX_NAME_BYTES = 200  # file systems take 255, of which the suffix and a temporary name need some


@dataclass(frozen=True, kw_only=True)
class Drawing:
    """Where and how pictures are shown with their predictions.

    Attributes:
        show_dir: Folder of a PNG for each image; None: none is written.
        show: Whether each is shown in a window.
        wait_time: Seconds that each window stays; 0: until it is closed.
        resize: Short edge of the picture in pixels; None: as `rescale_factor` says.
        rescale_factor: What the picture's sides are multiplied by; None: it keeps its size, a tiny one is enlarged.
        draw_score: Whether the score stands beside the class.

    Raises:
        ConfigError: A number is out of range.
    """

    show_dir: str | Path | None
    show: bool
    wait_time: float
    resize: int | None
    rescale_factor: float | None
    draw_score: bool

    def __post_init__(self) -> None:
        if self.show_dir is not None:
            object.__setattr__(self, "show_dir", os.path.expanduser(self.show_dir))  # noqa: PTH111 -- any ~x may be
        if self.resize is not None and not (_is_number(self.resize, int) and self.resize >= 1):
            raise ConfigError(f"resize is {self.resize!r}; expected the short edge in pixels, 1 or more")
        if self.rescale_factor is not None and not (_is_number(self.rescale_factor) and self.rescale_factor > 0):
            raise ConfigError(f"rescale_factor is {self.rescale_factor!r}; expected a number above 0")
        if not (_is_number(self.wait_time) and self.wait_time >= 0):
            raise ConfigError(f"wait_time is {self.wait_time!r}; expected seconds, 0 or more")

    @property
    def is_wanted(self) -> bool:
        """Whether there is anything to draw."""
        return self.show or self.show_dir is not None

    @contextmanager
    def pen(self, sources: Sequence[ImageInput]) -> Iterator[Draw]:
        """Give what draws the pictures of `sources`.

        Raises:
            ConfigError: There is no screen, `show_dir` is no folder, or a picture would overwrite an image.
        """
        titles = picture_names(sources)
        files = [Path(self.show_dir) / f"{title}.png" for title in titles] if self.show_dir is not None else []
        _check_files(self.show_dir, files, sources)
        if self.show:
            from t2t_vit.visualization.window import check_screen

            check_screen()

        def draw(position: int, image: Image.Image, predicted_class: str, score: float) -> None:
            picture = self._picture(image, predicted_class, score)
            if files:
                with written_whole(files[position]) as temporary:
                    picture.save(temporary)
            if self.show:
                from t2t_vit.visualization.window import show_picture

                show_picture(picture, titles[position], self.wait_time)

        yield draw

    def _picture(self, image: Image.Image, predicted_class: str, score: float) -> Image.Image:
        from t2t_vit.visualization.predictions import caption, draw_prediction, rescale, score_line

        lines = [score_line(predicted_class, score) if self.draw_score else predicted_class]
        if self.resize is not None:
            return caption(rescale(image, self.resize / min(image.size)), lines)
        if self.rescale_factor is not None:
            return caption(rescale(image, self.rescale_factor), lines)
        return draw_prediction(image, lines)


def picture_names(sources: Sequence[ImageInput]) -> list[str]:
    """Return a name for each of `sources`, without a suffix and none of them twice.

    A file's is its own; what has none is numbered by its position. Letters that some file system refuses become "_".
    """
    taken: set[str] = set()
    repeats: dict[str, int] = {}
    names = []
    for i, source in enumerate(sources):
        stem = name = _stem(source) or str(i)
        while name.casefold() in taken:  # file systems may take A and a for one
            repeats[stem] = repeats.get(stem, 0) + 1
            name = f"{stem}_{repeats[stem]}"
        taken.add(name.casefold())
        names.append(name)
    return names


def _stem(source: ImageInput) -> str:
    if is_url(source):
        try:
            stem = Path(unquote(urlsplit(str(source)).path)).stem
        except ValueError:  # no address at all, which is told when it is read
            return ""
    elif isinstance(source, str | Path):
        stem = Path(source).stem
    else:
        return ""
    stem = re.sub(r'[\x00-\x1f/\\:*?"<>|]', "_", stem)
    encoded = stem.encode("utf-8", "surrogateescape")
    return stem if len(encoded) <= _MAX_NAME_BYTES else encoded[:_MAX_NAME_BYTES].decode("utf-8", "ignore")


def _check_files(folder: str | Path | None, files: Sequence[Path], sources: Sequence[ImageInput]) -> None:
    if folder is not None and Path(folder).exists() and not Path(folder).is_dir():
        raise ConfigError(f"show_dir is {str(folder)!r}, which is a file; expected a folder")
    file = overwritten(files, sources)
    if file is not None:
        raise ConfigError(f"show_dir is {str(folder)!r}, where {file.name} is one of the images; name another folder")


def overwritten(files: Sequence[Path], sources: Sequence[ImageInput]) -> Path | None:
    """Return the first of `files` that is one of the images `sources`, None if there is none."""
    paths = (os.path.expanduser(s) for s in sources if isinstance(s, str | Path) and not is_url(s))  # noqa: PTH111
    # By what the file system takes for one file: to some, A.png and a.png are.
    originals = {_identity(path) for path in paths} - {None}
    return next((file for file in files if _identity(file) in originals), None)


def _identity(path: str | Path) -> tuple[int, int] | None:
    """Return what tells the file at `path` from all others, None if there is none."""
    try:
        status = os.stat(path)  # noqa: PTH116 -- of a text, too
    except (OSError, ValueError):
        return None
    return status.st_dev, status.st_ino


def _is_number(value: object, kind: type | tuple[type, ...] = (int, float)) -> bool:
    return isinstance(value, kind) and not isinstance(value, bool) and math.isfinite(value)  # type: ignore[arg-type]
