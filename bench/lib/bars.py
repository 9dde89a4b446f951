"""Pictures with bars, of several results: builds, sizes, writes."""

import json
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

import report
import writes

COLORS = {"piramid": "C0", "piramid, compact": "C9", "pgvector": "C1"}


class Panel:
    """Groups of bars: a value for each (group, series), where there is one."""

    def __init__(self, title, unit):
        self.title, self.unit = title, unit
        self.values = {}

    def add(self, group, series, value):
        self.values[group, series] = value

    def draw(self, axes):
        groups = list(dict.fromkeys(group for group, _ in self.values))
        names = sorted({series for _, series in self.values}, key=list(COLORS).index)
        width = 0.8 / len(names)
        for i, name in enumerate(names):
            at = [g for g, group in enumerate(groups) if (group, name) in self.values]
            bars = axes.bar([g + (i + 0.5) * width - 0.4 for g in at], [self.values[groups[g], name] for g in at],
                            width, label=name, color=COLORS[name])
            axes.bar_label(bars, [report.number(self.values[groups[g], name]) for g in at], fontsize=7, padding=1)
        axes.set_xticks(range(len(groups)), groups, fontsize=8)
        axes.set_title(self.title, fontsize=10)
        axes.set_ylabel(self.unit)
        axes.margins(y=0.1)
        axes.grid(True, axis="y", alpha=0.3)
        axes.set_axisbelow(True)
        axes.legend(fontsize=8)


def builds(results):
    """CREATE INDEX by processes and memory: seconds, and those that all of its
    processes had a CPU; two panels for each set."""
    panels = {}
    for result in results:
        title = report.title(result["dataset"])
        for name, system in result["systems"].items():
            build = system["build"]
            processes = build["parallel_workers"] + 1
            group = f"{processes} process{'es' * (processes > 1)}\n{build['maintenance_work_mem']}"
            for key, unit in (("seconds", "CREATE INDEX, seconds"), ("cpu_seconds", "CREATE INDEX, CPU seconds")):
                panels.setdefault((title, key), Panel(title, unit)).add(
                    group, report.series(name, build["options"]), build[key])
    return list(panels.values())


def sizes(results):
    """Bytes of the index for each row, by dimensions and layout; a panel for each type."""
    panels = {}
    for result in sorted(results, key=lambda r: (r["dataset"]["type"] != "vector", r["dataset"]["dim"])):
        d = result["dataset"]
        panel = panels.setdefault(d["type"], Panel(f"{d['type']}: size of the index, by dimensions", "bytes per row"))
        for name, system in result["systems"].items():
            build = system["build"]
            panel.add(f"{d['dim']:,}", report.series(name, build["options"]), build["index_bytes"] / d["rows"])
    return list(panels.values())


def steps(results):
    """Seconds and WAL of each step of --insert; two panels for each result."""
    panels = []
    for result in results:
        first = next(iter(result["writes"].values()))
        what = f"{result['dataset']['name']}: {first['count']:,} rows into {first['rows']:,}"
        for key, unit, scale in (("seconds", "seconds", 1), ("wal_bytes", "WAL, MB", report.MB)):
            panels.append(Panel(what, unit))
            for name, w in result["writes"].items():
                for step in (s for s in writes.STEPS if s in w):
                    panels[-1].add(step, name, w[step][key] / scale)
    return panels


KINDS = {"build": builds, "size": sizes, "write": steps}
HELP = {"build": "seconds of CREATE INDEX, by processes and memory", "size": "bytes per row of the index, by dimensions",
        "write": "seconds and WAL of each step of --insert"}


def draw(kind, paths, stem):
    """STEM.svg and STEM.png, two panels side by side."""
    panels = KINDS[kind]([json.loads(Path(path).read_text()) for path in paths])
    plt.rcParams["svg.hashsalt"] = "piramid"
    columns = min(2, len(panels))
    lines = -(-len(panels) // columns)
    figure, axes = plt.subplots(lines, columns, figsize=(5.5 * columns, 3.8 * lines), squeeze=False)
    for panel, where in zip(panels, axes.flat):
        panel.draw(where)
    for where in axes.flat[len(panels):]:
        where.set_axis_off()
    figure.tight_layout()
    figure.savefig(f"{stem}.svg", metadata={"Date": None})
    figure.savefig(f"{stem}.png", dpi=120)
    plt.close(figure)
