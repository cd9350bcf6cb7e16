"""`t2t-vit verify-data`: find the images that cannot be read before a run does."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated, Literal

import typer

#: Images that are handed to the workers at a time.
_CHUNK = 1024

#: What an image is called, and what reads it.
_Image = tuple[str, Callable[[], object]]


def verify_data(
    source: Annotated[str, typer.Argument(metavar="PATH", help="Folder of images, searched below too; or a config.")],
    workers: Annotated[int, typer.Option(min=1, help="How many images are read at once.")] = 1,
    phase: Annotated[
        Literal["train", "val", "test"] | None, typer.Option(help="Which images of a config; default: all.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Write the names of the bad ones here, one a line.")] = None,
    cfg_options: Annotated[
        list[str] | None, typer.Option(help="Settings over the config's.", metavar="KEY=VALUE ...")
    ] = None,
) -> None:
    """Read every image in full and list those that cannot be; the status is 1 if there are any."""
    from t2t_vit.cli.progress import progress
    from t2t_vit.files import write_text

    images = _images_below(Path(source)) if Path(source).is_dir() else _images_of(source, phase, cfg_options)
    bad: list[str] = []
    with progress("reading images") as advance:
        for done, (name, problem) in enumerate(_read(images, workers), 1):
            advance(done, len(images))
            if problem is not None:
                bad.append(name)
                typer.echo(problem)
    typer.echo(f"{len(images)} images read, {len(bad)} of them cannot be used")
    if out is not None:
        write_text(out, "".join(f"{name}\n" for name in bad))
    if bad:
        raise typer.Exit(1)


def _read(images: list[_Image], workers: int) -> Iterator[tuple[str, str | None]]:
    """Yield each image's name and, if it is bad, one line that says why."""
    from t2t_vit.errors import ImageError

    def check(image: _Image) -> tuple[str, str | None]:
        name, read = image
        try:
            read()
        except (ImageError, OSError) as error:
            return name, " ".join(str(error).split())
        return name, None

    # Pillow decodes outside the interpreter's lock, so threads do; a chunk at a time keeps the queue short.
    with ThreadPoolExecutor(workers) as pool:
        for first in range(0, len(images), _CHUNK):
            yield from pool.map(check, images[first : first + _CHUNK])


def _images_below(folder: Path) -> list[_Image]:
    """Return the image files in `folder` and below it, hidden ones left out.

    Raises:
        DatasetError: There are none.
    """
    from functools import partial

    from t2t_vit.data.decode import SUFFIXES, decode
    from t2t_vit.errors import DatasetError

    paths = [
        path
        for path in sorted(folder.rglob("*"))
        if path.suffix.lower() in SUFFIXES
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
        and not path.is_dir()
    ]
    if not paths:
        raise DatasetError(f"no images in {str(folder)!r}; looked for {' '.join(SUFFIXES)} in it and below")
    return [(str(path), partial(decode, path)) for path in paths]


def _images_of(config: str, phase: str | None, cfg_options: list[str] | None) -> list[_Image]:
    """Return the training images of `config`, those of validation, or both."""
    from functools import partial

    from t2t_vit.cli.settings import read_config
    from t2t_vit.run import open_images

    experiment = read_config(config, cfg_options)
    splits = {"train": ["train"], "val": ["val"], "test": ["val"]}.get(phase or "", ["train", "val"])
    sets = [open_images(experiment.data, split, experiment.model.num_classes) for split in splits]
    return [(images.name(i), partial(images.load, i, "RGB")) for images in sets for i in range(len(images))]
