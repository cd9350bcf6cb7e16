"""`t2t-vit verify-data`: find what is wrong with images before a run does."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, Literal

import typer

if TYPE_CHECKING:
    from t2t_vit.config import Data
    from t2t_vit.data.verification import Entry, Findings

#: Of each kind of oddity, how many are shown; a file of --csv has all of them.
_SHOWN: Final = 5


def verify_data(
    source: Annotated[str, typer.Argument(metavar="PATH", help="Folder of images, searched below too; or a config.")],
    workers: Annotated[int, typer.Option(min=1, help="How many images are read at once.")] = 1,
    phase: Annotated[
        Literal["train", "val", "test"] | None, typer.Option(help="Which images of a config; default: all.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Write the names of the bad ones here, one a line.")] = None,
    csv: Annotated[Path | None, typer.Option(help="Write all that was found here, a line each.")] = None,
    cfg_options: Annotated[
        list[str] | None, typer.Option(help="Settings over the config's.", metavar="KEY=VALUE ...")
    ] = None,
) -> None:
    """Read every image in full; list the bad ones, duplicates, empty classes, odd sizes and modes.

    The status is 1 if an image cannot be used; the rest is for people to judge.
    """
    from t2t_vit.cli.progress import progress
    from t2t_vit.data.verification import Findings, entries_below, look_at
    from t2t_vit.files import write_text

    empty: list[tuple[str, str]] = []
    if Path(source).is_dir():
        entries, empty = entries_below(Path(source))
    else:
        _check_is_config(source)
        entries = _entries_of(source, phase, cfg_options)
    findings = Findings()
    with progress("reading images") as advance:
        for done, seen in enumerate(look_at(entries, workers), 1):
            advance(done, len(entries))
            findings.add(seen)
            if seen.problem is not None:
                typer.echo(seen.problem)
    findings.add_empty_classes(empty)
    bad = findings.of("bad")
    typer.echo(f"{findings.num_images} images read, {len(bad)} of them cannot be used")
    for line in _report(findings):
        typer.echo(line)
    if out is not None:
        write_text(out, "".join(f"{oddity.name}\n" for oddity in bad))
    if csv is not None:
        _write_csv(findings, csv)
    if bad:
        raise typer.Exit(1)


def _check_is_config(source: str) -> None:
    """Refuse a name of nothing; who meant a folder is not helped by a list of all configs."""
    from t2t_vit.config import shipped_configs
    from t2t_vit.errors import ConfigError, nearest
    from t2t_vit.model_index import registered

    configs = {*shipped_configs(), *registered()}
    path = Path(source)
    if path.exists() or path.stem in configs or source.lower() in configs:
        return
    folders = [str(p) for p in path.parent.iterdir() if p.is_dir()] if path.parent.is_dir() else []
    raise ConfigError(f"there is no folder and no config {source!r}.{nearest(source, [*folders, *configs])}")


def _report(findings: Findings) -> list[str]:
    """Return what is odd, counted, with the first few of each kind."""
    from t2t_vit.data.verification import ELONGATED, TINY, USUAL_MODES

    headings = {
        "empty class": "class folders without images",
        "missing class": "classes that are not in every split",
        "leak": "images of one split that are in another, too, byte for byte",
        "duplicate": "images that are twice in their split, byte for byte",
        "contradiction": "images that are in two classes",
        "tiny": f"images with a side below {TINY} pixels",
        "elongated": f"images more than {ELONGATED:g} times as long as wide",
        "mode": f"images of unusual modes (others than {', '.join(sorted(USUAL_MODES))})",
    }
    lines = []
    for kind, heading in headings.items():
        found = findings.of(kind)
        if found:
            lines.append(f"{len(found)} {heading}:")
            for oddity in found[:_SHOWN]:
                what = oddity.name or "/".join(filter(None, (oddity.split, oddity.label)))
                lines.append(f"  {what}: {_detail(kind, oddity.detail)}")
            if len(found) > _SHOWN:
                lines.append(f"  and {len(found) - _SHOWN} more; --csv FILE has all")
    if findings.smallest is not None and findings.largest is not None:
        modes = ", ".join(f"{count} {mode}" for mode, count in findings.modes.most_common())
        small, large = (f"{width} x {height}" for width, height in (findings.smallest, findings.largest))
        lines.append(f"sizes from {small} to {large} pixels; modes: {modes}")
    return lines


def _detail(kind: str, detail: str) -> str:
    return f"as {detail}" if kind in ("leak", "duplicate") else detail


def _write_csv(findings: Findings, path: Path) -> None:
    import csv

    from t2t_vit.data.verification import Oddity
    from t2t_vit.files import written_whole

    with (
        written_whole(path) as temporary,
        temporary.open("w", encoding="utf-8", errors="surrogateescape", newline="") as file,
    ):
        writer = csv.writer(file)
        writer.writerow(Oddity._fields)
        writer.writerows(findings.oddities)


def _entries_of(config: str, phase: str | None, cfg_options: list[str] | None) -> list[Entry]:
    """Return the training images of `config`, those of validation, or both, with the classes that a run gives them."""
    from t2t_vit.cli.settings import read_config
    from t2t_vit.data.verification import entries_of
    from t2t_vit.run import open_images

    experiment = read_config(config, cfg_options)
    data, num_classes = experiment.data, experiment.model.num_classes
    if phase == "train":
        return entries_of(open_images(data, "train", num_classes), "train")
    entries: list[Entry] = []
    classes: Sequence[str] | None
    if phase is None:
        images = open_images(data, "train", num_classes)
        entries, classes = entries_of(images, "train"), images.classes
    else:
        classes = _classes_trained_on(data, num_classes)
    num_classes = num_classes if classes is None else len(classes)
    return entries + entries_of(open_images(data, "val", num_classes, classes), "val")


def _classes_trained_on(data: Data, num_classes: int | None) -> Sequence[str] | None:
    """Return the classes of the training images, or None where those are not at hand."""
    from t2t_vit.errors import ConfigError, DatasetError
    from t2t_vit.run.images import open_images, open_stream

    with suppress(ConfigError, DatasetError):
        if data.streaming:
            return open_stream(data, num_classes).classes
        return open_images(data, "train", num_classes).classes
    return None
