"""The model card: what a folder on the Hugging Face Hub says of the model in it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from t2t_vit.models import T2TViT
from t2t_vit.weights.catalogue import PretrainedWeights

#: In the front matter of every card, a comment there.
_MARK = "# Written by save_pretrained of t2t_vit, which replaces this file as long as this line is in it."


@dataclass(frozen=True, kw_only=True)
class CardFacts:
    """What a card says that the model itself does not know.

    Attributes:
        origin: The published weights that are in it, if they are.
        licence: Identifier of the weights' licence, as the Hub spells them.
        datasets: Names of the data sets that it was trained with.
        measured: Figures that whoever saves it has measured, by name.
    """

    origin: PretrainedWeights | None = None
    licence: str | None = None
    datasets: Sequence[str] = ()
    measured: Mapping[str, float] = field(default_factory=dict)


def model_card(model: T2TViT, config: Mapping[str, Any], name: str, facts: CardFacts) -> str:
    """Return the card of `model` in Markdown, its front matter first.

    Args:
        model: What the card is of.
        config: Its `config.json`.
        name: What the reader calls it: a folder or a repository on the Hub.
        facts: What else there is to say.
    """
    return "\n".join([_front_matter(model, facts), "", *_body(model, config, name, facts), ""])


def is_own_card(content: bytes) -> bool:
    """Whether `content` is a card of `model_card`, to be replaced by another; without its mark it is its reader's."""
    front_matter, _, _ = content.removeprefix(b"---").partition(b"\n---")
    return _MARK.encode() in front_matter


def _front_matter(model: T2TViT, facts: CardFacts) -> str:
    from huggingface_hub import ModelCardData

    task = "image-classification" if model.num_classes else "image-feature-extraction"
    licence = facts.licence or (facts.origin.licence if facts.origin else "unknown")
    data = ModelCardData(
        library_name="timm",  # whose format the folder has; transformers, too, reads it by this name
        license=licence.lower(),
        pipeline_tag=task,
        tags=[task, "timm", "transformers", "t2t-vit"],
        datasets=list(facts.datasets) or None,
    )
    return f"---\n{_MARK}\n{data.to_yaml()}\n---"


def _body(model: T2TViT, config: Mapping[str, Any], name: str, facts: CardFacts) -> list[str]:
    source = "hf-hub" if _is_repository(name) else "local-dir"
    parameters = sum(parameter.numel() for parameter in model.parameters()) / 1e6
    prepared = config["pretrained_cfg"]
    height, width = model.img_size
    lines = [
        f"# {name}",
        "",
        f"A Tokens-to-Token Vision Transformer, `{config['architecture']}`"
        + (f" with {', '.join(f'`{key}`' for key in config['model_args'])} of its own" if config["model_args"] else "")
        + (f", that tells {model.num_classes} classes apart." if model.num_classes else ", without a head."),
        "",
        "| | |",
        "|---|---|",
        f"| parameters | {parameters:.2f} M (counted) |",
        f"| input | {model.in_chans} channels, {height} × {width} pixels (height × width) |",
        f"| preparation | `crop_pct` {prepared['crop_pct']}, `crop_mode` {prepared['crop_mode']}, "
        f"{prepared['interpolation']}; mean {prepared['mean']}, std {prepared['std']}, white being 1 |",
        *(f"| {key} | {value:g} (measured by who saved it) |" for key, value in facts.measured.items()),
        *_quoted(facts.origin),
        "",
        "## Use",
        "",
        "```python",
        "from t2t_vit.integrations.huggingface import from_pretrained",
        "",
        f"model = from_pretrained({name!r})  # in eval mode; model.preprocessing, model.classes",
        "```",
        "",
        "```python",
        "import timm, t2t_vit.integrations.timm",
        "",
        f"model = timm.create_model({f'{source}:{name}'!r}, pretrained=True)",
        "```",
    ]
    if model.num_classes:
        lines += [
            "",
            "```python",
            "import t2t_vit.integrations.transformers",
            "from transformers import pipeline",
            "",
            f"pipeline('image-classification', model={name!r})('picture.jpg')",
            "```",
        ]
    return [
        *lines,
        "",
        "## Source",
        "",
        *([f"The weights are those published as {facts.origin.url}.", ""] if facts.origin else []),
        "Yuan et al., Tokens-to-Token ViT: Training Vision Transformers from Scratch on ImageNet, ICCV 2021, "
        "[arXiv 2101.11986](https://arxiv.org/abs/2101.11986).",
    ]


def _quoted(origin: PretrainedWeights | None) -> list[str]:
    if origin is None:
        return []
    figures = {"top-1 accuracy": origin.top1, "top-5 accuracy": origin.top5}
    return [
        f"| {name} | {value:g} % (quoted from {origin.source}) |"
        for name, value in figures.items()
        if value is not None
    ]


def _is_repository(name: str) -> bool:
    return name.count("/") == 1 and not name.startswith((".", "/", "~"))
