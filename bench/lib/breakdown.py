"""bench/breakdown: where the time of one query goes; see bench/README.md.

Samples of the backend (perf, by the CPU's clock) fall into the groups of
breakdown.map.  Each setting of ef_search is sampled twice: with queries drawn
at random, and with each query asked many times in a row, when all of its
memory is in the caches.  The difference is what waiting for memory costs.
Probes at the entry of functions count calls; they work where the kernel has
uprobes and we are root.
"""

import bisect
import collections
import fnmatch
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import main as bench
import measure
import report
import server
from system import System, note

REPEAT = 200        # times in a row
FREQUENCY = 4000    # samples a second
# what is counted: name in the table, binary, function
PROBES = (("hops", "library", "hnsw_read"), ("hnsw pages found by hint", "server", "ReadRecentBuffer"),
          ("look-ups in the buffer table (BufTableLookup and other hashes)", "server", "hash_search_with_hash_value"),
          ("content locks of pages", "server", "LockBuffer"),
          ("lightweight locks taken", "server", "LWLockAcquire"), ("heavyweight locks", "server", "LockAcquireExtended"),
          ("rows from the index", "library", "hnsw_gettuple"), ("heap tuples looked at", "server", "heap_hot_search_buffer"),
          ("values fetched from TOAST", "server", "heap_fetch_toast_slice"),
          ("allocations", "server", "palloc"))


def run(*command):
    return subprocess.run([str(c) for c in command], capture_output=True, text=True, errors="replace")


def load_map():
    groups = []
    for line in (Path(__file__).parent / "breakdown.map").read_text().splitlines():
        if line and not line.startswith("#"):
            name, _, patterns = line.partition(":")
            # brackets are literal in our patterns
            groups.append((name, [re.compile(fnmatch.translate(p.replace("[", "\0").replace("]", "\1"))
                                             .replace("\0", r"\[").replace("\1", r"\]")) for p in patterns.split()]))
    return groups


class Binary:
    """Names for addresses of a mapped file."""

    def __init__(self, path, start, offset):
        self.path, self.shift = path, offset - start
        listed = [line.split() for line in run("nm", "-D", "--defined-only", path).stdout.splitlines()]
        exported = sorted((int(f[0], 16), f[2].partition("@")[0]) for f in listed if len(f) == 3 and f[1] in "tTwWi")
        self.addresses = [a for a, _ in exported]
        self.names = [n for _, n in exported]

    def before(self, ip):
        """The exported function before an address without a name of its own."""
        i = bisect.bisect(self.addresses, ip + self.shift)
        return f"[after {self.names[i - 1]}]" if i else "[unknown]"

    def inlined(self, ips):
        """Function names at addresses, the innermost inlined one first."""
        text = run("addr2line", "-f", "-i", "-a", "-e", self.path, *[hex(ip + self.shift) for ip in ips]).stdout
        result, names = {}, None
        for line in text.splitlines():
            if line.startswith("0x"):
                names = result.setdefault(int(line, 16) - self.shift, [])
                expect_name = True
            elif names is not None:
                if expect_name:
                    names.append(line)
                expect_name = not expect_name
        return result


class Profile:
    """Samples of one process by group."""

    def __init__(self, pid, seconds, data):
        run("perf", "record", "-q", "-e", "cpu-clock", "-F", FREQUENCY, "-p", pid, "-o", data, "--", "sleep", seconds)
        text = run("perf", "script", "-i", data, "--show-mmap-events", "-F", "ip,sym,dso").stdout
        binaries = {}
        for start, offset, path in re.findall(r"\[0x([0-9a-f]+)\(0x[0-9a-f]+\) @ (0x[0-9a-f]+|0) .*?\]: r-xp (\S+)", text):
            if os.path.exists(path):
                binaries[path] = Binary(path, int(start, 16), int(offset, 0))
        samples = collections.Counter(re.findall(r"^\s+([0-9a-f]+) (.*) \((.*)\)$", text, re.M))
        ours = [p for p in binaries if Path(p).name == "piramid.so"]
        self.library = ours[0] if ours else None
        self.server = next((p for p in binaries if p.endswith("/postgres")), None)
        inlined = binaries[ours[0]].inlined({int(ip, 16) for ip, _, dso in samples if dso == ours[0]}) if ours else {}
        self.groups, self.total, self.other = collections.Counter(), sum(samples.values()), collections.Counter()
        patterns = load_map()
        for (ip, symbol, dso), n in samples.items():
            ip = int(ip, 16)
            names = inlined.get(ip) or [symbol]
            if dso.startswith("[kernel"):
                names = ["[kernel]"]
            elif "/libc" in dso:
                names = ["[libc]"]
            elif symbol == "[unknown]" and dso in binaries and dso not in ours:
                names = [binaries[dso].before(ip)]
            group = next((g for name in names for g, ps in patterns if any(p.match(name) for p in ps)), None)
            if group is None:
                self.other[names[-1]] += n
            self.groups[group or "other"] += n


