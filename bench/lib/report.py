"""Results as JSON, Markdown tables and a plot."""

import json
import math
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import matplotlib.ticker

import writes

MB = 1 << 20      # as PostgreSQL counts them
TARGETS = (0.90, 0.95, 0.98, 0.985, 0.99, 0.995)


def by_wall(measured):
    return measured["qps"]


def by_cpu(measured):
    """The rate that the backend's processor time alone would allow."""
    return 1e6 / measured["cpu_us"] if measured.get("cpu_us") else 0


def frontier(points, connections, rate):
    """(recall, rate) of the points that no other point beats in both."""
    pairs = sorted(((p["recall"], rate(p["connections"][connections])) for p in points
                    if connections in p["connections"]), reverse=True)
    best = []
    for recall, qps in pairs:
        if not best or qps > best[-1][1]:
            best.append((recall, qps))
    return best[::-1]


def rate_at(points, connections, target, rate=by_wall):
    """queries/s at a recall: log(queries/s) is linear between points.

    Returns (rate, exact).  Below the lowest recall measured, the rate there is
    a lower bound (exact is False); above the highest there is none.
    """
    best = frontier(points, connections, rate)
    if not best or not all(qps for _, qps in best) or target > best[-1][0]:
        return None, True
    if target < best[0][0]:
        return best[0][1], False
    for (r0, q0), (r1, q1) in zip(best, best[1:]):
        if r0 <= target <= r1:
            share = (target - r0) / (r1 - r0)
            return math.exp(math.log(q0) + share * (math.log(q1) - math.log(q0))), True
    return best[-1][1], True


def ratios(result):
    """Of the first system against each other one, at equal recall: `ratio` by
    queries/s, `cpu_ratio` by the backends' processor time per query."""
    names = list(result["systems"])
    rows = []
    for connections in result["options"]["connections"]:
        for target in TARGETS:
            row = {"recall": target, "connections": connections}
            for key, rate in (("ratio", by_wall), ("cpu_ratio", by_cpu)):
                rates = {n: rate_at(result["systems"][n]["points"], connections, target, rate) for n in names}
                row[key] = {n: compare(rates[names[0]], rates[n]) for n in names[1:]}
                if rate is by_wall:
                    row["qps"] = {n: r and round(r, 1) for n, (r, _) in rates.items()}
                    row["bound"] = {n: not exact for n, (_, exact) in rates.items()}
            rows.append(row)
    return rows


def compare(ours, peer):
    """The ratio of two rate_at(); a bound of the peer's would flatter us."""
    usable = ours[0] and peer[0] and peer[1]
    return round(ours[0] / peer[0], 3) if usable else None


def number(value, digits=None):
    if value is None:
        return "-"
    if digits is None:
        digits = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2
    return f"{value:,.{digits}f}"


def table(head, rows):
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    lines += ["| " + " | ".join(map(str, row)) + " |" for row in rows]
    return "\n".join(lines) + "\n"


def machine_lines(result):
    m, s = result["machine"], result["settings"]
    systems = ", ".join(f"{n} {v['version']}" for n, v in result["systems"].items())
    return (f"{m['cpu']}, {m['cores']} cores, {m['memory_gb']} GB, SIMD {m['simd'] or '-'}; "
            f"{m['postgres']}; {systems}; commit {m['commit']}; "
            f"shared_buffers {s['shared_buffers']}, huge pages {s['huge_pages']}, "
            f"maintenance_work_mem {s['maintenance_work_mem']}, "
            f"{s['max_parallel_maintenance_workers']} parallel workers; "
            f"load average {m['load'][0]} before, {m['load'][1]} after\n")


