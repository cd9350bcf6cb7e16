"""A folder that `save_pretrained` wrote, in transformers: the same images, scores and labels as here."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from t2t_vit import ImageClassificationInferencer, T2TViT, get_model
from t2t_vit.config import Experiment, Model, Preprocessing
from t2t_vit.data.preprocess import Preprocess
from t2t_vit.errors import ConfigError
from t2t_vit.integrations.huggingface import from_pretrained, save_pretrained

transformers = pytest.importorskip("transformers", reason="needs the extra: pip install 't2t-vit[huggingface]'")
import t2t_vit.integrations.transformers  # noqa: E402, F401

TINY: dict[str, Any] = {
    "name": "t2t_vit_t_14",
    "img_size": 32,
    "soft_splits": ((7, 2, 3), (3, 2, 1), (3, 2, 1)),
    "token_dim": 8,
    "embed_dim": 24,
    "depth": 2,
    "num_heads": 2,
    "num_classes": 7,
}
SQUASHED = Preprocessing(crop_pct=1.0, crop_mode="squash", interpolation="bilinear")
GREY = Preprocessing(mean=(0.4,), std=(0.3,))


@pytest.fixture(scope="module")
def photograph() -> Image.Image:
    from sklearn.datasets import load_sample_image

    return Image.fromarray(load_sample_image("flower.jpg"))


def built(preprocessing: Preprocessing | None = None, **settings: Any) -> T2TViT:
    """Return a tiny model whose scores differ from picture to picture."""
    model = get_model(Experiment(model=Model(**{**TINY, **settings}), preprocessing=preprocessing or Preprocessing()))
    generator = torch.Generator().manual_seed(0)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3, generator=generator)
    model.classes = tuple(f"class {i}" for i in range(model.num_classes))
    return model


def scores_of(predictions: list[dict[str, Any]], model: T2TViT) -> np.ndarray[Any, Any]:
    by_label = {prediction["label"]: prediction["score"] for prediction in predictions}
    return np.array([by_label[name] for name in model.classes or ()])


@pytest.mark.parametrize(
    ("preprocessing", "settings"),
    [
        (None, {}),
        (None, {"img_size": (48, 32)}),
        (None, {"img_size": (32, 64), "num_classes": 2}),
        (GREY, {"in_chans": 1}),
        (Preprocessing(crop_pct=0.875, interpolation="bilinear"), {"name": "t2t_vit_14", "depth": 3}),
        (SQUASHED, {"name": "t2t_vit_14_se", "embed_dim": 32}),
        (None, {"name": "t2t_vit_dense", "embed_dim": 32, "depth": (1, 2), "num_heads": 4, "growth_rate": 16}),
        (None, {"name": "t2t_vit_c_14", "soft_splits": ((4, 4, 0), (3, 2, 1))}),
    ],
)  # fmt: skip
def test_the_pipeline_gives_our_scores_and_labels(tmp_path, photograph, preprocessing, settings):
    model = built(preprocessing, **settings)
    save_pretrained(model, tmp_path)
    classify = transformers.pipeline("image-classification", model=str(tmp_path))
    ours = ImageClassificationInferencer(model)
    pictures = [photograph, photograph.resize((101, 257)), photograph.crop((5, 5, 32, 25))]
    for picture, theirs in zip(pictures, classify(pictures, top_k=7, batch_size=2), strict=True):
        mine = ours(picture)[0]
        np.testing.assert_allclose(scores_of(theirs, model), mine["pred_scores"], atol=1e-5)
        assert theirs[0]["label"] == mine["pred_class"]
    assert len(classify(photograph, top_k=5)) == min(5, model.num_classes)


def test_images_are_prepared_bit_for_bit_as_here(tmp_path, photograph):
    model = built(img_size=(48, 33))
    save_pretrained(model, tmp_path)
    processor = transformers.AutoImageProcessor.from_pretrained(tmp_path)
    prepare = Preprocess(**model.preprocessing)
    pixels = processor([photograph, np.asarray(photograph)])["pixel_values"]
    assert torch.equal(pixels, torch.stack([prepare(photograph)] * 2))
    clear = Image.new("RGBA", (50, 40), (255, 0, 0, 0))  # nothing of it can be seen
    assert torch.equal(processor(clear)["pixel_values"][0], prepare(Image.new("RGB", (50, 40), "white")))
    assert isinstance(processor(photograph, return_tensors="np")["pixel_values"], np.ndarray)


@pytest.mark.parametrize("options", [{"do_resize": False}, {"size": {"height": 8, "width": 8}, "do_normalize": False}])
def test_options_that_config_json_has_no_room_for_are_refused(options, tmp_path, photograph):
    save_pretrained(built(), tmp_path)
    processor = transformers.AutoImageProcessor.from_pretrained(tmp_path)
    for use in (
        lambda: processor(photograph, **options),
        lambda: transformers.AutoImageProcessor.from_pretrained(tmp_path, **options),
    ):
        with pytest.raises(ConfigError, match=f"{next(iter(options))}=.*: images of this model are prepared as"):
            use()
    assert torch.equal(processor(photograph, do_resize=None)["pixel_values"], processor(photograph)["pixel_values"])


def test_auto_classes_load_it_and_what_they_save_is_read_here(tmp_path, photograph):
    model = built(img_size=(48, 32))
    save_pretrained(model, tmp_path / "ours")
    theirs = transformers.AutoModelForImageClassification.from_pretrained(tmp_path / "ours").eval()
    processor = transformers.AutoImageProcessor.from_pretrained(tmp_path / "ours")
    pixels = processor(photograph)["pixel_values"]
    with torch.inference_mode():
        torch.testing.assert_close(theirs(pixels).logits, model(pixels))
        hidden = theirs(pixels, output_hidden_states=True).hidden_states
    assert [tuple(state.shape) for state in hidden] == [(1, 24, 6, 4)] * 2
    assert theirs.config.id2label == dict(enumerate(model.classes or ()))
    assert theirs.config.label2id["class 3"] == 3

    theirs.save_pretrained(tmp_path / "theirs")
    processor.save_pretrained(tmp_path / "theirs")
    back = from_pretrained(tmp_path / "theirs")
    assert torch.equal(back(pixels), model(pixels))
    assert (back.classes, back.preprocessing) == (model.classes, model.preprocessing)
    again = transformers.AutoImageProcessor.from_pretrained(tmp_path / "theirs")
    assert torch.equal(again(photograph)["pixel_values"], pixels)


def test_another_number_of_labels_gets_a_new_head(tmp_path, photograph):
    save_pretrained(built(), tmp_path)
    tuned = transformers.AutoModelForImageClassification.from_pretrained(
        tmp_path, num_labels=3, ignore_mismatched_sizes=True
    )
    pixels = transformers.AutoImageProcessor.from_pretrained(tmp_path)(photograph)["pixel_values"]
    output = tuned(pixels, labels=torch.tensor([2]))
    assert output.logits.shape == (1, 3)
    output.loss.backward()
    assert tuned.timm_model.cls_token.grad is not None


def test_a_model_without_head_gives_features(tmp_path, photograph):
    model = built()
    save_pretrained(get_model(Experiment(model=Model(**{**TINY, "num_classes": 3})), num_classes=0), tmp_path)
    theirs = transformers.AutoModel.from_pretrained(tmp_path).eval()
    pixels = Preprocess(**model.preprocessing)(photograph).unsqueeze(0)
    with torch.inference_mode():
        features = theirs(pixels).pooler_output
        torch.testing.assert_close(features, from_pretrained(tmp_path)(pixels))


def test_timms_other_models_keep_timms_preparation(tmp_path):
    save_pretrained(built(), tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {"architecture": "resnet18", "model_args": {}}))
    processor = transformers.AutoImageProcessor.from_pretrained(tmp_path)
    assert type(processor) is transformers.TimmWrapperImageProcessor


def test_a_wrong_setting_is_told_in_one_line(tmp_path):
    save_pretrained(built(), tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {"pretrained_cfg": {"crop_pct": 2}}))
    with pytest.raises(ConfigError, match="crop_pct is 2"):
        transformers.AutoImageProcessor.from_pretrained(tmp_path)


@pytest.mark.parametrize("tokens", ["transformer", "performer"])
def test_a_folder_can_be_used_in_half_precision(tokens, photograph, tmp_path):
    model = get_model(Experiment(model=Model(**TINY, tokens=tokens)))
    save_pretrained(model, tmp_path / "float32")
    classify = transformers.pipeline("image-classification", model=str(tmp_path / "float32"), dtype=torch.bfloat16)
    label = int(ImageClassificationInferencer(model)(photograph)[0]["pred_label"])
    assert label in [int(found["label"].removeprefix("LABEL_")) for found in classify(photograph, top_k=3)]

    save_pretrained(model.bfloat16(), tmp_path / "bfloat16")
    whole = transformers.AutoModelForImageClassification.from_pretrained(tmp_path / "bfloat16")
    assert {value.dtype for value in whole.state_dict().values()} == {torch.bfloat16}
