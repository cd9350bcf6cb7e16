"""Outputs of the two existing implementations are met, for every form of output and for non-square images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import plain_t2t_vit
import pytest
import torch

REFERENCE = Path(__file__).parents[3] / "shared" / "reference" / "expected.npz"
WITHOUT_REFERENCE = pytest.mark.skipif(not REFERENCE.is_file(), reason="the reference is not in ../shared/reference")

# Float32 sums in another order differ by 4e-6; an attention scale that is 2 % off, by 5e-4.
TOLERANCE = 1e-4
MMPRETRAIN = "mmpretrain/t2t-vit-t-14"
SIZES = {"224": (224, 224), "nonsquare": (192, 320)}


def check(actual, expected):
    np.testing.assert_allclose(actual.numpy(), expected, rtol=0, atol=TOLERANCE)


@pytest.fixture(scope="module")
def mmpretrain(filled):
    return filled("t2t_vit_t_14", "mmpretrain")


@pytest.fixture(scope="module")
def images(fill):
    return {name: torch.from_numpy(fill.normalized_input(7, 2, *size)) for name, size in SIZES.items()}


@pytest.fixture(scope="module")
def tokens(mmpretrain, images):
    """The normalized tokens of the last layer, by size: computed once, as they take a second each."""
    with torch.no_grad():
        return {name: mmpretrain.forward_features(image) for name, image in images.items()}


@pytest.mark.parametrize("size", SIZES)
def test_logits_and_class_token_are_mmpretrains(mmpretrain, tokens, golden, size):
    with torch.no_grad():
        check(mmpretrain.forward_head(tokens[size]), golden[f"{MMPRETRAIN}/{size}/logits"])
    check(tokens[size][:, 0], golden[f"{MMPRETRAIN}/{size}/cls_token"])


def test_logits_and_class_token_are_the_official_ones(filled, images, golden):
    model = filled("t2t_vit_t_14", "official")
    with torch.no_grad():
        tokens = model.forward_features(images["224"])
        check(model.forward_head(tokens), golden["official/t2t_vit_t_14/224/logits"])
    check(tokens[:, 0], golden["official/t2t_vit_t_14/224/cls_token"])


def outputs_of_types(model, tokens):
    """What `extract_feat` makes of these tokens of the first image, by `out_type`."""
    outputs = {}
    for out_type in ("cls_token", "raw", "featmap", "avg_featmap"):
        model.out_type = out_type
        outputs[out_type] = model._format(tokens["224"][:1], (14, 14))
    model.out_type = "cls_token"
    return outputs


def test_every_out_type_is_mmpretrains(mmpretrain, tokens, golden):
    outputs = outputs_of_types(mmpretrain, tokens)
    assert outputs["raw"].shape == (1, 197, 384)
    assert outputs["featmap"].shape == (1, 384, 14, 14)
    check(outputs["raw"][:, ::14], golden[f"{MMPRETRAIN}/224/raw_every_14th_token"])
    check(outputs["featmap"][:, :, ::5, ::5], golden[f"{MMPRETRAIN}/224/featmap_every_5th_row_and_column"])
    check(outputs["avg_featmap"], golden[f"{MMPRETRAIN}/224/avg_featmap"])


@WITHOUT_REFERENCE
def test_every_token_of_the_reference_is_met(mmpretrain, tokens):
    with np.load(REFERENCE) as reference:
        for out_type, output in outputs_of_types(mmpretrain, tokens).items():
            expected = reference[f"{MMPRETRAIN}/224/{out_type}"]
            check(output, expected[:1])


@WITHOUT_REFERENCE
def test_golden_outputs_are_the_references(golden):
    with np.load(REFERENCE) as reference:
        for key, values in golden.items():
            if key.endswith("raw_every_14th_token"):
                expected = reference[key.replace("_every_14th_token", "")][:, ::14]
            elif key.endswith("featmap_every_5th_row_and_column"):
                expected = reference[key.replace("_every_5th_row_and_column", "")][:, :, ::5, ::5]
            else:
                expected = reference[key]
            np.testing.assert_array_equal(values, expected)


def test_whole_model_gives_what_its_parts_give(mmpretrain, images, golden):
    with torch.no_grad():
        logits = mmpretrain(images["224"][:1])
        (feature,) = mmpretrain.extract_feat(images["224"][:1])
    check(logits, golden[f"{MMPRETRAIN}/224/logits"][:1])
    check(feature, golden[f"{MMPRETRAIN}/224/cls_token"][:1])


# --- the written-out model, by which the larger variants are held ---


def test_written_out_model_gives_the_golden_logits(filled, images, golden):
    """So that it can stand for the reference where there is none."""
    with torch.no_grad():
        _, logits = plain_t2t_vit.tokens_and_logits(
            filled("t2t_vit_t_14", "mmpretrain").state_dict(), images["224"][:1], 6
        )
    check(logits, golden[f"{MMPRETRAIN}/224/logits"][:1])


@pytest.mark.parametrize(("name", "num_heads"), [("t2t_vit_t_14", 6), ("t2t_vit_t_19", 7), ("t2t_vit_t_24", 8)])
def test_variant_agrees_with_the_written_out_model(undrawn, fill, images, name, num_heads):
    model = undrawn(name)
    with torch.no_grad():
        generator = torch.Generator().manual_seed(1)
        for key, parameter in model.named_parameters():
            # As `fill.py` has it, but drawn by torch, which takes a tenth of the time.
            n = torch.randn(parameter.shape, generator=generator)
            if key == "cls_token":
                parameter.copy_(n / 2)
            elif parameter.ndim == 1:
                parameter.copy_(n / 10 + key.endswith("weight"))
            else:
                parameter.copy_(n / parameter.shape[1] ** 0.5)
        image = images["224"][:1]
        expected, expected_logits = plain_t2t_vit.tokens_and_logits(model.state_dict(), image, num_heads)
        tokens = model.forward_features(image)
        check(tokens, expected)
        check(model.forward_head(tokens), expected_logits)


# --- half precision ---


def relative_difference(actual, expected):
    expected = torch.from_numpy(expected)
    return float((actual.float() - expected).norm() / expected.norm())


def test_bfloat16_stays_within_two_percent(mmpretrain, images, golden):
    """Bfloat16 has 8 bits: 0.4 % a rounding; the logits of 14 layers are then off by about 1 %."""
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        logits = mmpretrain(images["224"])
    assert logits.dtype == torch.bfloat16
    assert 0 < relative_difference(logits, golden[f"{MMPRETRAIN}/224/logits"]) < 2e-2