def build_table(result):
    rows = []
    for name, system in result["systems"].items():
        for b in (system["build"], *system["build"].get("more", [])):
            rows.append([name, ", ".join(f"{k} {v}" for k, v in b["options"].items()) or "defaults",
                         number(b["seconds"], 1), number(b["cpu_seconds"], 1), number(b["vectors_per_second"], 0),
                         number(b["index_bytes"] / MB, 1), number(b["wal_bytes"] and b["wal_bytes"] / MB, 1),
                         b["when"] if b.get("reused") else "this run"])
    return table(["system", "index options", "build s", "CPU s", "vectors/s", "index MB", "WAL MB", "built"], rows)


def sweep_table(result):
    connections = result["options"]["connections"]
    head = ["system", "ef_search", f"recall@{result['options']['k']}"]
    for c in connections:
        head += [f"queries/s ({c})", f"p50 ms ({c})", f"p99 ms ({c})"]
    head += ["backend CPU us", "index pages"]
    rows = []
    for name, system in result["systems"].items():
        for p in system["points"]:
            row = [name, p["ef"], f"{p['recall']:.4f}"]
            for c in connections:
                m = p["connections"].get(c, dict.fromkeys(("qps", "p50_ms", "p99_ms")))
                row += [number(m["qps"], 0), number(m["p50_ms"], 3), number(m["p99_ms"], 3)]
            row += [number(next(iter(p["connections"].values()))["cpu_us"], 0), number(p["pages"], 0)]
            rows.append(row)
    floor = result.get("floor")
    if floor:
        row = ["an empty query", "", ""]
        for c in connections:
            row += [number(floor[c]["qps"], 0), number(floor[c]["p50_ms"], 3), number(floor[c]["p99_ms"], 3)]
        rows.append(row + [number(floor[connections[0]]["cpu_us"], 0), ""])
    return table(head, rows)


def ratio_table(result):
    names = list(result["systems"])
    head = ["connections", "recall"] + [f"{n}, queries/s" for n in names]
    for n in names[1:]:
        head += [f"{names[0]} / {n}", "by backend CPU"]
    rows = []
    for r in result["ratios"]:
        def shown(name):
            return (">= " if r["bound"][name] else "") + number(r["qps"][name], 0)

        def shown_ratio(value):
            return (">= " if r["bound"][names[0]] and value else "") + number(value, 2)
        row = [r["connections"], r["recall"]] + [shown(n) for n in names]
        for n in names[1:]:
            row += [shown_ratio(r["ratio"][n]), shown_ratio(r["cpu_ratio"][n])]
        rows.append(row)
    return table(head, rows)


def writes_table(result):
    rows = []
    for name, w in result["writes"].items():
        for step in writes.STEPS:
            if step in w:
                s = w[step]
                rows.append([name, step, number(s["seconds"]), number(s["cpu_seconds"]),
                             number(s["wal_bytes"] / MB, 1)])
        rows.append([name, "recall after, ef_search " + ", ".join(w["recall"]),
                     ", ".join(f"{r:.4f}" for r in w["recall"].values()), "", ""])
    return table(["system", "step", "seconds", "CPU s", "WAL MB"], rows)


def churn_table(result):
    """Some of the rounds, and the index built anew after the last."""
    rows = []
    for name, c in result["churn"].items():
        size = c["rounds"][0]["index_bytes"]
        for at, p in [*enumerate(c["rounds"]), ("built anew", c["fresh"])]:
            if at in (0, 1, 2, 5, 10, len(c["rounds"]) - 1, "built anew"):
                spent = [number(p[step][key] / unit) if step in p else ""
                         for step in ("insert", "vacuum") for key, unit in (("cpu_seconds", 1), ("wal_bytes", MB))]
                rows.append([name, at, *(f"{r:.4f}" for r in p["recall"].values()),
                             number(p["index_bytes"] / MB, 1), number(p["index_bytes"] / size, 3), *spent])
    widths = next(iter(result["churn"].values()))["fresh"]["recall"]
    return table(["system", "round", *(f"recall, ef_search {ef}" for ef in widths), "index MB", "of the first",
                  "insert CPU s", "WAL MB", "vacuum CPU s", "WAL MB"], rows)


