"""Write the tables of results, and draw the curves, from the logs.

    python study/report.py

What stands between two marks, `<!-- NAME -->` and `<!-- end of NAME -->`, in README.md, study/README.md and the cards
of shipped models is replaced, and so is what a config says after "Hardware:".
"""

from __future__ import annotations

import json
import math
import re
import statistics
import sys
import textwrap
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib.pyplot as plt
from plans import STUDIES
from record import differences, read_tries

from t2t_vit.evaluation.confidence import accuracy_interval
from t2t_vit.files import write_text

STUDY = Path(__file__).parent
LOGS = STUDY / "logs"
PAGES = (
    STUDY / "README.md",
    STUDY.parent / "README.md",
    *sorted((STUDY.parent / "src" / "t2t_vit" / "shipped").glob("*.md")),
)
CONFIGS = STUDY.parent / "configs" / "t2t_vit"
#: What is told of a network's size, by what a record calls it, and with how many digits, of millions.
SIZES = {"parameters": ("parameters", 2), "macs": ("MACs", 0)}
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
    texts = {}
    for study, plan in STUDIES.items():
        finals = {config: _finals(LOGS / study / config) for config in plan.configs}
        finals = {config: runs for config, runs in finals.items() if runs}
        tries = {config: read_tries(LOGS / study / config) for config in plan.configs}
        tries = {config: accuracies for config, accuracies in tries.items() if accuracies}
        _check_that_networks_alone_differ(finals)
        missing = ", ".join(f"`{config}`" for config in plan.configs if config not in finals)
        not_run = [f"Not run yet: {missing}."] if missing else []
        results = [_results(finals, plan.configs[0])] if finals else []
        texts[f"results of {study}"] = "\n\n".join([*results, *not_run])
        if finals:
            picture = STUDY / f"curves-{study}.png"
            _draw(finals, picture)
            texts[f"curves of {study}"] = f"![Training loss by epoch, and test accuracy of each run]({picture.name})"
            for config, runs in finals.items():
                _tell_in_config(CONFIGS / f"{config}.py", runs)
        if tries:
            texts[f"rates of {study}"] = _rates(tries)
        features = LOGS / study / "features.jsonl"
        if features.is_file():
            texts[f"features of {study}"] = _features(_lines(features))
    if (LOGS / "photographs.jsonl").is_file():
        photographs = _lines(LOGS / "photographs.jsonl")
        texts[f"photographs of {photographs[0]['model']}"] = _photographs(photographs)
    placed = set()
    for page in PAGES:
        content = page.read_text(encoding="utf-8")
        for name, text in texts.items():
            marks = re.compile(rf"(<!-- {name} -->\n).*?(<!-- end of {name} -->)", re.DOTALL)
            content, count = marks.subn(lambda found, text=text: f"{found[1]}\n{text}\n\n{found[2]}", content)
            placed |= {name} if count else set()
        write_text(page, content)
    lost = ", ".join(sorted(set(texts) - placed))
    if lost:
        sys.exit(f"no page has marks for: {lost}")


def _check_that_networks_alone_differ(finals: dict[str, list[Record]]) -> None:
    """End with an error if runs that stand side by side had other images, or another recipe."""
    headers = [run.header for runs in finals.values() for run in runs]
    for header in headers[1:]:
        first, other = headers[0]["settings"], header["settings"]
        own = {
            "model": other["model"],
            "baseline": other["baseline"],
            "optimizer": first["optimizer"] | {"lr": other["optimizer"]["lr"]},
            "runtime": first["runtime"] | {"seed": other["runtime"]["seed"]},
        }
        found = differences(first | own, other)
        if found:
            names = " and ".join(f"{one['study']}/{one['config']}/{one['which']}" for one in (headers[0], header))
            sys.exit(f"error: {names} cannot stand side by side: {found}")


