"""T2T-ViT at home in timm: importing this registers every architecture and every published weights file there.

    import timm
    import t2t_vit.integrations.timm

    model = timm.create_model("t2t_vit_14.official_in1k", pretrained=True)

A name that timm has already stays timm's. Weights come by this package's own download and its safe reader, wherever
timm was told to find them. For that, `timm.models.load_checkpoint` (`checkpoint_path=`) is replaced by one that reads
files for these models so, and hands all other models on to timm's.

B batch, C channels, (H, W) image size in pixels, (h, w) token grid, N = h * w tokens, D width, K classes.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import logging
import math
import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any, cast

import timm.models
import torch
import torch.fx
from timm.models import PretrainedCfg
from timm.models._features import feature_take_indices
from timm.models.vision_transformer import global_pool_nlc
from torch import nn
from torch.nn.modules.module import _IncompatibleKeys

from t2t_vit.config import Preprocessing
from t2t_vit.config.validation import validate_experiment
from t2t_vit.errors import CheckpointError, ConfigError, DownloadError, nearest
from t2t_vit.hub import preprocessing_of, weights_file
from t2t_vit.hub.build import architecture_of, load_weights
from t2t_vit.integrations.torchscript import Traced, make_scriptable
from t2t_vit.models import T2TViT, variant_names
from t2t_vit.models.encoder import DropPath, SelfAttention
from t2t_vit.models.position import resize_position_table
from t2t_vit.models.t2t_vit import OutType, image_grid
from t2t_vit.models.token_convolution import ConvolutionalTokens
from t2t_vit.models.tokens_to_token import TokensToToken
from t2t_vit.models.variants import VARIANTS
from t2t_vit.weights.catalogue import CATALOGUE, PretrainedWeights
from t2t_vit.weights.convert import to_official
from t2t_vit.weights.load import Checkpoint, Layout, read_checkpoint

_log = logging.getLogger(__name__)

_POOLS = ("token", "avg", "avgmax", "max", "")

# In the order in which timm looks for them.
_HUB_FILES = ("model.safetensors", "pytorch_model.bin")
_FOLDER_FILES = ("model.safetensors", "pytorch_model.bin", "pytorch_model.pth", "model.pth")
_FOLDER_PATTERNS = ("*.safetensors", "*.pth", "*.pth.tar", "*.bin")

#: The first parameters that see the image, by what makes the tokens.
_FIRST_LAYER = {
    "transformer": "tokens_to_token.attention1.attn.qkv",
    "performer": "tokens_to_token.attention1.kqv",
    "convolution": "tokens_to_token.soft_split0",
}

Intermediates = list[torch.Tensor] | list[tuple[torch.Tensor, torch.Tensor]]


class TimmT2TViT(T2TViT):
    """A T2T-ViT with what timm's own vision transformers have besides.

    Args:
        global_pool: What goes into the head: ``token`` (the class token), ``avg``, ``max`` or ``avgmax`` of the
            others, or all tokens when empty.
        dynamic_img_size: Whether images of every size are taken; else of `img_size` alone, timm's own default.
        strict_img_size: The contrary, by the name that others of timm's models have for it.
        pos_drop_rate: timm's name for `drop_rate`, the dropout on the tokens after the position table is added.
        settings: Arguments of `T2TViT` except `out_type`, in whose place `global_pool` stands.

    Raises:
        ConfigError: A value out of its range.
    """

    num_prefix_tokens = 1
    num_reg_tokens = 0
    has_class_token = True

    def __init__(
        self,
        *,
        global_pool: str = "token",
        dynamic_img_size: bool = True,
        strict_img_size: bool = False,
        pos_drop_rate: float = 0.0,
        drop_rate: float = 0.0,
        **settings: Any,
    ) -> None:
        if pos_drop_rate and drop_rate and pos_drop_rate != drop_rate:
            raise ConfigError(f"drop_rate is {drop_rate}, pos_drop_rate {pos_drop_rate}; they are the same: give one")
        super().__init__(out_type=_out_type(global_pool), drop_rate=pos_drop_rate or drop_rate, **settings)
        self.global_pool = global_pool
        self.dynamic_img_size = dynamic_img_size and not strict_img_size
        self.head_hidden_size = self.num_features
        #: Pixels a token, along each side.
        self.reduction = math.prod(size.stride for size in self.soft_splits)
        self.feature_info = [
            {"module": f"blocks.{i}", "num_chs": block.out_dim, "reduction": self.reduction}
            for i, block in enumerate(self.blocks)
        ]

    def embed(self, x: torch.Tensor) -> torch.Tensor:
        """Return what the first encoder layer sees, as in `T2TViT`.

        Raises:
            ConfigError: `x` does not suit the model, or is of another size than the only one that is to be taken.
        """
        if not self.dynamic_img_size:
            _check_img_size(x, self.img_size)
        return super().embed(x)

    def forward_features(
        self, x: torch.Tensor, attn_mask: torch.Tensor | None = None, is_causal: bool = False
    ) -> torch.Tensor:
        """Return the normalized tokens (B, 1 + N, D) of the last layer, as in `T2TViT`.

        Args:
            x: Images (B, C, H, W), normalized.
            attn_mask: None; every token sees every other.
            is_causal: False, for the same reason.

        Raises:
            ConfigError: There is a mask.
        """
        _refuse_masks(attn_mask, is_causal)
        return super().forward_features(x)

    def pool(self, x: torch.Tensor, pool_type: str | None = None) -> torch.Tensor:
        """Return what goes into the head (B, D) of tokens `x` (B, 1 + N, D).

        Args:
            x: What `forward_features` gave.
            pool_type: Another pooling than the model's `global_pool`.

        Raises:
            ConfigError: There is no such pooling.
        """
        if pool_type is None:
            return self._pool(x)
        _out_type(pool_type)
        return global_pool_nlc(x, pool_type, self.num_prefix_tokens)  # type: ignore[no-any-return]

    def forward_intermediates(
        self,
        x: torch.Tensor,
        indices: int | Sequence[int] | None = None,
        return_prefix_tokens: bool = False,
        norm: bool = False,
        stop_early: bool = False,
        output_fmt: str = "NCHW",
        intermediates_only: bool = False,
        output_dict: bool = False,
        attn_mask: torch.Tensor | None = None,
        is_causal: bool = False,
    ) -> Intermediates | tuple[torch.Tensor, Intermediates] | dict[str, Any]:
        """Return what `forward_features` gives, and the tokens after chosen layers.

        Args:
            x: Images (B, C, H, W), normalized.
            indices: Layers: the last n, or those with these indices (negative ones count from the end); None: all.
            return_prefix_tokens: Pair each intermediate with its class token (B, 1, D).
            norm: Normalize the intermediates by the last layer's norm; in a dense stack, whose layers differ in width,
                only that layer's.
            stop_early: Do not compute layers after the last one that is asked for; the features are then of that.
            output_fmt: ``NCHW``: feature maps (B, D, h, w). ``NLC``: tokens (B, N, D).
            intermediates_only: Return the intermediates without the features.
            output_dict: Return a dict of `image_intermediates`, and `image_intermediates_prefix`, `image_features`
                as far as they are asked for.
            attn_mask: None, as in `forward_features`.
            is_causal: False, as there.

        Raises:
            ConfigError: There is a mask, `output_fmt` is neither, or `x` does not suit the model.
            AssertionError: An index is out of range (as in timm).
        """
        _refuse_masks(attn_mask, is_causal)
        if output_fmt not in ("NCHW", "NLC"):
            raise ConfigError(f"output_fmt is {output_fmt!r}; expected NCHW or NLC")
        wanted, last = feature_take_indices(len(self.blocks), _as_list(indices))
        height, width = x.shape[-2:]
        x = self.embed(x)
        taken = []
        blocks = self.blocks[: last + 1] if stop_early else self.blocks
        for i, block in enumerate(blocks):
            x = self.run_block(block, x)
            if i in wanted:
                taken.append(self.norm(x) if norm and self._suits_norm(i) else x)

        prefixes = [tokens[:, : self.num_prefix_tokens] for tokens in taken]  # (B, 1, D)
        taken = [tokens[:, self.num_prefix_tokens :] for tokens in taken]  # (B, N, D)
        if output_fmt == "NCHW":
            grid = self.token_grid(height, width)
            taken = [tokens.transpose(1, 2).unflatten(2, grid).contiguous() for tokens in taken]  # (B, D, h, w)
        if output_dict:
            entries: dict[str, Any] = {"image_intermediates": taken}
            if return_prefix_tokens:
                entries["image_intermediates_prefix"] = prefixes
            if not intermediates_only:
                entries["image_features"] = self.norm(x) if self._suits_norm(len(blocks) - 1) else x
            return entries
        intermediates: Intermediates = list(zip(taken, prefixes, strict=True)) if return_prefix_tokens else taken
        if intermediates_only:
            return intermediates
        return self.norm(x) if self._suits_norm(len(blocks) - 1) else x, intermediates

    def prune_intermediate_layers(
        self, indices: int | Sequence[int] = 1, prune_norm: bool = False, prune_head: bool = True
    ) -> list[int]:
        """Take away what `forward_intermediates` does not need for the layers `indices`; return those, counted from 0.

        Args:
            indices: Layers: the last n, or those with these indices.
            prune_norm: Take the last norm away, too.
            prune_head: Take head and pooling away, too.
        """
        wanted, last = feature_take_indices(len(self.blocks), _as_list(indices))
        self.blocks = self.blocks[: last + 1]
        self.out_indices = (last,)
        if prune_norm or not self._suits_norm(last):
            self.norm = cast("nn.LayerNorm", nn.Identity())
        if prune_head:
            self.reset_classifier(0, "")
        return wanted

    def get_intermediate_layers(
        self,
        x: torch.Tensor,
        n: int | Sequence[int] = 1,
        reshape: bool = False,
        return_prefix_tokens: bool = False,
        norm: bool = False,
        attn_mask: torch.Tensor | None = None,
    ) -> Intermediates:
        """Return the tokens after the last `n` layers, or those with these indices, as DINO's models do."""
        layers = self.forward_intermediates(
            x,
            n,
            return_prefix_tokens=return_prefix_tokens,
            norm=norm,
            output_fmt="NCHW" if reshape else "NLC",
            intermediates_only=True,
            attn_mask=attn_mask,
        )
        return cast("Intermediates", layers)

    def get_classifier(self) -> nn.Module:
        """Return the head."""
        return self.head

    def reset_classifier(self, num_classes: int, global_pool: str | None = None) -> None:
        """Put a newly drawn head in the place of the old one.

        Args:
            num_classes: Classes of the new head; 0: none.
            global_pool: Another pooling; None: as it was.

        Raises:
            ConfigError: `num_classes` is negative, or there is no such pooling.
        """
        if num_classes < 0:
            raise ConfigError(f"num_classes is {num_classes}; expected 0 (no head) or more")
        if global_pool is not None:
            self.out_type = _out_type(global_pool)
            self.global_pool = global_pool
        self.num_classes = num_classes
        self.classes = None
        if num_classes == 0:
            self.head = nn.Identity()
            return
        like = self.cls_token
        self.head = nn.Linear(self.num_features, num_classes, device=like.device, dtype=like.dtype)
        nn.init.trunc_normal_(self.head.weight, std=0.02)
        nn.init.zeros_(self.head.bias)
        self.head.train(self.training)

    def init_weights(self, mode: str = "") -> None:
        """Draw new weights; `mode` is of no concern."""
        del mode
        self.reset_parameters()

    def set_input_size(
        self, img_size: int | tuple[int, int] | None = None, patch_size: int | tuple[int, int] | None = None
    ) -> None:
        """Make model and preprocessing those for images of `img_size` (H, W), as in `T2TViT`; None: change nothing.

        Raises:
            ConfigError: The size is too small: no token would be left; or there is a `patch_size`.
        """
        if patch_size is not None:
            raise ConfigError(f"patch_size is {patch_size}; a T2T-ViT has soft splits, not patches: leave it out")
        if img_size is None:
            return
        super().set_input_size(img_size)
        cfg = getattr(self, "pretrained_cfg", None)
        if cfg is not None:  # timm hands it over once the model is built
            self.preprocessing = _preprocessing(self, cast("PretrainedCfg", cfg))
        with contextlib.suppress(ImportError):  # before 1.0.29 timm keeps no record of it
            from timm.models._input import update_model_input_size

            update_model_input_size(self, self.img_size)

    def group_matcher(self, coarse: bool = False) -> dict[str, Any]:
        """Return which parameters are of one depth, for learning rates that decay by layer."""
        blocks = r"^blocks\.(\d+)"
        return {"stem": r"^cls_token|pos_embed|tokens_to_token", "blocks": [(blocks, None), (r"^norm", (99999,))]}

    def load_pretrained(self, checkpoint_path: str | Path, prefix: str = "") -> None:
        """Load the weights file at `checkpoint_path`, of any known layout, adapted to this model.

        Args:
            checkpoint_path: The file.
            prefix: Is not needed here: the layout is recognised.

        Raises:
            CheckpointError: The file holds no weights, or they do not fit.
        """
        if prefix:
            warnings.warn(f"prefix={prefix!r} has no effect: names are recognised", stacklevel=2)
        load_file(self, checkpoint_path, new_head=True)

    def __prepare_scriptable__(self) -> nn.Module:
        """Return what `torch.jit.script` compiles: a trace of this network.

        Raises:
            ConfigError: The model is in training mode.
        """
        # Of another size than the position table's, where it may be, or the trace would have no interpolation.
        height, width = (side + self.reduction * self.dynamic_img_size for side in self.img_size)
        return Traced(self, 1, self.in_chans, height, width)

    def _pool(self, x: torch.Tensor) -> torch.Tensor:
        return global_pool_nlc(x, self.global_pool, self.num_prefix_tokens)  # type: ignore[no-any-return]

    def _suits_norm(self, layer: int) -> bool:
        """Whether the last layer's norm can be applied to what layer `layer` gives."""
        widths = {info["num_chs"] for info in self.feature_info}
        return layer == len(self.feature_info) - 1 or len(widths) == 1