def title(dataset):
    """Results from before there were several types do not name theirs."""
    kind = dataset.get("type", "vector")
    return (f"{dataset['name']}: {dataset['rows']:,} x {dataset['dim']:,}, "
            + ("" if kind == "vector" else f"{kind}, ") + dataset["distance"])


def series(name, options):
    """A system's name, and the layout that its index was asked for."""
    return name + (", compact" if options.get("layout") == "compact" else "")


def label(name, system):
    """What a legend calls a system."""
    return (series(f"{name} {system['version']}", system.get("build", {}).get("options", {}))
            + (", in memory, no server" if system.get("what") else ""))


def markdown(result):
    d = result["dataset"]
    parts = [f"## {title(d)}\n", machine_lines(result)]
    parts += [f"{name}: a {system['what']}; one thread\n" for name, system in result["systems"].items()
              if system.get("what")]
    if d.get("derived"):
        parts.append(f"Rows: {d['derived']}\n")
    if all("build" in system for system in result["systems"].values()):
        parts.append(build_table(result))
    if all("points" in system for system in result["systems"].values()):
        parts += [sweep_table(result), ratio_table(result)]
    if result.get("writes"):
        w = next(iter(result["writes"].values()))
        parts.append(f"Writes: {w['count']:,} rows into an index of {w['rows']:,}\n")
        parts.append(writes_table(result))
    if result.get("churn"):
        c = next(iter(result["churn"].values()))
        parts.append(f"Churn: {c['rows']:,} rows; in each round {c['count']:,} deleted, VACUUM, {c['count']:,} others inserted\n")
        parts.append(churn_table(result))
    return "\n".join(parts)


def label_rates(axes):
    """A logarithmic axis of rates, with several labels within a decade."""
    axes.set_yscale("log")
    axes.yaxis.set_minor_locator(matplotlib.ticker.LogLocator(subs=(2, 3, 5)))
    for formatter in (axes.yaxis.set_major_formatter, axes.yaxis.set_minor_formatter):
        formatter(matplotlib.ticker.StrMethodFormatter("{x:,.0f}"))
    axes.tick_params(axis="y", which="minor", labelsize=8)


def plot(result, stem):
    connections = result["options"]["connections"][0]
    plt.rcParams["svg.hashsalt"] = "piramid"
    figure, axes = plt.subplots(figsize=(8, 5))
    for name, system in result["systems"].items():
        points = sorted((p["recall"], p["connections"][connections]["qps"], p["ef"]) for p in system["points"]
                        if connections in p["connections"])
        build = system["build"]
        axes.plot([p[0] for p in points], [p[1] for p in points], marker="o", markersize=4,
                  label=f"{label(name, system)}: build {number(build['seconds'], 1)} s"
                        f" ({build['vectors_per_second']:,.0f} vectors/s),"
                        f" index {build['index_bytes'] / MB:,.0f} MB")
        for recall, qps, ef in points:
            axes.annotate(str(ef), (recall, qps), textcoords="offset points", xytext=(4, 4), fontsize=7)
    d = result["dataset"]
    label_rates(axes)
    axes.set_xlabel(f"recall@{result['options']['k']}")
    axes.set_ylabel("queries/s" + (f", {connections} connections" if connections > 1 else ", one connection"))
    axes.set_title(f"{title(d)} (points: ef_search)")
    axes.grid(True, which="both", alpha=0.3)
    axes.legend(loc="lower left", fontsize=8)
    figure.tight_layout()
    figure.savefig(f"{stem}.svg", metadata={"Date": None})
    figure.savefig(f"{stem}.png", dpi=144)
    plt.close(figure)


