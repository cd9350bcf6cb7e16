"""The precision that a run computes in."""

from __future__ import annotations

import logging
import platform
from pathlib import Path

import pytest
import torch

from t2t_vit import run
from t2t_vit.errors import ConfigError
from t2t_vit.run.precision import computes_in_bfloat16, settle_precision

CPU = torch.device("cpu")
FASTEST = "bfloat16" if computes_in_bfloat16(CPU) else "float32"


@pytest.fixture(params=[True, False], ids=["with bfloat16", "without"])
def has_bfloat16(request, monkeypatch):
    """Whether devices have instructions for bfloat16: that of the machine cannot be changed."""
    monkeypatch.setattr("t2t_vit.run.precision.computes_in_bfloat16", lambda device: request.param)
    return request.param


def test_instructions_are_those_that_the_system_tells_of():
    processor = Path("/proc/cpuinfo")
    if platform.machine() != "x86_64" or not processor.is_file():
        pytest.skip("the flags of the processor are told by Linux on x86 only")
    assert computes_in_bfloat16(CPU) == ("avx512_bf16" in processor.read_text("utf-8").split())


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_emulation_on_a_gpu_does_not_count():
    native = torch.cuda.get_device_capability() >= (8, 0)
    assert computes_in_bfloat16(torch.device("cuda")) == native


@pytest.mark.parametrize("asked", ["float32", "bfloat16", "float16"])
def test_what_is_asked_for_is_taken(asked, has_bfloat16):
    assert settle_precision(asked, CPU, warns=True) == asked


def test_auto_takes_what_the_device_is_fast_in(has_bfloat16):
    assert settle_precision("auto", CPU, warns=True) == ("bfloat16" if has_bfloat16 else "float32")
    assert settle_precision("auto", torch.device("cuda"), warns=True) == ("bfloat16" if has_bfloat16 else "float16")


@pytest.mark.parametrize(
    ("asked", "warns", "device"),
    [("bfloat16", True, "cpu"), ("bfloat16", False, "cpu"), ("float32", True, "cpu"), ("bfloat16", True, "cuda")],
)
def test_a_processor_that_would_emulate_it_is_warned_of(asked, warns, device, has_bfloat16, caplog):
    with caplog.at_level(logging.WARNING):
        settle_precision(asked, torch.device(device), warns=warns)
    is_slow = (asked, warns, device, has_bfloat16) == ("bfloat16", True, "cpu", False)
    assert ["runtime.precision=auto" in record.getMessage() for record in caplog.records] == [True] * is_slow


def test_a_run_keeps_what_was_decided_and_says_nothing_of_it_when_it_goes_on(recipe, tmp_path):
    first = recipe(runtime={"precision": "auto"}, schedule={"epochs": 1, "warmup_epochs": 0})
    last = run.train(first, tmp_path)
    assert run.stored_experiment(tmp_path).runtime.precision == FASTEST
    assert run.test(first, last).evaluation.metrics["loss"] > 0

    longer = recipe(runtime={"precision": "auto"}, schedule={"epochs": 2, "warmup_epochs": 0})
    run.train(longer, tmp_path, resume="last")
    said = (tmp_path / "train.log").read_text("utf-8").splitlines()
    assert [line for line in said if line.startswith("changed")] == ["changed since: schedule.epochs: 1, now 2"]


def test_processes_that_would_choose_differently_are_refused(recipe, tmp_path, monkeypatch):
    """Two kinds of GPUs are not to be had here: what the other process says is made up."""
    monkeypatch.setattr(
        "t2t_vit.run.training.gather_everywhere",
        lambda value, process: [value, "float16"] if isinstance(value, str) else [value],
    )
    with pytest.raises(ConfigError, match=rf"of some processes \({FASTEST}, float16\); name one"):
        run.train(recipe(runtime={"precision": "auto"}), tmp_path)
    assert list(tmp_path.glob("*.pth")) == []


def test_other_accelerators_have_bfloat16():
    assert settle_precision("auto", torch.device("xpu"), warns=True) == "bfloat16"