def load_file(
    model: TimmT2TViT,
    path: str | Path,
    *,
    weights: str = "ema",
    new_head: bool = False,
    strict: bool = True,
    source_size: tuple[int, int] | None = None,
) -> Any:
    """Load the weights file at `path` into `model`, adapted to its channels and image size.

    Args:
        model: Where the weights go; its `load_report` then says what became of them.
        path: A file of any known layout.
        weights: `ema` or `raw`.
        new_head: Whether a head of another number of classes is drawn anew.
        strict: Refuse a file that does not fit. Otherwise take what fits.
        source_size: Height and width of the images that the file's position table was made for, if known.

    Returns:
        What `load_state_dict` returns: the missing and the unexpected entries.

    Raises:
        CheckpointError: The file holds no weights, or they do not fit.
    """
    report = load_weights(
        model,
        read_checkpoint(path),
        architecture_of(model.state_dict()) or "this model",
        weights=weights,
        new_head=new_head,
        strict=strict,
        source_size=source_size,
    )
    return _IncompatibleKeys(report.missing, report.dropped)


def _load_pretrained(
    model: TimmT2TViT, cfg: PretrainedCfg, cache_dir: str | Path | None, source_size: tuple[int, int]
) -> None:
    """Load the weights that `cfg` names into `model`, with a new head if that has other classes than `cfg`."""
    new_head = model.num_classes != cfg.num_classes
    if cfg.state_dict and cfg.source not in ("hf-hub", "local-dir"):
        weights = {"raw": to_official(cfg.state_dict)}
        given = Checkpoint(Path("state_dict"), Layout.STATE_DICT, weights, classes=None, meta={})
        load_weights(model, given, str(cfg.architecture), new_head=new_head, source_size=source_size)
    else:
        load_file(model, _pretrained_file(cfg, cache_dir), new_head=new_head, source_size=source_size)
    names = tuple(cfg.label_names) if isinstance(cfg.label_names, list | tuple) else ()  # timm allows a dict, too
    if not new_head and names and len(names) == model.num_classes:
        model.classes = names


