import json
import math

import numpy as np
import pytest

from t2t_vit.errors import ConfigError
from t2t_vit.visualization.curves import _RUN_COLOURS, plot_curves, plot_runs, read_log


def train(step, loss=1.0, **more):
    return {"kind": "train", "step": step, "epoch": step / 10, "loss": loss, "lr": 1e-3, **more}


def val(epoch, top1, weights="raw", **more):
    return {
        "kind": "val",
        "step": 10 * epoch,
        "epoch": epoch,
        "weights": weights,
        "accuracy/top1": top1,
        **more,
    }


@pytest.fixture
def write_log(tmp_path):
    def write(*lines, name="my_run", end=""):
        log = tmp_path / name / "log.jsonl"
        log.parent.mkdir()
        log.write_text("".join(json.dumps(line) + "\n" for line in lines) + end, encoding="utf-8")
        return log

    return write


def find(texts, beginning):
    return [text for text in texts if text.startswith(beginning)]


def test_the_best_accuracy_is_marked_and_said_with_its_weights_and_epoch(write_log, tmp_path, texts_of):
    log = write_log(
        *(train(step) for step in range(1, 31)),
        *(val(1, 40.0), val(1, 30.0, "ema")),
        *(val(2, 70.0), val(2, 81.834, "ema", **{"accuracy/top5": 95.84})),
        *(val(3, 75.0), val(3, 79.0, "ema", **{"accuracy/top5": 99.0})),
    )
    texts = texts_of(plot_curves(log, tmp_path / "a.svg"))
    assert "Best top-1 accuracy 81.83 %, top-5 95.84 % (EMA weights, epoch 2)" in texts
    assert "81.83 %" in texts
    assert {"EMA weights", "raw weights", "training"} <= set(texts)
    assert {"top-1 accuracy (%)", "loss", "learning rate", "epochs trained", "my_run"} <= set(texts)


def test_the_last_losses_are_said(write_log, tmp_path, texts_of):
    log = write_log(train(1, 3.0), train(2, 0.5), val(1, 50.0, loss=0.75), val(2, 60.0, loss=0.25))
    assert find(texts_of(plot_curves(log, tmp_path / "a.svg")), "Loss") == [
        "Loss at the end: training 0.5; validation, raw weights 0.25"
    ]


@pytest.mark.parametrize("end", ['{"kind": "train", "st', "\n\n", "\x00\x00\x00", '{"kind":', "7"])
def test_a_cut_last_line_is_left_out(write_log, tmp_path, texts_of, end):
    log = write_log(train(1), train(2), end=end)
    assert len(read_log(log).train["loss"]) == 2
    texts = texts_of(plot_curves(log, tmp_path / "a.svg"))
    assert len(find(texts, "without 1 cut line")) == bool(end.strip())


def test_a_line_cut_within_a_character_is_left_out(write_log):
    log = write_log(train(1))
    log.write_bytes(log.read_bytes() + '{"kind": "ü'.encode()[:-1])
    assert read_log(log).num_unreadable == 1


@pytest.mark.parametrize("bad", [math.nan, math.inf, None, "diverged"])
def test_losses_that_are_no_numbers_are_counted_and_the_others_drawn(write_log, tmp_path, texts_of, bad):
    log = write_log(train(1, 2.0), train(2, bad), train(3, bad), train(4, 1.5))
    texts = texts_of(plot_curves(log, tmp_path / "a.svg"))
    assert "training, not a number (2×)" in texts
    assert "Loss at the end: training 1.5" in texts


def test_a_run_of_nothing_but_nan_is_drawn(write_log, tmp_path, texts_of):
    log = write_log(train(1, math.nan), val(1, math.nan, loss=math.nan))
    texts = texts_of(plot_curves(log, tmp_path / "a.svg"))
    assert "Loss" in texts
    assert not find(texts, "Best")


def test_without_validation_there_is_no_accuracy(write_log, tmp_path, texts_of):
    texts = texts_of(plot_curves(write_log(train(1), train(2)), tmp_path / "a.svg"))
    assert not find(texts, "top-1")
    assert "learning rate" in texts


@pytest.mark.parametrize("line", [train(1), val(1, 50.0), val(3, 50.0, "ema"), {"kind": "val", "step": 1}])
def test_a_single_line_makes_a_picture(write_log, tmp_path, line):
    assert plot_curves(write_log(line), tmp_path / "a.png").stat().st_size > 0


@pytest.mark.parametrize("suffix", [".png", ".pdf", ".svg"])
def test_curves_are_drawn_in_any_format(write_log, tmp_path, suffix):
    assert plot_curves(write_log(train(1), train(2), val(1, 5.0)), tmp_path / f"a{suffix}").stat().st_size > 0


def test_an_accuracy_that_is_no_number_is_not_the_best(write_log, tmp_path, texts_of):
    log = write_log(val(1, 40.0), val(2, math.nan), val(3, 50.0), val(4, 45.0))
    assert find(texts_of(plot_curves(log, tmp_path / "a.svg")), "Best") == [
        "Best top-1 accuracy 50.00 % (raw weights, epoch 3)"
    ]


