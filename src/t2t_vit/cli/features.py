"""`t2t-vit features`: what a model sees in pictures, as numbers in a file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from t2t_vit.cli.model_options import BatchSize, Device, ModelName, Weights, weights_of


def features(
    images: Annotated[list[str], typer.Argument(help="Paths, URLs or folders of images.")],
    model: ModelName = None,
    pretrained: Weights = None,
    out: Annotated[Path, typer.Option(help="The file: .npz with the arrays `names` and `features`.")] = Path(
        "features.npz"
    ),
    stage: Annotated[
        Literal["neck", "backbone", "pre_logits"],
        typer.Option(help="In the form of --out-type (neck, backbone), or what goes into the head."),
    ] = "neck",
    out_type: Annotated[
        Literal["cls_token", "featmap", "avg_featmap", "raw"],
        typer.Option(help="The class token, the map of tokens, their average, or all tokens."),
    ] = "cls_token",
    device: Device = "auto",
    batch_size: BatchSize = 1,
) -> None:
    """Write the features of pictures into a file. Those that cannot be read are named, and make the status 1."""
    import numpy as np

    from t2t_vit.cli.progress import progress
    from t2t_vit.errors import ConfigError, ImageError
    from t2t_vit.inference import FeatureExtractor, list_inputs

    if out.suffix != ".npz":
        raise ConfigError(f"--out is {str(out)!r}; expected a file name that ends in .npz")
    sources = list_inputs(list(images))
    extractor = FeatureExtractor(model, weights_of(pretrained), device, out_type=out_type)
    unread: set[int] = set()

    def leave_out(position: int, error: ImageError) -> None:
        unread.add(position)
        typer.echo(f"error: {' '.join(str(error).split())}", err=True)

    def names() -> Any:
        return np.array([str(source) for position, source in enumerate(sources) if position not in unread])

    with progress("extracting features") as advance:

        def arrays() -> Any:
            on_error = leave_out if len(sources) > 1 else None
            for done, found in enumerate(extractor.stream(sources, batch_size, stage, on_error=on_error), 1):
                tensor = found[0] if isinstance(found, tuple) else found
                yield tensor.float().cpu().numpy()
                advance(done + len(unread), len(sources))
            if len(unread) == len(sources):
                raise ImageError(f"none of {len(sources)} images could be read; they are named above")

        shape = _write(out, arrays(), names)
    typer.echo(f"features {shape} of {shape[0]} images: {out}")
    if unread:
        raise ImageError(f"{len(unread)} of {len(sources)} images could not be read; they are named above")


def _write(out: Path, arrays: Any, names: Callable[[], Any]) -> tuple[int, ...]:
    """Write `arrays` of one shape, and then their `names`, to `out`; return the shape of all together."""
    import shutil
    import tempfile
    import zipfile

    import numpy as np
    from numpy.lib import format as npy

    from t2t_vit.files import written_whole

    # How many there are stands before the first of them, and is known after the last: they wait in a file.
    with written_whole(out) as temporary, tempfile.TemporaryFile(dir=temporary.parent) as values:
        count, one = 0, np.empty(0, np.float32)
        for one in arrays:
            values.write(np.ascontiguousarray(one).tobytes())
            count += 1
        values.seek(0)
        shape = (count, *one.shape)
        header = {"descr": npy.dtype_to_descr(one.dtype), "fortran_order": False, "shape": shape}
        with zipfile.ZipFile(temporary, "w") as archive:
            with archive.open("names.npy", "w") as member:
                npy.write_array(member, names())
            with archive.open("features.npy", "w", force_zip64=True) as member:
                npy.write_array_header_2_0(member, header)
                shutil.copyfileobj(values, member, 2**20)
    return shape