def _pretrained_file(cfg: PretrainedCfg, cache_dir: str | Path | None) -> Path:
    """Return the weights file that `cfg` names, by timm's order of sources, fetched if it is not here."""
    if cfg.source == "local-dir":
        return _file_in(Path(str(cfg.file)))
    if cfg.source != "hf-hub" and cfg.file:
        return Path(cfg.file)
    if cfg.hf_hub_id:
        return _hub_file(cfg.hf_hub_id, cfg.hf_hub_filename, cache_dir)
    if not cfg.url:
        published = [name for name in default_cfgs if default_cfgs[name].is_pretrained]
        raise ConfigError(
            f"there are no published weights for {cfg.architecture}; use pretrained=False, or one of "
            f"{', '.join(published)}.{nearest(str(cfg.architecture), published)}"
        )
    if cache_dir is not None:
        warnings.warn("cache_dir has no effect on these weights; set T2T_VIT_CACHE instead", stacklevel=2)
    url = cfg.url if isinstance(cfg.url, str) else cfg.url[0]
    return weights_file(next((entry.name for entry in CATALOGUE.values() if entry.url == url), url))


def _file_in(folder: Path) -> Path:
    """Return the weights file in `folder`, which `timm.models.save_for_hf` or a user filled."""
    found = [folder / name for name in _FOLDER_FILES if (folder / name).is_file()]
    for pattern in _FOLDER_PATTERNS:
        found += sorted(folder.glob(pattern))
    if not found:
        raise CheckpointError(f"{folder} has no weights file; expected one of {', '.join(_FOLDER_FILES)}")
    return found[0]