def test_a_single_training_point_is_visible(write_log, tmp_path):
    marker = "stroke: #0072b2"  # matplotlib draws a marker as a shape of its own, a line only as a path
    one = plot_curves(write_log(train(1), name="one"), tmp_path / "a.svg").read_text("utf-8")
    two = plot_curves(write_log(train(1), train(2), name="two"), tmp_path / "b.svg").read_text("utf-8")
    assert sum(marker in line and "<use" in line for line in one.splitlines()) >= 2  # loss and learning rate
    assert not any(marker in line and "<use" in line for line in two.splitlines())


def test_lines_of_other_kinds_do_not_matter(write_log):
    log = write_log({"kind": "config", "seed": 1}, train(1), {"note": "no kind"})
    assert len(read_log(log).train["loss"]) == 1
    assert read_log(log).num_unreadable == 0


def test_of_a_step_logged_twice_the_later_line_counts(write_log):
    log = write_log(train(1, 5.0), train(2, 4.0), train(3, 9.0), train(2, 3.0), train(3, 2.0))
    np.testing.assert_array_equal(read_log(log).train["loss"], [5.0, 3.0, 2.0])


def test_lines_are_put_in_the_order_of_their_steps(write_log):
    log = write_log(train(1, 5.0), train(4, 2.0), train(2, 4.0))  # it went on from step 1, logging more often
    np.testing.assert_array_equal(read_log(log).train["loss"], [5.0, 4.0, 2.0])


def test_raw_and_ema_of_one_step_are_kept_apart(write_log):
    validation = read_log(write_log(val(1, 40.0), val(1, 30.0, "ema"), val(2, 45.0))).validation
    np.testing.assert_array_equal(validation["raw"]["accuracy/top1"], [40.0, 45.0])
    np.testing.assert_array_equal(validation["ema"]["accuracy/top1"], [30.0])
    assert np.isnan(validation["raw"]["loss"]).all()


def test_a_log_of_many_lines_makes_a_small_vector_file(write_log, tmp_path):
    log = write_log(*(train(step, 1 + step % 7) for step in range(20_000)))
    assert plot_curves(log, tmp_path / "a.svg").stat().st_size < 100_000


def test_several_runs_are_drawn_together_under_their_names(write_log, tmp_path, texts_of):
    logs = [write_log(train(1), val(1, 40.0 + i), name=name) for i, name in enumerate(["_a", "$b_1$", "c" * 99])]
    texts = texts_of(plot_runs([read_log(log) for log in logs], tmp_path / "a.svg"))
    assert {"3 runs", "40.00 %  _a", "41.00 %  $b_1$", f"42.00 %  {'c' * 31}…"} <= set(texts)
    assert find(texts, "Best") == [f"Best top-1 accuracy 42.00 % (raw weights of {'c' * 23}…, epoch 1)"]
    assert {"training", "validation, raw weights"} <= set(texts)


def test_eight_runs_have_eight_colours_and_no_legend_over_another(write_log, tmp_path, texts_of):
    runs = [read_log(write_log(train(1), train(2), val(1, 40.0 + i), name=f"run_{i}")) for i in range(8)]
    picture = plot_runs(runs, tmp_path / "a.svg")
    texts = texts_of(picture)
    assert len(find(texts, "4")) >= 8
    assert texts.count("validation, raw weights") == 1  # and not once a run
    drawn = picture.read_text("utf-8")
    assert len({colour for colour in _RUN_COLOURS if f"stroke: {colour.lower()}" in drawn}) >= 7
    assert len(set(_RUN_COLOURS)) == 8


def test_a_run_without_validation_stands_in_the_legend(write_log, tmp_path, texts_of):
    logs = [write_log(train(1), name="a"), write_log(train(1), val(1, 50.0), name="b")]
    texts = texts_of(plot_runs([read_log(log) for log in logs], tmp_path / "a.svg"))
    assert {"–  a", "50.00 %  b"} <= set(texts)


@pytest.mark.parametrize("content", ["", "\n \n", "not json\n", '{"kind": "config"}\n', "[1, 2]\n"])
def test_a_log_without_a_line_of_training_is_refused(tmp_path, content):
    log = tmp_path / "log.jsonl"
    log.write_text(content)
    with pytest.raises(ConfigError, match="no training or validation line") as caught:
        plot_curves(log, tmp_path / "a.png")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "a.png").exists()


def test_an_absent_log_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"there is no training log .*absent\.jsonl"):
        plot_curves(tmp_path / "absent.jsonl", tmp_path / "a.png")


def test_a_folder_is_no_log(tmp_path):
    with pytest.raises(ConfigError, match="cannot be read"):
        plot_curves(tmp_path, tmp_path / "a.png")


def test_no_run_at_all_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="no run to draw"):
        plot_runs([], tmp_path / "a.png")