def counts(pid, paths, client, ids, stat):
    """Calls per query of each probe, over one pass; {} where probes do not work."""
    run("perf", "probe", "-q", "-d", "probe_*:*")
    events = {}
    for label, binary, function in PROBES:
        if paths[binary] and run("perf", "probe", "-q", "-x", paths[binary], f"piramid_{function}={function}").returncode == 0:
            events[function] = label
    listed = [line.split()[0] for line in run("perf", "probe", "-l").stdout.splitlines() if "piramid_" in line]
    result = {}
    if listed:
        process = subprocess.Popen(["perf", "stat", "-x,", "-o", stat, "-e", ",".join(listed), "-p", str(pid)],
                                   stderr=subprocess.DEVNULL)
        time.sleep(1)
        queries = client.ask(f"pass {ids}")["queries"]
        process.send_signal(signal.SIGINT)
        process.wait()
        for line in Path(stat).read_text().splitlines():
            fields = line.split(",")
            if len(fields) > 2 and fields[0].isdigit():
                result[events[fields[2].partition("piramid_")[2]]] = int(fields[0]) / queries
    run("perf", "probe", "-q", "-d", "probe_*:*")
    return result


def take_apart(o, srv, program, system, data):
    runner = measure.Runner(system, data, measure.Bench(srv, program, data, o))
    client = runner.clients[1]
    pid = client.ask("pid")["pid"]
    scratch = srv.installation.work / "perf.data"
    points = []
    for ef in bench.ef_lists(o, ["piramid"])["piramid"]:
        point, rest = {"ef": ef, **runner.point(ef)}, None
        for key, repeat in (("random", 1), ("again", REPEAT)):
            client.ask(f"repeat {repeat}")
            client.process.stdin.write(f"time 0.3 {o.seconds + 1}\n")
            client.process.stdin.flush()
            time.sleep(0.5)
            profile = Profile(pid, o.seconds, scratch)
            rest = rest or profile.other.most_common(12)
            timed = json.loads(client.process.stdout.readline())
            point[key] = {"cpu_us": timed["cpu_us"], "groups": {
                g: n / profile.total * timed["cpu_us"] for g, n in profile.groups.items()}}
        client.ask("repeat 1")
        inside = srv.installation.inside(runner.ids)
        point["counts"] = counts(pid, {"server": profile.server, "library": profile.library}, client, inside,
                                 srv.installation.work / "perf.stat")
        note(f"ef_search {ef}: {point['random']['cpu_us']:.0f} us, the same query again"
             f" {point['again']['cpu_us']:.0f} us; not in a group: {dict(rest)}")
        points.append(point)
    runner.close()
    return points


def tables(points):
    names = [g for g, _ in load_map()] + ["other"]
    head = ["us per query"] + [f"ef_search {p['ef']}{what}" for p in points for what in ("", ", again")]
    rows = []
    for name in names:
        row = [p[key]["groups"].get(name, 0) for p in points for key in ("random", "again")]
        if any(row):
            rows.append([name] + [report.number(v, 1) for v in row])
    rows.append(["all"] + [report.number(p[key]["cpu_us"], 1) for p in points for key in ("random", "again")])
    head2 = ["per query"] + [f"ef_search {p['ef']}" for p in points]
    labels = [label for label, _, _ in PROBES if any(label in p["counts"] for p in points)]
    counted = [["recall@10"] + [f"{p['recall']:.4f}" for p in points],
               ["index pages asked for"] + [report.number(p["pages"], 0) for p in points]]
    counted += [[label] + [report.number(p["counts"].get(label), 1) for p in points] for label in labels]
    return report.table(head, rows) + "\n" + report.table(head2, counted)


def main():
    o = bench.parse()
    o.reuse = o.reuse_index = o.pin = True
    o.connections = [1]
    o.ef = o.ef or ["20,40,100"]
    if not o.pg_config and os.geteuid() == 0:
        server.enter_namespace()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    installation = server.Installation(o.work_dir, o.pg_config, o.chroot)
    if not o.no_build:
        installation.install_piramid()
    program = installation.build_client()
    srv = server.Server(installation, bench.server_settings(o))
    try:
        if not srv.exists():
            srv.create()
        srv.start()
        for path in o.files:
            data = bench.open_dataset(path, o)
            system = System(srv, "piramid", o.type, bench.assignments(o.index_options, "piramid"),
                            bench.assignments(o.set, "piramid"))
            system.prepare()
            system.load(data)
            system.build(data, True)
            measure.prewarm([system], data, bench.megabytes(o.shared_buffers) << 20)
            points = take_apart(o, srv, program, system, data)
            out = Path(o.out)
            out.mkdir(parents=True, exist_ok=True)
            stem = out / f"{data.name}-breakdown-{measure.timestamp()}"
            Path(f"{stem}.json").write_text(json.dumps(points, indent=1) + "\n")
            print(f"## {data.name}\n\n{tables(points)}")
    finally:
        srv.stop()


if __name__ == "__main__":
    main()