def _hub_file(model_id: str, name: str | None, cache_dir: str | Path | None) -> Path:
    """Return the weights file of the Hugging Face repository `model_id` (``owner/name`` or ``owner/name@revision``)."""
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

    repository, _, revision = model_id.partition("@")
    names = (name,) if name else _HUB_FILES
    for i, candidate in enumerate(names):
        try:
            return Path(hf_hub_download(repository, candidate, revision=revision or None, cache_dir=cache_dir))
        except EntryNotFoundError as error:
            if i < len(names) - 1:
                continue
            why = " (it cannot be reached)" if isinstance(error, LocalEntryNotFoundError) else ""
            raise DownloadError(f"{model_id} on the Hugging Face hub has no {' or '.join(names)}{why}") from error
    raise AssertionError


def _build(
    cfg: PretrainedCfg,
    is_pretrained: bool,
    cache_dir: str | Path | None,
    source_size: tuple[int, int],
    device: torch.device | str | None = None,
    dtype: torch.dtype | None = None,
    **settings: Any,
) -> TimmT2TViT:
    """Return a model of `settings`, with the preprocessing of `cfg` and, if `is_pretrained`, its weights."""
    device = torch.get_default_device() if device is None else torch.device(device)
    with device:
        model = TimmT2TViT(**settings)
    model = model.to(device, dtype)
    model.preprocessing = _preprocessing(model, cfg)
    if is_pretrained:
        _load_pretrained(model, cfg, cache_dir, source_size)
    return model


