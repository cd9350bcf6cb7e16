"""`t2t-vit attention`: where a model looks."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from t2t_vit.cli.model_options import Device, ModelName, Weights, weights_of


def attention(
    image: Annotated[str, typer.Argument(help="Path or URL of an image.")],
    model: ModelName = None,
    pretrained: Weights = None,
    method: Annotated[
        Literal["last", "rollout"], typer.Option(help="Of the last layer, or rolled out through all.")
    ] = "rollout",
    out: Annotated[Path, typer.Option(help="The picture: .png, .pdf or .svg.")] = Path("attention.png"),
    device: Device = "auto",
) -> None:
    """Draw the class token's attention over a picture."""
    from t2t_vit.errors import ConfigError
    from t2t_vit.inference import ImageClassificationInferencer
    from t2t_vit.inference.drawing import overwritten
    from t2t_vit.visualization.attention import attention_maps, plot_attention, token_centres

    if overwritten([out], [image]) is not None:
        raise ConfigError(f"--out is {str(out)!r}, which is the image itself; name another file")
    inferencer = ImageClassificationInferencer(model, weights_of(pretrained), device)
    network, preprocess = inferencer.model, inferencer.preprocess
    picture = inferencer.load(image)
    prediction = inferencer(picture)[0]
    x = preprocess(picture).unsqueeze(0).to(network.cls_token.device)
    heat = attention_maps(network, x, method)[0].cpu().numpy()
    title = f"{prediction['pred_class']}, {100 * prediction['pred_score']:.1f} %"
    centres = token_centres(network, *preprocess.img_size)
    typer.echo(plot_attention(preprocess.crop(picture), heat, out, title, centres))
