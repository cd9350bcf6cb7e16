"""The position table: known numbers, and other grids."""

from __future__ import annotations

import math

import plain_t2t_vit
import pytest
import torch

from t2t_vit.models.position import resize_position_table, sinusoid_table


def test_known_values():
    table = sinusoid_table(197, 384)
    assert table.shape == (1, 197, 384)
    assert table.dtype == torch.float32
    assert table[0, 0].tolist() == [0.0, 1.0] * 192
    for position, column, angle in [
        (1, 0, 1.0),
        (196, 0, 196.0),
        (196, 2, 196 / 10000 ** (2 / 384)),
        (100, 192, 100 / 10000**0.5),
        (196, 382, 196 / 10000 ** (382 / 384)),
    ]:
        assert float(table[0, position, column]) == pytest.approx(math.sin(angle), abs=1e-7)
        assert float(table[0, position, column + 1]) == pytest.approx(math.cos(angle), abs=1e-7)


@pytest.mark.parametrize(("num_positions", "dim"), [(197, 384), (5, 7)])
def test_every_value_is_rounded_once_from_float64(num_positions, dim):
    expected = plain_t2t_vit.positions(num_positions, dim).float()
    # In float32 throughout, the sine of 196 were off by 7e-6.
    torch.testing.assert_close(sinusoid_table(num_positions, dim)[0], expected, rtol=0, atol=6e-8)


def test_table_is_a_buffer_and_is_not_trained(tiny):
    model = tiny()
    assert "pos_embed" in model.state_dict()
    assert "pos_embed" not in dict(model.named_parameters())
    torch.testing.assert_close(model.pos_embed, sinusoid_table(1 + 2 * 2, 24), rtol=0, atol=0)


def test_own_grid_leaves_the_table_as_it_is():
    table = sinusoid_table(13, 8)
    assert resize_position_table(table, (3, 4), (3, 4)) is table


def test_other_grids_keep_the_class_row_and_the_axes_apart():
    """Numbers that rise down the grid alone, and across it alone, still do so after the interpolation."""
    rows, columns = torch.meshgrid(torch.arange(6.0), torch.arange(8.0), indexing="ij")
    grid = torch.stack([rows, columns, torch.full((6, 8), 5.0)], dim=-1).reshape(1, 48, 3)
    table = torch.cat([torch.tensor([[[-1.0, -2.0, -3.0]]]), grid], dim=1)
    resized = resize_position_table(table, (6, 8), (12, 4))
    assert resized.shape == (1, 49, 3)
    assert resized[0, 0].tolist() == [-1, -2, -3]
    down, across, even = resized[0, 1:].reshape(12, 4, 3).unbind(-1)
    torch.testing.assert_close(even, torch.full((12, 4), 5.0))
    torch.testing.assert_close(down, down[:, :1].expand(12, 4))
    torch.testing.assert_close(across, across[:1].expand(12, 4))
    # Pixel centres: (i + 0.5) / 2 - 0.5 down, 2 (i + 0.5) - 0.5 across; PyTorch's cubic bends a ramp by a twentieth.
    torch.testing.assert_close(down[4:8, 0], torch.tensor([1.75, 2.25, 2.75, 3.25]), rtol=0, atol=0.05)
    torch.testing.assert_close(across[0, 1:3], torch.tensor([2.5, 4.5]), rtol=0, atol=0.05)


def test_interpolation_is_bicubic():
    """A step that is made twice as wide shows the weights of the cubic at a quarter and at three quarters."""
    a, t = -0.75, 0.25  # PyTorch's cubic coefficient

    def near(x):
        return (a + 2) * x**3 - (a + 3) * x**2 + 1

    def far(x):
        return a * x**3 - 5 * a * x**2 + 8 * a * x - 4 * a

    weights = [far(1 + t), near(t), near(1 - t), far(2 - t)]
    table = torch.zeros(1, 1 + 8, 1)
    table[0, 1 + 4 :] = 1.0  # a step in a grid of 1 row and 8 columns
    resized = resize_position_table(table, (1, 8), (1, 16))[0, 1:, 0]
    # Column 7 lies a quarter past the old column 3; column 8 a quarter before the old column 4.
    assert float(resized[7]) == pytest.approx(weights[2] + weights[3], abs=1e-6)
    assert float(resized[8]) == pytest.approx(weights[1] + weights[0], abs=1e-6)


def test_table_of_another_grid_is_refused():
    with pytest.raises(ValueError, match=r"17 rows does not belong to a grid of \(3, 4\)"):
        resize_position_table(sinusoid_table(17, 8), (3, 4), (6, 8))


def test_larger_picture_gets_the_interpolated_table(tiny):
    model = tiny()
    x = torch.randn(1, 3, 64, 32)
    with torch.no_grad():
        tokens = torch.cat([model.cls_token, model.tokens_to_token(x)], dim=1)
        expected = tokens + resize_position_table(model.pos_embed, (2, 2), (4, 2))
        torch.testing.assert_close(model.embed(x), expected)
        assert not torch.equal(expected, tokens)