def _create(
    variant: str,
    pretrained: bool = False,
    pretrained_cfg: Any = None,
    pretrained_cfg_overlay: dict[str, Any] | None = None,
    cache_dir: str | Path | None = None,
    **kwargs: Any,
) -> nn.Module:
    """Return the architecture `variant`, as `timm.create_model` asks for it."""
    cfg = timm.models.resolve_pretrained_cfg(variant, pretrained_cfg, pretrained_cfg_overlay)
    kwargs.setdefault("img_size", tuple(cfg.input_size[-2:]))
    source_size = (kwargs.get("pretrained_model_args") or {}).get("img_size") or cfg.input_size[-2:]
    source_size = (source_size, source_size) if isinstance(source_size, int) else tuple(source_size)
    # timm's own loader is not asked (pretrained=False): the model arrives with its weights.
    return cast(
        "nn.Module",
        timm.models.build_model_with_cfg(
            functools.partial(_build, cfg, pretrained, cache_dir, source_size),
            variant,
            pretrained=False,
            pretrained_cfg=cast("Any", cfg),
            feature_cfg={"out_indices": kwargs.pop("out_indices", 3), "feature_cls": "getter"},
            **{**VARIANTS[variant], **kwargs},
        ),
    )


def _entrypoint(variant: str) -> Callable[..., nn.Module]:
    def create(pretrained: bool = False, **kwargs: Any) -> nn.Module:
        return _create(variant, pretrained, **kwargs)

    create.__name__ = create.__qualname__ = variant
    create.__doc__ = f"Return {variant}; for the arguments see `timm.create_model`."
    return create


def _cfg(variant: str, weights: PretrainedWeights | None = None) -> dict[str, Any]:
    """Return what timm has to know of `variant` and its published `weights`."""
    cfg: dict[str, Any] = {
        "crop_pct": 0.9,
        "classifier": "head",
        "first_conv": _FIRST_LAYER[VARIANTS[variant].get("tokens", "transformer")],
        "paper_name": "Tokens-to-Token ViT: Training Vision Transformers from Scratch on ImageNet",
        "paper_ids": "arXiv:2101.11986",
    }
    if weights is not None:
        cfg |= {
            "url": weights.url,
            "input_size": (3, weights.img_size, weights.img_size),
            "num_classes": weights.num_classes,
            "label_names": weights.classes,
            "crop_pct": weights.crop_pct,
            "crop_mode": weights.crop_mode,
            "interpolation": weights.interpolation,
            "mean": weights.mean,
            "std": weights.std,
            "license": weights.licence.lower(),
            "origin_url": weights.source,
        }
    return cfg


