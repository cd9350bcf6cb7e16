"""Write the tables of results, and draw the curves, from the logs.

    python study/report.py

What stands between two marks, `<!-- NAME -->` and `<!-- end of NAME -->`, in README.md and study/README.md is replaced,
and so is what a config says after "Measured:".
"""

from __future__ import annotations

import json
import re
import statistics
import textwrap
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib.pyplot as plt
from plans import STUDIES

from t2t_vit.files import write_text

STUDY = Path(__file__).parent
PAGES = (STUDY / "README.md", STUDY.parent / "README.md")
CONFIGS = STUDY.parent / "configs" / "t2t_vit"
_WIDTH = 120


class Record(NamedTuple):
    """What is kept of a run: its first line, and the others."""

    header: dict[str, Any]
    lines: list[dict[str, Any]]

    def last(self, kind: str, weights: str = "ema") -> dict[str, Any]:
        """Return the last line of this kind."""
        return next(line for line in self.lines[::-1] if line["kind"] == kind and line["weights"] == weights)


def main() -> None:
    """Replace all tables and what configs say of themselves, and draw all curves."""
    tables = {}
    for study in STUDIES:
        records = _read(STUDY / "logs" / study)
        finals = {config: runs for config, runs in _by_config(records, "seed-").items() if runs}
        tries = {config: runs for config, runs in _by_config(records, "rate-").items() if runs}
        if finals:
            tables[f"results of {study}"] = _results(finals)
            _draw(finals, STUDY / f"curves-{study}.png")
            for config, runs in finals.items():
                _tell_in_config(CONFIGS / f"{config}.py", runs)
        if tries:
            tables[f"rates of {study}"] = _rates(tries)
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for name, table in tables.items():
            marks = re.compile(rf"(<!-- {name} -->\n).*?(<!-- end of {name} -->)", re.DOTALL)
            text = marks.sub(lambda found, table=table: f"{found[1]}\n{table}\n\n{found[2]}", text)
        write_text(page, text)


def _tell_in_config(path: Path, runs: list[Record]) -> None:
    header, images = runs[0].header, runs[0].last("test")["images"]
    seeds = ", ".join(str(run.header["settings"]["runtime"]["seed"]) for run in runs)
    told = (
        f"Measured: top-1 {_accuracies(runs)} % of {images:,} test images (seed {seeds}; the moving average after "
        f"{header['settings']['schedule']['epochs']} epochs); {_minutes(runs):.0f} min a run on {header['hardware']}. "
        "The comparison: study/README.md."
    )
    text = path.read_text(encoding="utf-8")
    paragraph = re.compile(r"^Measured:.*?(?=\n\n|\n\"{3})", re.DOTALL | re.MULTILINE)
    write_text(path, paragraph.sub(lambda _: textwrap.fill(told, _WIDTH), text, count=1))


def _accuracies(runs: list[Record]) -> str:
    return ", ".join(f"{run.last('test')['accuracy/top1']:.2f}" for run in runs)


def _minutes(runs: list[Record]) -> float:
    return statistics.median(run.header["seconds"] for run in runs) / 60


def _read(folder: Path) -> list[Record]:
    records = []
    for path in sorted(folder.rglob("*.jsonl")):
        header, *lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        records.append(Record(header, lines))
    return records


def _by_config(records: Iterable[Record], which: str) -> dict[str, list[Record]]:
    found: dict[str, list[Record]] = defaultdict(list)
    for record in records:
        if record.header["which"].startswith(which):
            found[record.header["config"]].append(record)
    order = [config for study in STUDIES.values() for config in study.configs]
    return {config: found[config] for config in order if config in found}


def _results(finals: dict[str, list[Record]]) -> str:
    rows = [
        "| config | parameters | MACs | epochs | test top-1, % | of each seed | calibration error, % | a run |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for config, runs in finals.items():
        header = runs[0].header
        tests = [run.last("test") for run in runs]
        accuracies = [test["accuracy/top1"] for test in tests]
        spread = f" ± {statistics.stdev(accuracies):.2f}" if len(accuracies) > 1 else ""
        calibration = statistics.mean(test["calibration_error"] for test in tests)
        rows.append(
            f"| `{config}` | {header['parameters'] / 1e6:.2f} M | {header['macs'] / 1e6:.0f} M "
            f"| {header['settings']['schedule']['epochs']} | **{statistics.mean(accuracies):.2f}**{spread} "
            f"| {_accuracies(runs)} | {calibration:.1f} "
            f"| {_minutes(runs):.0f} min, {header['hardware']} |"
        )
    return "\n".join(rows)


def _rates(tries: dict[str, list[Record]]) -> str:
    rates = sorted({record.header["settings"]["optimizer"]["lr"] for runs in tries.values() for record in runs})
    rows = [f"| config | {' | '.join(f'{rate:g}' for rate in rates)} |", f"|---{'|---' * len(rates)}|"]
    for config, runs in tries.items():
        found = {run.header["settings"]["optimizer"]["lr"]: run.last("val")["accuracy/top1"] for run in runs}
        best = max(found.values())
        cells = [
            "–" if rate not in found else f"**{found[rate]:.2f}**" if found[rate] == best else f"{found[rate]:.2f}"
            for rate in rates
        ]
        rows.append(f"| `{config}` | {' | '.join(cells)} |")
    return "\n".join(rows)


def _draw(finals: dict[str, list[Record]], path: Path) -> None:
    """Draw the training loss of each run over its epochs, and the test accuracies."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4), width_ratios=(3, 2), layout="constrained")
    for number, (config, runs) in enumerate(finals.items()):
        colour = f"C{number}"
        for run in runs:
            lines = [line for line in run.lines if line["kind"] == "train" and line["loss"] is not None]
            left.plot(
                [line["epoch"] for line in lines], [line["loss"] for line in lines], color=colour, lw=0.9, alpha=0.8,
                label=config if run is runs[0] else None,
            )  # fmt: skip
        accuracies = [run.last("test")["accuracy/top1"] for run in runs]
        right.scatter(accuracies, [number] * len(accuracies), color=colour, s=28)
    left.set(xlabel="epoch", ylabel="training loss, augmented images")
    left.legend(frameon=False, fontsize=8)
    right.set(xlabel="test top-1, %", yticks=range(len(finals)), yticklabels=[_short(config) for config in finals])
    right.invert_yaxis()
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(alpha=0.25)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def _short(config: str) -> str:
    return config.partition("_")[0]


if __name__ == "__main__":
    main()
