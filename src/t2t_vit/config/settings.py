"""What a run can be told, typed and checked: `Experiment` and its parts.

Every default is the published ImageNet recipe, so a config says only what is its own.
A setting that does not exist, or has the wrong type or range, is refused with its name and the nearest right one.
"""

from __future__ import annotations

import dataclasses
from typing import Annotated, Any, Final, Literal, get_args

from pydantic import AfterValidator, ConfigDict, Field, model_validator
from pydantic.dataclasses import dataclass

_STRICT = ConfigDict(extra="forbid", validate_default=True, allow_inf_nan=False)

Count = Annotated[int, Field(ge=1, strict=True)]  # strict: True is no number
Natural = Annotated[int, Field(ge=0, strict=True)]
Fraction = Annotated[float, Field(ge=0.0, le=1.0)]
Rate = Annotated[float, Field(ge=0.0, lt=1.0)]
NonNegative = Annotated[float, Field(ge=0.0)]
Positive = Annotated[float, Field(gt=0.0)]
FileName = Annotated[str, Field(min_length=1)]
ImageSize = Count | tuple[Count, Count]
SplitSize = tuple[Count, Count, Natural]
Areas = tuple[Fraction, Fraction]
Ratios = tuple[Positive, Positive]
Interpolation = Literal["nearest", "bilinear", "bicubic", "lanczos"]
PublicDataset = Literal[
    "cifar10", "cifar100", "mnist", "fashion_mnist", "flowers102", "food101", "oxford_pets", "dtd", "fgvc_aircraft",
    "sun397", "caltech101", "eurosat",
]  # fmt: skip
DatasetName = Literal["image_folder", "digits", PublicDataset, "huggingface", "tar_shards"]