def _preprocessing(model: TimmT2TViT, cfg: PretrainedCfg | dict[str, Any]) -> dict[str, Any] | None:
    """Return how `cfg` has images prepared for `model`, None if this package knows no such way."""
    told = cfg if isinstance(cfg, dict) else cfg.to_dict()
    values = {name: told[name] for name in ("crop_pct", "crop_mode", "interpolation") if told.get(name) is not None}
    for name in ("mean", "std"):
        channels = told.get(name) or getattr(Preprocessing(), name)
        values[name] = channels if len(channels) == model.in_chans else (fmean(channels),) * model.in_chans
    settings = {"img_size": model.img_size, "in_chans": model.in_chans}
    try:
        experiment = validate_experiment({"model": settings, "preprocessing": values}, "pretrained_cfg")
    except ConfigError:
        return None
    return preprocessing_of(experiment)


@torch.fx.wrap  # symbolic tracers leave it closed
def _check_img_size(x: torch.Tensor, img_size: tuple[int, int]) -> None:
    """Refuse images `x` (B, C, H, W) of another size than `img_size`.

    Raises:
        ConfigError: They are of another size.
    """
    if tuple(x.shape[-2:]) != img_size:
        raise ConfigError(
            f"the input has shape {tuple(x.shape)}; expected (B, C, {img_size[0]}, {img_size[1]}) with "
            "dynamic_img_size=False: leave that out, or call set_input_size"
        )


def _refuse_masks(attn_mask: object, is_causal: bool) -> None:
    if attn_mask is not None or is_causal:
        given = "is_causal is True" if attn_mask is None else f"attn_mask is a {type(attn_mask).__name__}"
        raise ConfigError(f"{given}; expected none: in a T2T-ViT every token sees every other")


def _out_type(global_pool: str) -> OutType:
    if global_pool not in _POOLS:
        raise ConfigError(f"global_pool is {global_pool!r}; expected one of {', '.join(map(repr, _POOLS))}")
    return "avg_featmap" if global_pool == "avg" else "cls_token"


def _as_list(indices: int | Sequence[int] | None) -> int | list[int] | None:
    return indices if indices is None or isinstance(indices, int) else list(indices)


def _reading_ours_safely(theirs: Callable[..., Any]) -> Callable[..., Any]:
    """Return timm's `load_checkpoint`, but for models of this package with their own reader."""
    signature = inspect.signature(theirs)

    @functools.wraps(theirs)
    def load_checkpoint(*args: Any, **kwargs: Any) -> Any:
        given = signature.bind(*args, **kwargs)
        given.apply_defaults()
        asked = given.arguments
        if not isinstance(asked["model"], TimmT2TViT) or asked["remap"] or asked["filter_fn"]:
            return theirs(*args, **kwargs)
        weights = "ema" if asked["use_ema"] else "raw"
        return load_file(asked["model"], asked["checkpoint_path"], weights=weights, strict=asked["strict"])

    return load_checkpoint


def _make_traceable() -> None:
    """Have `torch.fx`, as timm calls it, leave closed what looks at shapes."""
    for module in (TokensToToken, ConvolutionalTokens, SelfAttention, DropPath):
        timm.models.register_notrace_module(module)
    for function in (image_grid, resize_position_table):
        timm.models.register_notrace_function(function)


def _register() -> None:
    """Give timm every architecture that it has not already."""
    this = sys.modules[__name__]
    for variant in variant_names():
        if not timm.models.is_model(variant):
            setattr(this, variant, timm.models.register_model(_entrypoint(variant)))
    theirs = timm.models.load_checkpoint
    if inspect.unwrap(theirs) is theirs:  # not replaced already
        ours = _reading_ours_safely(theirs)
        for module in (timm.models, timm.models._factory, timm.models._helpers):
            setattr(module, theirs.__name__, ours)


def _cfgs() -> dict[str, Any]:
    published = {weights.full_name: _cfg(weights.model, weights) for weights in CATALOGUE.values()}
    fitting = {weights.model for weights in CATALOGUE.values()}
    return {variant: _cfg(variant) for variant in variant_names() if variant not in fitting} | published


#: Where timm looks for what there is to an architecture that is being registered.
default_cfgs = timm.models.generate_default_cfgs(_cfgs())
_make_traceable()
make_scriptable()
_register()
