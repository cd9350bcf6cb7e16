"""The log of a run: lines for people and programs, and no step twice after a run went on."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from types import SimpleNamespace

import pytest
from rich.console import Console
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from t2t_vit.engine.log import RunLog, duration
from t2t_vit.errors import ConfigError


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
        log.advance(5)
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


#: Logs five steps and is killed while it writes the sixth.
KILLED = """
import os, signal, sys
from pathlib import Path
from t2t_vit.engine.log import RunLog
folder = Path(sys.argv[1])
with RunLog(folder, active=True, from_step=0, total_steps=9) as log:
    for step in range(1, 6):
        log.record("train", step, {"mark": 1})
        log.say(f"step {step}")
    with (folder / "log.jsonl").open("a") as file:
        file.write('{"kind": "train", "step": 6, "ma')
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_run_killed_in_the_middle_of_a_line_goes_on_without_a_gap_or_a_double(tmp_path, capsys):
    done = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], check=False, capture_output=True)
    assert done.returncode == -signal.SIGKILL
    (events,) = (tmp_path / "tensorboard").iterdir()
    with events.open("ab") as file:  # and in the middle of an event
        file.write(b"\x18\x00")
    run(tmp_path, range(4, 9), from_step=3, mark=2)
    assert [(line["step"], line["mark"]) for line in logged(tmp_path)] == [
        *((step, 1) for step in (1, 2, 3)),
        *((step, 2) for step in (4, 5, 6, 7, 8)),
    ]
    board = EventAccumulator(str(tmp_path / "tensorboard"))
    board.Reload()
    assert [(event.step, event.value) for event in board.Scalars("train/mark")] == [
        *((step, 1) for step in (1, 2, 3)),
        *((step, 2) for step in (4, 5, 6, 7, 8)),
    ]
    events = [json.loads(line) for line in (tmp_path / "timeline.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [(line["event"], line["step"]) for line in events] == [("begin", 0), ("end", 0), ("begin", 3), ("end", 3)]
    capsys.readouterr()


def test_a_line_after_half_a_line_is_whole(tmp_path, capsys):
    run(tmp_path, [1])
    with (tmp_path / "timeline.jsonl").open("a") as file:
        file.write('{"event": "be')
    run(tmp_path, [2], from_step=1)
    lines = (tmp_path / "timeline.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["event"] for line in (lines[0], lines[1], *lines[3:])] == ["begin", "end", "begin", "end"]
    capsys.readouterr()


def test_the_timeline_tells_how_they_ended(tmp_path, capsys):
    run(tmp_path, [1])

    def fail():
        with RunLog(tmp_path, active=True, from_step=1, total_steps=9) as log:
            log.advance(4)
            raise ValueError("too far\nby two")

    with pytest.raises(ValueError, match="far"):
        fail()
    first, second, third, last = map(json.loads, (tmp_path / "timeline.jsonl").read_text("utf-8").splitlines())
    assert (first["event"], first["total_steps"], second["event"]) == ("begin", 100, "end")
    assert first["time"] <= second["time"] <= third["time"] <= last["time"]
    assert "error" not in second
    assert (last["event"], last["step"], last["error"]) == ("end", 4, "too far by two")
    capsys.readouterr()


def test_bar_shows_speed_time_left_loss_rate_and_memory(tmp_path, monkeypatch):
    with RunLog(tmp_path, active=True, from_step=0, total_steps=10) as quiet:
        pass
    log = RunLog(tmp_path, active=True, from_step=0, total_steps=10)
    log.console = Console(force_terminal=True, width=200, record=True, file=quiet.console.file)
    with log:
        log.record("train", 5, {"loss": 0.5, "lr": 1e-3, "images_per_second": 321.4, "memory_mib": 2048.2})
        log.advance(5)
    shown = log.console.export_text()
    for text in ("5/10", "time left", "loss 0.500", "rate 1.00e-03", "321 images/s", "2048 MiB"):
        assert text in shown


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="other systems tell it otherwise")
def test_on_a_cpu_the_memory_is_that_of_the_process():
    from t2t_vit.engine.log import _resident_mib

    assert 20 < _resident_mib() < 20_000


class Service:
    """What stands in for the library `wandb`: notes what arrives, and fails where it is told to."""

    def __init__(self, fails=()):
        self.fails, self.sent, self.calls, self.ids = set(fails), [], [], []
        self.Settings = SimpleNamespace

    def _do(self, what):
        self.calls.append(what)
        if what in self.fails:
            raise OSError(f"{what} does not answer")

    def init(self, mode="online", **arguments):
        self._do(mode)
        self.arguments = arguments
        self.ids.append(arguments["id"])
        return self

    def teardown(self):
        self._do("teardown")

    def define_metric(self, *_, **__):
        self._do("define")

    def log(self, figures):
        self._do("log")
        self.sent.append(figures)

    def finish(self, exit_code):
        self._do("finish")
        self.status = exit_code


@pytest.fixture
def service(monkeypatch):
    def install(*fails):
        service = Service(fails)
        monkeypatch.setitem(sys.modules, "wandb", service)
        return service

    return install


def test_figures_go_to_weights_and_biases_once_however_often_a_run_goes_on(tmp_path, service, capsys):
    wandb = service()
    for from_step, steps in ((0, range(1, 6)), (3, range(4, 8))):
        with RunLog(tmp_path, active=True, from_step=from_step, total_steps=9, wandb="p", settings={"a": 1}) as log:
            for step in steps:
                log.record("train", step, {"loss": 1 / step})
                log.record("val", step, {"weights": "ema", "accuracy/top1": 50.0})
    assert [line["step"] for line in wandb.sent] == [step for step in range(1, 8) for _ in "tv"]
    assert wandb.sent[1] == {"step": 1, "val/ema/accuracy/top1": 50.0}
    assert len(wandb.ids) == 2
    assert set(wandb.ids) == {(tmp_path / "wandb_run").read_text().strip()}
    assert wandb.arguments["resume"] == "allow"
    assert (wandb.arguments["project"], wandb.arguments["config"], wandb.status) == ("p", {"a": 1}, 0)
    capsys.readouterr()


@pytest.mark.parametrize(
    ("fails", "calls"),
    [
        (["online"], ["online", "teardown", "offline", "define", "log", "log", "finish"]),
        (["online", "offline"], ["online", "teardown", "offline"]),
        (["log"], ["online", "define", "log"]),
        (["finish", "define"], ["online", "define", "log", "log", "finish"]),
    ],
)
def test_run_goes_on_whatever_weights_and_biases_does(fails, calls, tmp_path, service, caplog):
    wandb = service(*fails)
    with RunLog(tmp_path, active=True, from_step=0, total_steps=9, wandb="p") as log:
        log.record("train", 1, {"loss": 1.0})
        log.record("train", 2, {"loss": 0.5})
    assert wandb.calls == calls
    assert [line["step"] for line in logged(tmp_path)] == [1, 2]
    assert len(caplog.records) == len(fails)
    assert all("does not answer" in record.getMessage() for record in caplog.records)


def test_without_the_library_one_line_says_how_to_install_it(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", None)
    log = RunLog(tmp_path / "run", active=True, from_step=0, total_steps=9, wandb="p")
    with pytest.raises(ConfigError, match=r"pip install 't2t-vit\[wandb\]'"):
        log.__enter__()