@dataclass(config=_STRICT, frozen=True, kw_only=True)
class Model:
    """The network. What is None is the architecture's own.

    Attributes:
        name: Architecture, as `t2t-vit models` lists them.
        num_classes: Classes; None: as many as the data has (1000 where there is no data).
        img_size: Height and width in pixels, or one number for both.
        in_chans: Image channels: 1 grey, 3 RGB, 4 RGBA.
        drop_rate: Dropout after the position table.
        drop_path_rate: Drop-path rate of the last layer.
        embed_dim: Width of the encoder.
        depth: Encoder layers, or the layers of each group of a dense stack.
        num_heads: Heads of an encoder layer.
        mlp_ratio: Hidden width of an encoder MLP over `embed_dim`.
        token_dim: Width of the tokens between soft splits.
        soft_splits: (kernel, stride, padding) of each soft split.
        tokens: What makes the tokens: transformer or performer layers between soft splits, or convolutions.
        stack: Encoder layers: plain, with squeeze-and-excitation, ghost, or densely connected.
        growth_rate: Channels that a dense layer appends.
        init: Fresh weights, of a new head, too: `published`, with a standard deviation of 0.02, or `fan_in`, larger the
            fewer inputs a linear layer or convolution has, which narrow networks learn faster from.
        pretrained: Checkpoint (path, URL, or name of published weights) that training starts from.
        freeze: Parts that are not trained, separated by commas: ``tokens_to_token,blocks.0-5``.
        grad_checkpointing: Compute each encoder layer twice in training instead of keeping what is in it.
    """

    name: str = "t2t_vit_t_14"
    num_classes: Count | None = None
    img_size: ImageSize = 224
    in_chans: Count = 3
    drop_rate: Rate = 0.0
    drop_path_rate: Rate = 0.1
    embed_dim: Count | None = None
    depth: Count | tuple[Count, ...] | None = None
    num_heads: Count | None = None
    mlp_ratio: Positive | None = None
    token_dim: Count | None = None
    soft_splits: tuple[SplitSize, ...] | None = None
    tokens: Literal["transformer", "performer", "convolution"] | None = None
    stack: Literal["plain", "se", "ghost", "dense"] | None = None
    growth_rate: Count | None = None
    init: Literal["published", "fan_in"] = "published"
    pretrained: str | None = None
    freeze: str | None = None
    grad_checkpointing: bool = False

    @property
    def image_height_width(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return (self.img_size, self.img_size) if isinstance(self.img_size, int) else self.img_size


def _plain(options: dict[str, Any]) -> dict[str, Any]:
    """Return `options` with tuples for lists, as JSON has no tuples."""
    plain = {name: tuple(value) if isinstance(value, list) else value for name, value in options.items()}
    for name, value in plain.items():
        if not all(isinstance(part, bool | int | float | str) for part in (value if type(value) is tuple else [value])):
            raise ValueError(f"baseline.options.{name} is {value!r}; expected a number, a word, or a list of those")
    return plain


#: Arguments of timm's that other settings decide.
_SET_BY_MODEL: Final = {
    "num_classes": "model.num_classes",
    "in_chans": "model.in_chans",
    "img_size": "model.img_size",
    "drop_path_rate": "model.drop_path_rate",
    "pretrained": "model.pretrained",
    "checkpoint_path": "model.pretrained",
}


@dataclass(config=_STRICT, frozen=True, kw_only=True)
class Baseline:
    """A network of timm's that is trained and tested in the place of `Model`'s, to compare with.

    Of `Model`, the number of classes and channels, the image size and the drop-path rate hold for it, too.

    Attributes:
        name: What timm calls it (``vit_tiny_patch16_224``); None: there is none.
        options: Arguments of `timm.create_model` besides those: ``{"patch_size": 4, "depth": 6}``.
    """

    name: str | None = None
    options: Annotated[dict[str, Any], AfterValidator(_plain)] = dataclasses.field(default_factory=dict, hash=False)

    @model_validator(mode="after")
    def _has_an_effect(self) -> Baseline:
        if self.options and self.name is None:
            raise ValueError("baseline.options are given without a baseline.name; name a model of timm's")
        for name, setting in _SET_BY_MODEL.items():
            if name in self.options:
                raise ValueError(f"baseline.options has {name!r}, which is {setting}'s to say")
        return self


_PUBLIC: Final = get_args(PublicDataset)
#: The settings of `Data` that act only for some data sets.
_ACTS_IN: Final = {
    "classes": ("image_folder", "tar_shards"),
    "train_annotations": ("image_folder",),
    "val_annotations": ("image_folder",),
    "classes_file": ("image_folder", "huggingface", "tar_shards"),
    "image_column": ("image_folder", "huggingface"),
    "label_column": ("image_folder", "huggingface", "tar_shards"),
    "config_name": ("huggingface",),
    "download": _PUBLIC,
    "streaming": ("huggingface", "tar_shards"),
    "num_images": ("huggingface", "tar_shards"),
    "shuffle_buffer": ("huggingface", "tar_shards"),
}


@dataclass(config=_STRICT, frozen=True, kw_only=True)
class Data:
    """Where images come from and how they are fetched.

    Attributes:
        dataset: `image_folder`: folders of class folders, or folders with annotation files. `digits`: scikit-learn's
            handwritten digits. `cifar10`, `flowers102`, …: a public data set. `huggingface`: one of Hugging Face's
            `datasets`. `tar_shards`: tar files as WebDataset has them.
        root: Folder where the images are; a relative one is looked for in the folder one stands in, ``~`` is the
            user's home. The default of a public data set is ``data``. For `huggingface` a folder or a name on the hub;
            for `tar_shards` a folder, or a URL if `streaming`.
        train: Training images: folder in `root`, split of `huggingface`, pattern of `tar_shards`
            (``train-{000..012}.tar``).
        val: Validation images, likewise.
        classes: `folders`: a class for each folder, in the order of names. `imagenet`: folders are named by ImageNet's
            ids (n01440764), labels are ImageNet's. `auto`: `imagenet` if all are so named and the model has 1000
            classes or is not told how many, else `folders`. In annotation files and `tar_shards`, labels for folders; a
            stream's are not known beforehand, so for those `auto` is never `imagenet`.
        train_annotations: File in `root` that lists the images of `train` with their labels, as text, CSV or JSON
            lines; None: there is a folder for each class.
        val_annotations: The same for `val`.
        classes_file: File with the names of the classes, one a line, in the order of the model's outputs.
        image_column: Column of images or of their paths; None: ``path`` in annotation files, the only one that there is
            in `huggingface`.
        label_column: Column of labels, or their key in the JSON of `tar_shards`; None: ``label``, or the only one with
            names of classes in `huggingface`.
        config_name: Configuration of a `huggingface` data set that has several.
        download: Fetch a public data set that is not in `root`.
        streaming: Read the training images of `huggingface` or `tar_shards` in sequence instead of at random.
        num_images: How many training images a stream has in an epoch; None: what it says of itself.
        shuffle_buffer: From how many images of a stream the next one is drawn, in each loading process.
        val_fraction: Part of the training images, of every class, to validate on instead of on `val`; the same in every
            run. None: `val`, or a fifth of a public data set that has no split.
        num_folds: Into how many parts the training images are split, to validate on one of them instead of on `val`;
            None: not at all. Each part has its share of every class, and is the same in every run.
        fold: Which part that is, from 0.
        batch_size: Images a device and step, or, with `optimizer.accumulation`, a device and batch.
        global_batch_size: Images a step over all devices and accumulated batches, instead of `batch_size`: the run is
            then the same on any number of devices that divides it.
        sampling: `shuffled`: every image once an epoch. `balanced`: as many draws, every class as often as another.
        bad_images_limit: Part of the training images that may turn out unreadable, and are replaced by others, before
            the run stops; one may always, unless this is 0.
        in_memory: Keep the training images, prepared as for testing, in the memory of the device that computes, and
            augment them there, a batch at a time, instead of in loading processes: for sets of small images.
        num_workers: Processes that load images; 0: the training process itself.
        pin_memory: Page-locked memory for faster copies to a GPU.
        persistent_workers: Keep the loading processes between epochs.
    """

    dataset: DatasetName = "image_folder"
    root: str = "data/imagenet"
    train: str = "train"
    val: str = "val"
    classes: Literal["auto", "folders", "imagenet"] = "auto"
    train_annotations: FileName | None = None
    val_annotations: FileName | None = None
    classes_file: FileName | None = None
    image_column: str | None = None
    label_column: str | None = None
    config_name: str | None = None
    download: bool = False
    streaming: bool = False
    num_images: Count | None = None
    shuffle_buffer: Count = 1000
    val_fraction: Annotated[float, Field(gt=0.0, lt=1.0)] | None = None
    num_folds: Annotated[int, Field(ge=2, strict=True)] | None = None
    fold: Natural = 0
    batch_size: Count = 64
    global_batch_size: Count | None = None
    sampling: Literal["shuffled", "balanced"] = "shuffled"
    bad_images_limit: Fraction = 0.01
    in_memory: bool = False
    num_workers: Natural = 5
    pin_memory: bool = True
    persistent_workers: bool = True

    @model_validator(mode="after")
    def _has_an_effect(self) -> Data:
        fields = {field.name: field for field in dataclasses.fields(self)}
        for name, where in _ACTS_IN.items():
            value = getattr(self, name)
            if value != fields[name].default and self.dataset not in where:
                raise ValueError(
                    f"data.{name} is {value!r} and does nothing where data.dataset is {self.dataset!r}; leave it out, "
                    f"or choose another data.dataset ({', '.join(where)})"
                )
        annotated = self.train_annotations or self.val_annotations
        needs = {
            "image_column": (self.dataset != "image_folder" or annotated, "data.train_annotations or val_annotations"),
            "label_column": (self.dataset != "image_folder" or annotated, "data.train_annotations or val_annotations"),
            "num_images": (self.streaming, "data.streaming=True"),
            "shuffle_buffer": (self.streaming, "data.streaming=True"),
        }
        for name, (given, other) in needs.items():
            if getattr(self, name) != fields[name].default and not given:
                raise ValueError(f"data.{name} is {getattr(self, name)!r} and does nothing without {other}")
        if self.classes == "imagenet" and self.classes_file is not None:
            raise ValueError("data.classes is 'imagenet', whose names are known; leave out data.classes_file")
        return self

    @model_validator(mode="after")
    def _is_split_once(self) -> Data:
        ways = [name for name in ("num_folds", "val_fraction") if getattr(self, name) is not None]
        if self.streaming and (ways or self.sampling != "shuffled"):
            raise ValueError(
                f"data.{ways[0] if ways else 'sampling'} needs images in any order; leave it or data.streaming out"
            )
        if self.streaming and self.in_memory:
            raise ValueError("data.in_memory needs all images at the beginning; leave it or data.streaming out")
        if len(ways) > 1:
            raise ValueError(
                f"data.num_folds is {self.num_folds} and data.val_fraction {self.val_fraction}; give one of them"
            )
        return self

    @model_validator(mode="after")
    def _fold_exists(self) -> Data:
        if self.fold and self.fold >= (self.num_folds or 0):
            raise ValueError(
                f"data.fold is {self.fold} and data.num_folds {self.num_folds}; expected one from 0 to num_folds - 1"
            )
        return self


@dataclass(config=_STRICT, frozen=True, kw_only=True)
class Preprocessing:
    """From a picture to a tensor, for testing and prediction alike; the crop has the model's `img_size`.

    Attributes:
        crop_pct: The picture is scaled so that `img_size` is this part of it (0.9 of 248 pixels is 224).
        crop_mode: `center`: keep the aspect ratio and cut the middle out. `squash`: scale both sides, cut nothing.
        interpolation: Resize filter, with antialiasing.
        mean: Subtracted from each channel, in 0 to 1.
        std: Each channel is divided by it.
    """

    crop_pct: Annotated[float, Field(gt=0.0, le=1.0)] = 0.9
    crop_mode: Literal["center", "squash"] = "center"
    interpolation: Interpolation = "bicubic"
    mean: tuple[NonNegative, ...] = (0.485, 0.456, 0.406)
    std: tuple[Positive, ...] = (0.229, 0.224, 0.225)

    @model_validator(mode="after")
    def _white_is_one(self) -> Preprocessing:
        for name in ("mean", "std"):
            values = getattr(self, name)
            if max(values, default=0.0) > 1.0:
                raise ValueError(
                    f"preprocessing.{name} is {values}; white is 1 here: divide by 255 what was meant for white at 255"
                )
        return self


@dataclass(config=_STRICT, frozen=True, kw_only=True)
class Augmentation:
    """What training does to pictures.

    Attributes:
        crop_scale: Area of the random crop, as a part of the picture.
        crop_ratio: Aspect ratio of the random crop.
        hflip: Probability of a horizontal flip.
        interpolation: Resize filter of the crop.
        rand_augment: timm's policy string; None: off. The published recipe: two operations of magnitude 9 ± 0.5,
            all of them stronger with rising magnitude.
        erase_prob: Probability of random erasing with pixel noise.
        erase_area: Erased area, as a part of the picture.
        mixup: Alpha of Mixup's beta distribution; 0: off.
        cutmix: Alpha of CutMix's; 0: off. With both, each batch takes one of them, evenly.
        rotate: Largest rotation in degrees, either way.
        translate: Largest shift, as a part of the picture's side.
    """

    crop_scale: Areas = (0.08, 1.0)
    crop_ratio: Ratios = (3 / 4, 4 / 3)
    hflip: Fraction = 0.5
    interpolation: Interpolation = "bicubic"
    rand_augment: str | None = "rand-m9-n2-mstd0.5-inc1"
    erase_prob: Fraction = 0.25
    erase_area: Areas = (0.02, 1 / 3)
    mixup: NonNegative = 0.8
    cutmix: NonNegative = 1.0
    rotate: Annotated[float, Field(ge=0.0, le=180.0)] = 0.0
    translate: Fraction = 0.0

    @model_validator(mode="after")
    def _ranges_rise(self) -> Augmentation:
        for name in ("crop_scale", "crop_ratio", "erase_area"):
            low, high = getattr(self, name)
            if low > high:
                raise ValueError(f"augmentation.{name} is ({low}, {high}); expected the smaller number first")
        return self


@dataclass(config=_STRICT, frozen=True, kw_only=True)
class Optimizer:
    """AdamW or SGD, and what each parameter gets of its rate and decay.

    Attributes:
        kind: `adamw`, or `sgd` with momentum.
        lr: Learning rate after warm-up.
        weight_decay: Decay of what decays.
        decay_vectors: Whether norms, biases and the class token decay, too.
        betas: AdamW's.
        eps: AdamW's.
        momentum: SGD's.
        nesterov: SGD's.
        layer_decay: Each encoder layer's rate is that of the next one times this, the tokens' lowest; None: all alike.
        lr_scale: Factors of the rate by the beginning of parameters' names, the longest that fits:
            ``{"tokens_to_token": 0.01, "blocks": 0.01}``.
        accumulation: Batches whose gradients make one step.
        auto_scale_lr: Multiply `lr` by the global batch size divided by `base_batch_size`.
        base_batch_size: The global batch size that `lr` is for.
        clip_grad_norm: Largest norm of the gradient; None: no clipping.
    """

    kind: Literal["adamw", "sgd"] = "adamw"
    lr: Positive = 5e-4
    weight_decay: NonNegative = 0.05
    decay_vectors: bool = False
    betas: tuple[Rate, Rate] = (0.9, 0.999)
    eps: Positive = 1e-8
    momentum: Rate = 0.9
    nesterov: bool = False
    layer_decay: Annotated[float, Field(gt=0.0, le=1.0)] | None = None
    lr_scale: dict[str, NonNegative] | None = None
    accumulation: Count = 1
    auto_scale_lr: bool = False
    base_batch_size: Count = 512
    clip_grad_norm: Positive | None = None

    @model_validator(mode="after")
    def _has_an_effect(self) -> Optimizer:
        fields = {field.name: field for field in dataclasses.fields(self)}
        for name in ("momentum", "nesterov") if self.kind == "adamw" else ("betas", "eps"):
            if getattr(self, name) != fields[name].default:
                raise ValueError(
                    f"optimizer.{name} is {getattr(self, name)} and does nothing where optimizer.kind is {self.kind!r}"
                )
        if self.nesterov and not self.momentum:
            raise ValueError("optimizer.nesterov is True and needs optimizer.momentum above 0")
        return self


@dataclass(config=_STRICT, frozen=True, kw_only=True)
class Schedule:
    """The learning rate over a run: warm-up, cosine, cool-down. A run of fewer epochs ends within these phases.

    Attributes:
        epochs: Passes over the training images, cool-down included.
        warmup_epochs: Epochs of linear rise, step by step.
        warmup_factor: What part of the rate the rise begins with.
        min_lr: Where the cosine ends.
        cooldown_epochs: Epochs after the cosine, at its end times `cooldown_factor`; the very last one at the whole.
        cooldown_factor: See `cooldown_epochs`.
    """

    epochs: Count = 310
    warmup_epochs: Natural = 10
    warmup_factor: Annotated[float, Field(gt=0.0, le=1.0)] = 1e-6
    min_lr: NonNegative = 1e-5
    cooldown_epochs: Natural = 10
    cooldown_factor: Annotated[float, Field(gt=0.0, le=1.0)] = 0.1


@dataclass(config=_STRICT, frozen=True, kw_only=True)
class Ema:
    """Exponential moving average of the weights.

    Attributes:
        enabled: Keep one; it is then evaluated beside the raw weights.
        decay: Decay a step, once warmed up.
        warmup: Begin with a small decay, (1 + n) / (10 + n) after n steps, so that short runs are averaged too.
    """

    enabled: bool = True
    decay: Rate = 0.99996
    warmup: bool = True


@dataclass(config=_STRICT, frozen=True, kw_only=True)
class Distillation:
    """A trained model whose answers to the training images are part of the loss.

    Attributes:
        teacher: Name of a model, or a config; None: no distillation. It tells the same classes apart.
        teacher_weights: Its weights: path, URL, or name of published ones; None: the published ones of `teacher`.
        kind: `hard`: the teacher's best class is a second label. `soft`: its probabilities are the target.
        alpha: Part of the loss that is the teacher's; the rest is the labels'.
        temperature: By which the logits of both are divided where `kind` is `soft`; more flattens the probabilities.
    """

    teacher: str | None = None
    teacher_weights: str | None = None
    kind: Literal["hard", "soft"] = "hard"
    alpha: Annotated[float, Field(gt=0.0, le=1.0)] = 0.5
    temperature: Positive = 1.0

    @model_validator(mode="after")
    def _has_an_effect(self) -> Distillation:
        if self.teacher_weights is not None and self.teacher is None:
            raise ValueError("distillation.teacher_weights is given without a distillation.teacher; name its model")
        if self.kind == "hard" and self.temperature != 1.0:
            raise ValueError(
                f"distillation.temperature is {self.temperature} and does nothing where distillation.kind is 'hard'; "
                "use kind 'soft'"
            )
        return self


@dataclass(config=_STRICT, frozen=True, kw_only=True)
class Runtime:
    """How a run is carried out.

    Attributes:
        seed: All randomness of a run comes from it.
        device: `auto`: a GPU if there is one.
        precision: `bfloat16` and `float16` are autocast; weights stay float32. `auto`: the half precision that the
            device has instructions for, bfloat16 if there is a choice; float32 on processors that have none.
        compile: Compile the network by `torch.compile` while training.
        label_smoothing: Of the loss.
        class_weights: `balanced`: in the loss, images count by the inverse of their class's frequency, 1 on average.
        log_interval: Steps from one log line to the next.
        checkpoint_interval: Epochs from one checkpoint to the next; the last epoch has one always.
        checkpoint_steps: Steps from one checkpoint within an epoch to the next; None: none.
        keep_checkpoints: How many of the newest checkpoints stay, besides the best; None: all of them.
        validate: Evaluate at the checkpoints of epochs.
        early_stopping: Evaluations in a row without a better accuracy after which the run ends; None: it does not.
        nonfinite_limit: Steps in a row without a finite loss, none of which is taken, after which the run stops.
        wandb: Weights & Biases project to which the figures go, too; None: nowhere.
    """

    seed: Natural = 0
    device: str = "auto"
    precision: Literal["auto", "float32", "bfloat16", "float16"] = "float32"
    compile: bool = False
    label_smoothing: Rate = 0.1
    class_weights: Literal["none", "balanced"] = "none"
    log_interval: Count = 100
    checkpoint_interval: Count = 1
    checkpoint_steps: Count | None = None
    keep_checkpoints: Count | None = 3
    validate: bool = True
    early_stopping: Count | None = None
    nonfinite_limit: Count = 10
    wandb: str | None = None


#: Settings of `Model` that a baseline has none of.
_OF_T2T_VIT: Final = (
    "name", "drop_rate", "embed_dim", "depth", "num_heads", "mlp_ratio", "token_dim", "soft_splits", "tokens", "stack",
    "growth_rate", "pretrained", "grad_checkpointing",
)  # fmt: skip


@dataclass(config=_STRICT, frozen=True, kw_only=True)
class Experiment:
    """One run, whole: what a config file binds to the name `experiment`."""

    model: Model = Model()
    baseline: Baseline = Baseline()
    data: Data = Data()
    preprocessing: Preprocessing = Preprocessing()
    augmentation: Augmentation = Augmentation()
    optimizer: Optimizer = Optimizer()
    schedule: Schedule = Schedule()
    ema: Ema = Ema()
    distillation: Distillation = Distillation()
    runtime: Runtime = Runtime()

    @model_validator(mode="after")
    def _parts_fit(self) -> Experiment:
        for name in ("mean", "std"):
            values = getattr(self.preprocessing, name)
            if len(values) != self.model.in_chans:
                raise ValueError(
                    f"preprocessing.{name} has {len(values)} values and model.in_chans is {self.model.in_chans}; "
                    "give one value a channel"
                )
        if self.baseline.name is not None:
            for name in _OF_T2T_VIT:
                if getattr(self.model, name) != getattr(Model, name):
                    raise ValueError(
                        f"model.{name} is {getattr(self.model, name)!r} and does nothing for the baseline "
                        f"{self.baseline.name!r}; leave it out, or say it in baseline.options as timm calls it"
                    )
            if self.optimizer.layer_decay is not None:
                raise ValueError("optimizer.layer_decay does nothing for a baseline; leave it out")
        mixing = self.augmentation.mixup or self.augmentation.cutmix
        if mixing and self.data.batch_size % 2:
            raise ValueError(
                f"data.batch_size is {self.data.batch_size}; Mixup and CutMix pair images, so it must be even"
            )
        return self
