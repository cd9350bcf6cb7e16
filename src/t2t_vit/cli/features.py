"""`t2t-vit features`: what a model sees in pictures, as numbers in a file."""

from __future__ import annotations

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
    """Write the features of pictures into a file."""
    import numpy as np

    from t2t_vit.cli.progress import progress
    from t2t_vit.errors import ConfigError
    from t2t_vit.inference import FeatureExtractor, list_inputs

    if out.suffix != ".npz":
        raise ConfigError(f"--out is {str(out)!r}; expected a file name that ends in .npz")
    sources = list_inputs(list(images))
    extractor = FeatureExtractor(model, weights_of(pretrained), device, out_type=out_type)
    with progress("extracting features") as advance:

        def arrays() -> Any:
            for done, found in enumerate(extractor.stream(sources, batch_size, stage), 1):
                tensor = found[0] if isinstance(found, tuple) else found
                yield tensor.float().cpu().numpy()
                advance(done, len(sources))

        shape = _write(out, np.array([str(source) for source in sources]), arrays())
    typer.echo(f"features {shape} of {len(sources)} images: {out}")


def _write(out: Path, names: Any, arrays: Any) -> tuple[int, ...]:
    """Write `names` and as many `arrays` of one shape to `out`, one at a time; return the shape of all together."""
    import zipfile

    import numpy as np
    from numpy.lib import format as npy

    from t2t_vit.files import written_whole

    with written_whole(out) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        with archive.open("names.npy", "w") as member:
            npy.write_array(member, names)
        with archive.open("features.npy", "w", force_zip64=True) as member:
            shape: tuple[int, ...] = ()
            for array in arrays:
                if not shape:
                    shape = (len(names), *array.shape)
                    header = {"descr": npy.dtype_to_descr(array.dtype), "fortran_order": False, "shape": shape}
                    npy.write_array_header_2_0(member, header)
                member.write(np.ascontiguousarray(array).tobytes())
    return shape