def _tell_in_config(path: Path, runs: list[Record]) -> None:
    header, images = runs[0].header, runs[0].last("test")["images"]
    seeds = ", ".join(str(run.header["settings"]["runtime"]["seed"]) for run in runs)
    told = (
        f"Hardware: {_cost(runs)}. Measured: top-1 {_accuracies(runs)} % of {images:,} test images (seed {seeds}; the "
        f"moving average after {header['settings']['schedule']['epochs']} epochs). The comparison: study/README.md."
    )
    text = path.read_text(encoding="utf-8")
    paragraph = re.compile(r"^Hardware:.*?(?=\n\n|\n\"{3})", re.DOTALL | re.MULTILINE)
    write_text(path, paragraph.sub(lambda _: textwrap.fill(told, _WIDTH), text, count=1))


def _accuracies(runs: list[Record]) -> str:
    return ", ".join(f"{run.last('test')['accuracy/top1']:.2f}" for run in runs)


def _finals(folder: Path) -> list[Record]:
    """Return the records of a network's final runs, which differ in their seeds alone."""
    records = []
    for path in sorted(folder.glob("seed-*.jsonl")):
        header, *lines = _lines(path)
        records.append(Record(header, lines))
    for record in records[1:]:
        first, other = (one.header["settings"] for one in (records[0], record))
        seed = {"seed": other["runtime"]["seed"]}
        found = differences(first | {"runtime": first["runtime"] | seed}, other)
        if found:
            sys.exit(f"{folder}: {records[0].header['which']} and {record.header['which']} differ: {found}")
    return records


def _lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def _results(finals: dict[str, list[Record]], first: str) -> str:
    """Return the table of final runs; the others are compared with those of the config `first`."""
    table = []
    for config, runs in finals.items():
        header, tests = runs[0].header, [run.last("test") for run in runs]
        sizes = [f"{header[key] / 1e6:.{digits}f} M" for key, (_, digits) in SIZES.items()]
        difference = "–"
        if config != first and first in finals:
            beside = finals[first][0].header
            sizes = [f"{size} ({header[key] / beside[key]:.2f})" for size, key in zip(sizes, SIZES, strict=True)]
            difference = _difference(runs, finals[first])
        mean = statistics.mean(test["accuracy/top1"] for test in tests)
        low, high = accuracy_interval(round(mean / 100 * tests[0]["images"]), tests[0]["images"])
        row = {
            "config": f"`{config}`",
            **{name: size for (name, _), size in zip(SIZES.values(), sizes, strict=True)},
            "epochs": str(header["settings"]["schedule"]["epochs"]),
            "test top-1, %": f"{mean:.2f} ({low:.2f} to {high:.2f})",
            "of each seed": _accuracies(runs),
            "less or more than the first": difference,
            "calibration error, %": f"{statistics.mean(test['calibration_error'] for test in tests):.1f}",
            "a run": _cost(runs),
        }
        if len(finals) == 1:
            del row["less or more than the first"]
        table.append(row)
    rows = [" | ".join(row) for row in (table[0], ["---"] * len(table[0]), *(row.values() for row in table))]
    return "\n".join(f"| {row} |" for row in rows)


def _difference(runs: list[Record], first: list[Record]) -> str:
    """Return how many points `runs` are from `first` on the same images; the 95 % interval is for their number."""
    answers = [[run.last("test")["right"] for run in some] for some in (runs, first)]
    shares = [[statistics.mean(map(int, seeds)) for seeds in zip(*some, strict=True)] for some in answers]
    points = [100 * (one - other) for one, other in zip(*shares, strict=True)]
    return f"{statistics.mean(points):+.2f} ± {1.96 * statistics.stdev(points) / math.sqrt(len(points)):.2f}"


def _cost(runs: list[Record]) -> str:
    """Return how long a run took, on what, and in which precision."""
    headers = [run.header for run in runs]
    minutes = ", ".join(dict.fromkeys(f"{header['seconds'] / 60:.0f}" for header in headers))
    places = dict.fromkeys(
        f"{header['hardware']}, {header['settings']['runtime']['precision']}"
        + (f", {header['jobs']} runs at a time" if header["jobs"] > 1 else "")
        for header in headers
    )
    changed = ", from changed code" if any(header["dirty"] for header in headers) else ""
    return f"{minutes} min, {' and '.join(places)}{changed}"


