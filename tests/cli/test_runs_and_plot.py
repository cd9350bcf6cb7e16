"""`t2t-vit runs` and `t2t-vit plot`."""

from __future__ import annotations

import json
import shutil

from PIL import Image


def test_runs_are_listed_with_state_and_best_figures(command, trained):
    done = command("runs", trained.parent)
    assert done.status == 0
    (line,) = [line for line in done.out.splitlines() if "t2t_vit_t_14" in line]
    assert line.split()[:4] == ["run", "t2t_vit_t_14", "finished", "2/2"]
    assert line.count("%") == 2


def test_runs_are_listed_for_programs(command, trained, tmp_path):
    shutil.copytree(trained, tmp_path / "deep" / "copy")
    (tmp_path / "deep" / "copy" / "timeline.jsonl").unlink()
    done = command("runs", tmp_path, "--json")
    (run,) = map(json.loads, done.out.splitlines())
    assert (run["folder"], run["state"], run["step"]) == (str(tmp_path / "deep" / "copy"), "finished", 6)
    assert set(run["best"]) == {"raw", "ema"}


def test_a_folder_without_runs_has_none(command, tmp_path):
    done = command("runs", tmp_path)
    assert (done.status, done.out) == (0, f"no runs in {tmp_path}\n")
    done = command("runs", tmp_path / "gone")
    assert done.status == 1
    assert done.err.startswith(f"error: there is no folder '{tmp_path / 'gone'}'")


def test_the_curves_of_one_run_and_of_several_are_drawn(command, trained, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("x/fold0", "y/fold0"):
        shutil.copytree(trained, tmp_path / name)
    done = command("plot", "x/fold0")
    assert done.out == "x/fold0/curves.png\n"
    done = command("plot", "x/fold0", "y/fold0/log.jsonl", "--out", "both.svg")
    assert done.out == "both.svg\n"
    drawn = (tmp_path / "both.svg").read_text("utf-8")
    assert "x/fold0" in drawn  # runs of one name are told apart
    assert "y/fold0" in drawn
    assert command("plot", "x/fold0", "y/fold0").out == "curves.png\n"
    with Image.open("curves.png") as image:
        assert image.width > 1000


def test_what_is_no_run_is_told(command, tmp_path):
    done = command("plot", tmp_path)
    assert done.status == 1
    assert done.err.startswith(f"error: there is no training log {tmp_path / 'log.jsonl'}")


def test_a_timeline_with_a_number_that_is_none_does_not_end_the_listing(command, trained, tmp_path):
    run = tmp_path / "runs" / "broken"
    run.mkdir(parents=True)
    (run / "experiment.json").write_text("{}")
    (run / "timeline.jsonl").write_text('{"event": "end", "step": NaN}\n{"event": "begin", "time": Infinity}\n')
    done = command("runs", tmp_path / "runs")
    assert done.status == 0, done.err
    assert "broken" in done.out


def test_epochs_of_long_runs_are_written_out(command, trained, tmp_path):
    run = tmp_path / "long"
    shutil.copytree(trained, run)
    lines = [json.loads(line) for line in (run / "log.jsonl").read_text("utf-8").splitlines()]
    for line in lines:
        if "epoch" in line:
            line["epoch"] += 1232.5
    (run / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), "utf-8")
    done = command("runs", tmp_path)
    (line,) = [line for line in done.out.splitlines() if "t2t_vit_t_14" in line]
    assert line.split()[3] == "1234.5/2"
