"""How long does a provider's queue take, alone and beside one that is in trouble?

    python server/tests/drain.py [ROUNDS]

In a database of its own (libpq's environment names it), with piramid-server in PATH.  Each
request to the fake provider takes 250 ms; times are from its first to its last request, and
alternate.  Then: the time of 30 requests to a provider that answers 429 to more than 120 in a
minute, and how long they take at that rate (a client may catch up a second).
"""

import contextlib
import io
import statistics
import sys
import time

from fake import Fake
from harness import Running, drained, one, sql, wait_for

TEXTS = 1280
times = []


def fill(name, provider, texts):
    if one("SELECT count(*) FROM piramid.model WHERE name = %s", provider) == 0:
        sql("SELECT piramid.register_model(%s, %s, 'm', 3, 100, batch_items => 16, batch_tokens => 100000)", provider, provider)
    sql("SELECT piramid.create_collection(%s, %s)", name, provider)
    sql(f"INSERT INTO {name} (body) SELECT format('This is sentence %%s.', n) FROM generate_series(1, {texts}) AS n")


def drain(fake, beside, name="well"):
    """Seconds from the first request to the last."""
    times.clear()
    fake.on_request = lambda: times.append(time.monotonic())
    fill(name, name, TEXTS if name == "well" else 16 * 30)
    providers = {name: ("openai", fake.url + "/v1")} | beside
    with contextlib.redirect_stdout(io.StringIO()):
        worker = Running(providers, threads=2, poll=5)
        wait_for(lambda: drained(name), name, 600)
        worker.end()
    sql("SELECT piramid.drop_collection(%s::regclass, false)", name)
    return times[-1] - times[0]


def main(rounds):
    well, limited, refuses, hangs = Fake(), Fake(), Fake(), Fake()
    well.takes = 0.25
    limited.per_minute = 60
    refuses.always = 429
    hangs.always = "hold"
    for name in ("limited", "refuses", "hangs"):
        fill(name, name, 4000)
    cases = {"alone": {}} | {name: {name: ("openai", fake.url + "/v1", {"timeout": 600})}
                             for name, fake in (("limited", limited), ("refuses", refuses), ("hangs", hangs))}
    took = {name: [] for name in cases}
    for _ in range(rounds):
        for name, beside in cases.items():
            took[name].append(drain(well, beside))
    for name, values in took.items():
        ratios = [value / alone for value, alone in zip(values, took["alone"])]
        print(f"{name}: {' '.join(f'{value:.2f}' for value in values)} s; median {statistics.median(values):.2f}, "
              f"of the ratios {statistics.median(ratios):.3f}", flush=True)
    for name in ("limited", "refuses", "hangs"):
        sql("SELECT piramid.drop_collection(%s::regclass, false)", name)
    slow = Fake()
    slow.per_minute = 120
    for _ in range(2):
        seconds = drain(slow, {}, "slow")
        print(f"429 at 120 a minute: {seconds:.2f} s at a rate of {29 * 0.5}", flush=True)


main(int(sys.argv[1]) if len(sys.argv) > 1 else 5)