def _rates(tries: dict[str, dict[float, float]]) -> str:
    rates = sorted({rate for accuracies in tries.values() for rate in accuracies})
    rows = [f"| config | {' | '.join(f'{rate:g}' for rate in rates)} |", f"|---{'|---' * len(rates)}|"]
    for config, found in tries.items():
        best = max(found.values())
        cells = [
            "–" if rate not in found else f"**{found[rate]:.2f}**" if found[rate] == best else f"{found[rate]:.2f}"
            for rate in rates
        ]
        rows.append(f"| `{config}` | {' | '.join(cells)} |")
    return "\n".join(rows)


def _features(lines: list[dict[str, Any]]) -> str:
    kinds, classifiers = (list(dict.fromkeys(line[key] for line in lines)) for key in ("kind", "classifier"))
    rows = [f"| | {' | '.join(classifiers)} |", f"|---{'|---' * len(classifiers)}|"]
    for kind in kinds:
        cells = [_feature(line) for line in lines if line["kind"] == kind]
        rows.append(f"| {kind} | {' | '.join(cells)} |")
    return "\n".join(rows)


def _feature(line: dict[str, Any]) -> str:
    low, high = accuracy_interval(round(line["accuracy/top1"] / 100 * line["images"]), line["images"])
    return f"{line['accuracy/top1']:.1f} ({low:.1f} to {high:.1f}; {line['setting']:g})"


def _photographs(lines: list[dict[str, Any]]) -> str:
    named = [line for line in lines if line["names"]]
    right = sum(line["best"][0][0] in line["names"] for line in named)
    with_name, without = (
        statistics.median(line["best"][0][1] for line in lines if bool(line["names"]) is has_name)
        for has_name in (True, False)
    )
    rows = [
        f"Of {len(named)} that have a name among the classes, {right} right. The median of the best scores is "
        f"{with_name:.0f} % of these, and {without:.0f} % of those that have none.",
        "",
        "| what it shows | file | among the classes | three best of the model |",
        "|---|---|---|---|",
    ]
    for line in lines:
        best = ", ".join(f"{name} {score:.1f} %" for name, score in line["best"])
        is_right = line["best"][0][0] in line["names"]
        rows.append(
            f"| {line['seen']} | `{line['picture']}` | {', '.join(line['names']) or '–'} "
            f"| {f'**{best}**' if is_right else best} |"
        )
    return "\n".join(rows)


def _draw(finals: dict[str, list[Record]], path: Path) -> None:
    """Draw the training loss of each run over its epochs, and the test accuracies."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4), width_ratios=(3, 2), layout="constrained")
    for number, (config, runs) in enumerate(finals.items()):
        colour = f"C{number}"
        for run in runs:
            losses = _by_epoch(run)
            label = config if run is runs[0] else None
            left.plot(*zip(*losses.items(), strict=True), color=colour, marker=".", ms=4, lw=1, alpha=0.8, label=label)
        accuracies = [run.last("test")["accuracy/top1"] for run in runs]
        right.scatter(accuracies, [number] * len(accuracies), color=colour, s=28)
    left.xaxis.get_major_locator().set_params(integer=True)
    left.set(xlabel="epoch", ylabel="training loss, augmented images")
    left.legend(frameon=False, fontsize=8)
    right.set(xlabel="test top-1, %", yticks=range(len(finals)), yticklabels=_short(list(finals)))
    right.invert_yaxis()
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(alpha=0.25)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def _by_epoch(run: Record) -> dict[int, float]:
    """Return the mean training loss of each epoch, whose last line may stand for a few steps only."""
    sums: dict[int, list[float]] = {}
    before = 0
    for line in run.lines:
        if line["kind"] == "train" and line["loss"] is not None:
            steps, before = line["step"] - before, line["step"]
            epoch = sums.setdefault(math.ceil(line["epoch"]), [0.0, 0.0])
            epoch[0] += steps * line["loss"]
            epoch[1] += steps
    return {epoch: total / steps for epoch, (total, steps) in sums.items()}


def _short(configs: list[str]) -> list[str]:
    """Return what `configs`, NETWORK_DATA each, differ in."""
    networks, data = ([config.partition("_")[part] for config in configs] for part in (0, 2))
    return networks if len(set(networks)) == len(networks) else data


if __name__ == "__main__":
    main()
