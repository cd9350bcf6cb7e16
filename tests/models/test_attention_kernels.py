"""Attention is the same function whichever way it is computed."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from t2t_vit.models import attention as module
from t2t_vit.models.attention import attention


def inputs(tokens, dtype):
    generator = torch.Generator().manual_seed(tokens)
    return [torch.randn(2, 3, tokens, 8, generator=generator).to(dtype).requires_grad_() for _ in range(3)]


@pytest.mark.parametrize("tokens", [5, 256, 257])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 3e-2)])
def test_values_and_gradients_are_those_of_float64(tokens, dtype, tolerance):
    given = inputs(tokens, dtype)
    exact = [value.detach().double().requires_grad_() for value in given]
    weight = torch.randn(2, 3, tokens, 8)
    found, expected = attention(*given, 0.3), F.scaled_dot_product_attention(*exact, scale=0.3)
    assert found.dtype == dtype
    torch.testing.assert_close(found.double(), expected, atol=tolerance, rtol=tolerance)
    (found * weight.to(dtype)).sum().backward()
    (expected * weight.double()).sum().backward()
    for one, other in zip(given, exact, strict=True):
        torch.testing.assert_close(one.grad.double(), other.grad, atol=2 * tolerance, rtol=2 * tolerance)


@pytest.mark.parametrize(
    ("tokens", "dtype", "trains", "is_fused"),
    [
        (256, torch.bfloat16, True, False),
        (257, torch.bfloat16, True, True),  # the weights would be large
        (256, torch.bfloat16, False, True),
        (256, torch.float32, True, True),
    ],
)
def test_the_plain_products_train_few_tokens_in_bfloat16(tokens, dtype, trains, is_fused, monkeypatch):
    called = []
    monkeypatch.setattr(module.F, "scaled_dot_product_attention", lambda q, k, v, scale: called.append(scale) or v)
    with torch.set_grad_enabled(trains):
        given = [value if trains else value.detach() for value in inputs(tokens, dtype)]
        attention(*given, 0.25)
    assert called == ([0.25] if is_fused else [])
