"""What a run has left, read back, whatever state it is in."""

from __future__ import annotations

import json
import os
import sys

import pytest
from filelock import FileLock

from t2t_vit.engine.history import LOCK, find_runs, read_history
from t2t_vit.engine.log import RunLog


def begin(folder, epochs=4):
    folder.mkdir(parents=True, exist_ok=True)
    settings = {"model": {"name": "t2t_vit_7"}, "schedule": {"epochs": epochs}}
    (folder / "experiment.json").write_text(json.dumps(settings), encoding="utf-8")
    return folder


def part(folder, epochs, from_step=0, error=None):
    """Log epochs of ten steps, evaluating raw and averaged weights after each."""
    try:
        with RunLog(folder, active=True, from_step=from_step, total_steps=40) as log:
            for epoch, raw, ema in epochs:
                log.advance(10 * epoch)
                log.record("train", 10 * epoch, {"epoch": float(epoch), "loss": 1.0})
                for weights, top1 in (("raw", raw), ("ema", ema)):
                    log.record("val", 10 * epoch, {"epoch": epoch, "weights": weights, "accuracy/top1": top1})
            if error is not None:
                raise error
    except RuntimeError:
        pass
    return read_history(folder)


def test_a_finished_run_tells_its_best_epochs(tmp_path, capsys):
    run = part(begin(tmp_path / "a"), [(1, 50.0, 10.0), (2, 70.0, 60.0), (3, 65.0, 72.5), (4, 66.0, 72.5)])
    assert (run.model, run.state, run.reason, run.step, run.total_steps) == ("t2t_vit_7", "finished", "", 40, 40)
    assert (run.epoch, run.epochs) == (4.0, 4)
    assert (run.best["raw"].top1, run.best["raw"].epoch) == (70.0, 2)
    assert (run.best["ema"].top1, run.best["ema"].epoch) == (72.5, 3)
    assert 0 <= run.seconds < 60
    capsys.readouterr()


@pytest.mark.parametrize(
    ("error", "state"),
    [
        (RuntimeError("stopped at step 20 of 40; go on with --resume"), "stopped"),
        (RuntimeError("the loss is nan"), "failed"),
    ],
)
def test_a_run_that_did_not_come_to_its_end_says_why(error, state, tmp_path, capsys):
    run = part(begin(tmp_path), [(1, 50.0, 10.0), (2, 70.0, 60.0)], error=error)
    assert (run.state, run.reason, run.step) == (state, str(error), 20)
    run = part(tmp_path, [(3, 71.0, 60.0), (4, 72.0, 60.0)], from_step=20)
    assert (run.state, run.reason, run.step, run.best["raw"].top1) == ("finished", "", 40, 72.0)
    capsys.readouterr()


def test_a_run_whose_end_is_nowhere_was_killed(tmp_path, capsys):
    part(begin(tmp_path), [(1, 50.0, 10.0)])
    lines = (tmp_path / "timeline.jsonl").read_text("utf-8").splitlines()
    (tmp_path / "timeline.jsonl").write_text(lines[0] + "\n" + lines[1][:9])
    run = read_history(tmp_path)
    assert (run.state, run.step) == ("killed", 10)
    capsys.readouterr()


def test_the_time_is_that_of_all_parts_without_the_pauses(tmp_path):
    begin(tmp_path)
    times = [("begin", 1000), ("end", 1060), ("begin", 5000), ("end", 5030)]
    lines = [json.dumps({"event": event, "step": 0, "time": time}) for event, time in times]
    (tmp_path / "timeline.jsonl").write_text("\n".join(lines))
    run = read_history(tmp_path)
    assert (run.seconds, run.begun) == (90, 1000)


def test_the_time_of_a_killed_part_is_kept_when_the_run_goes_on(tmp_path, capsys):
    part(begin(tmp_path), [(1, 50.0, 10.0)])
    timeline, log = tmp_path / "timeline.jsonl", tmp_path / "log.jsonl"
    now = log.stat().st_mtime
    event = {**json.loads(timeline.read_text("utf-8").splitlines()[0]), "time": now - 100}
    timeline.write_text(json.dumps(event) + "\n", "utf-8")
    os.utime(log, (now - 60, now - 60))
    assert read_history(tmp_path).state == "killed"
    for _ in range(2):
        run = part(tmp_path, [(2, 50.0, 10.0)], from_step=10)
        assert 39.9 <= run.seconds < 45
    events = [json.loads(line)["event"] for line in timeline.read_text("utf-8").splitlines()]
    assert events == ["begin", "end"] * 3
    capsys.readouterr()


def test_a_run_that_holds_its_folder_is_running(tmp_path, capsys):
    part(begin(tmp_path), [(1, 50.0, 10.0)])
    (tmp_path / LOCK).touch()
    assert read_history(tmp_path).state == "finished"
    with FileLock(tmp_path / LOCK):
        assert read_history(tmp_path).state == "running"
    assert read_history(tmp_path).state == "finished"
    capsys.readouterr()


def test_the_file_that_a_run_holds_is_the_one_looked_at():
    from t2t_vit.run import occupied

    assert occupied.LOCK == LOCK


@pytest.mark.parametrize("content", ["", "{", "[1]", '{"model": 7, "schedule": null}'])
def test_a_damaged_run_is_listed_with_what_is_left(content, tmp_path):
    (tmp_path / "experiment.json").write_text(content)
    (tmp_path / "log.jsonl").write_bytes(b'{"kind": "val", "step": 3, "accuracy/top1": 5.0}\n\xff\xfe{"kind"\n7\n')
    run = read_history(tmp_path)
    assert (run.model, run.epochs, run.state, run.step, run.seconds) == ("", None, "killed", 3, None)
    assert run.best["raw"].top1 == 5.0


def test_runs_are_found_at_any_depth(tmp_path):
    for name in ("b", "a/fold0", "a/fold1"):
        begin(tmp_path / name)
    assert find_runs(tmp_path) == [tmp_path / "a" / "fold0", tmp_path / "a" / "fold1", tmp_path / "b"]
    assert find_runs(tmp_path / "b") == [tmp_path / "b"]


def test_reading_needs_no_torch():
    import subprocess

    code = "import sys, t2t_vit.engine.history; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