def plot_churn(result, stem):
    """Recall and size over the rounds; dashed: the index built anew."""
    plt.rcParams["svg.hashsalt"] = "piramid"
    figure, (above, below) = plt.subplots(2, 1, figsize=(8, 6), sharex=True, height_ratios=(3, 2))
    for name, c in result["churn"].items():
        rounds = range(len(c["rounds"]))
        for ef, fresh in c["fresh"]["recall"].items():
            line, = above.plot(rounds, [p["recall"][ef] for p in c["rounds"]], marker="o", markersize=3,
                               label=f"{name}, ef_search {ef}")
            above.axhline(fresh, linestyle="--", linewidth=1, color=line.get_color())
        line, = below.plot(rounds, [p["index_bytes"] / MB for p in c["rounds"]], marker="o", markersize=3, label=name)
        below.axhline(c["fresh"]["index_bytes"] / MB, linestyle="--", linewidth=1, color=line.get_color())
    count = next(iter(result["churn"].values()))["count"]
    above.set_title(f"{title(result['dataset'])}\n{count:,} rows exchanged in each round"
                    " (dashed: index built anew at the end)", fontsize=10)
    above.set_ylabel(f"recall@{result['options']['k']}")
    below.set_ylabel("index MB")
    below.set_ylim(0, 1.2 * below.get_ylim()[1])
    below.set_xlabel("rounds")
    below.xaxis.set_major_locator(matplotlib.ticker.MaxNLocator(integer=True))
    for axes in (above, below):
        axes.grid(True, alpha=0.3)
        axes.legend(fontsize=8)
    figure.tight_layout()
    figure.savefig(f"{stem}.svg", metadata={"Date": None})
    figure.savefig(f"{stem}.png", dpi=144)
    plt.close(figure)


def overview(paths, stem, rate=by_wall):
    """One picture of several results: recall against queries/s of one
    connection, or against what by_cpu() says, a panel for each set of rows."""
    plt.rcParams["svg.hashsalt"] = "piramid"
    sets = {}
    for path in paths:
        result = json.loads(Path(path).read_text())
        sets.setdefault(title(result["dataset"]), []).append(result)
    figure, panels = plt.subplots(1, len(sets), figsize=(4.4 * len(sets), 4.2), squeeze=False)
    for results, axes in zip(sets.values(), panels[0]):
        result = results[0]
        d = result["dataset"]
        for name, system in (item for result in results for item in result["systems"].items()):
            points = sorted((p["recall"], rate(p["connections"][min(p["connections"])])) for p in system["points"])
            axes.plot([p[0] for p in points], [p[1] for p in points], marker="o", markersize=4,
                      label=label(name, system))
        label_rates(axes)
        axes.set_xlim(0.85, 1.0)
        axes.set_xlabel(f"recall@{result['options']['k']}")
        axes.set_title(f"{d['name']}: {d['rows']:,} x {d['dim']}", fontsize=10)
        axes.grid(True, which="both", alpha=0.3)
    panels[0][0].set_ylabel("queries/s, one connection" if rate is by_wall else "queries per CPU second")
    panels[0][0].legend(loc="lower left", fontsize=8)
    figure.tight_layout()
    figure.savefig(f"{stem}.svg", metadata={"Date": None})
    figure.savefig(f"{stem}.png", dpi=120)
    plt.close(figure)


def write(result, stem):
    """STEM.json, and .md, .svg and .png made from what was written."""
    Path(f"{stem}.json").write_text(json.dumps(result, indent=1) + "\n")
    return show(f"{stem}.json")


def show(path):
    """Tables and plot of a result file; JSON has no integer keys."""
    result = json.loads(Path(path).read_text())
    for system in result["systems"].values():
        for point in system.get("points", []):
            point["connections"] = {int(c): m for c, m in point["connections"].items()}
    if result.get("floor"):
        result["floor"] = {int(c): m for c, m in result["floor"].items()}
    stem = str(Path(path).with_suffix(""))
    has_points = all("points" in s for s in result["systems"].values())
    if has_points:
        result["ratios"] = ratios(result)
        plot(result, stem)
    if result.get("churn"):
        plot_churn(result, stem)
    text = markdown(result)
    Path(f"{stem}.md").write_text(text)
    return text
