"""The log of a run: lines for people and programs, and no step twice after a run went on."""

from __future__ import annotations

import json

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from t2t_vit.engine.log import RunLog, duration


def logged(folder):
    return [json.loads(line) for line in (folder / "log.jsonl").read_text(encoding="utf-8").splitlines()]


def run(folder, steps, from_step=0, **values):
    """Log `steps` of a run that begins at `from_step`."""
    with RunLog(folder, active=True, from_step=from_step, total_steps=100) as log:
        for step in steps:
            log.record("train", step, {"loss": 1.0 / step, **values})
            log.say(f"step {step}")


def test_log_keeps_numbers_for_programs_and_lines_for_people(tmp_path, capsys):
    with RunLog(tmp_path / "run", active=True, from_step=0, total_steps=10) as log:
        log.record("train", 5, {"loss": 0.5, "lr": 1e-3})
        log.record("val", 5, {"epoch": 1, "weights": "ema", "accuracy/top1": 81.5})
        log.say("epoch 1/2  [loss] 0.5")
        log.advance(5, "loss 0.5")
    assert logged(tmp_path / "run") == [
        {"kind": "train", "step": 5, "loss": 0.5, "lr": 1e-3},
        {"kind": "val", "step": 5, "epoch": 1, "weights": "ema", "accuracy/top1": 81.5},
    ]
    line = "epoch 1/2  [loss] 0.5\n"  # square brackets are no markup
    assert (tmp_path / "run" / "train.log").read_text(encoding="utf-8") == line
    assert capsys.readouterr().out == line


def test_numbers_are_in_tensorboard_by_kind_and_weights(tmp_path):
    with RunLog(tmp_path, active=True, from_step=0, total_steps=10) as log:
        log.record("train", 5, {"loss": 0.5})
        log.record("val", 5, {"weights": "ema", "accuracy/top1": 81.5})
    board = EventAccumulator(str(tmp_path / "tensorboard"))
    board.Reload()
    assert set(board.Tags()["scalars"]) == {"train/loss", "val/ema/accuracy/top1"}
    (event,) = board.Scalars("val/ema/accuracy/top1")
    assert (event.step, event.value) == (5, 81.5)


def test_run_that_goes_on_logs_no_step_twice(tmp_path, capsys):
    run(tmp_path, [1, 2, 3, 4, 5], before=True)
    run(tmp_path, [4, 5, 6], from_step=3, before=False)
    lines = logged(tmp_path)
    assert [line["step"] for line in lines] == [1, 2, 3, 4, 5, 6]
    assert [line["before"] for line in lines] == [True] * 3 + [False] * 3
    people = (tmp_path / "train.log").read_text(encoding="utf-8").splitlines()
    assert people == [f"step {step}" for step in (1, 2, 3, 4, 5, 4, 5, 6)]
    capsys.readouterr()


@pytest.mark.parametrize("from_step", [0, 3])
def test_run_that_goes_on_has_no_step_twice_in_tensorboard(tmp_path, capsys, from_step):
    run(tmp_path, [1, 2, 3, 4, 5], mark=1)
    run(tmp_path, range(from_step + 1, 7), from_step=from_step, mark=2)
    board = EventAccumulator(str(tmp_path / "tensorboard"))
    board.Reload()
    marks = {event.step: event.value for event in board.Scalars("train/mark")}
    assert [event.step for event in board.Scalars("train/mark")] == [1, 2, 3, 4, 5, 6]
    assert marks == {step: 1 if step <= from_step else 2 for step in range(1, 7)}
    capsys.readouterr()


def test_run_that_begins_anew_leaves_nothing_of_an_earlier_one(tmp_path, capsys):
    run(tmp_path, [1, 2, 3])
    run(tmp_path, [1])
    assert [line["step"] for line in logged(tmp_path)] == [1]
    capsys.readouterr()


def test_half_a_line_of_a_killed_run_is_dropped(tmp_path, capsys):
    run(tmp_path, [1, 2])
    with (tmp_path / "log.jsonl").open("ab") as file:
        file.write(b'{"kind": "train", "step": 2, "lo\xff')
    run(tmp_path, [3], from_step=2)
    assert [line["step"] for line in logged(tmp_path)] == [1, 2, 3]
    capsys.readouterr()


def test_other_processes_write_and_say_nothing(tmp_path, capsys):
    folder = tmp_path / "run"
    with RunLog(folder, active=False, from_step=0, total_steps=10) as log:
        log.record("train", 1, {"loss": 1.0})
        log.say("hello")
        log.advance(1)
    assert not folder.exists()
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(("seconds", "text"), [(0.4, "0:00:00"), (3723, "1:02:03"), (90_000, "1 day, 1:00:00")])
def test_duration(seconds, text):
    assert duration(seconds) == text
