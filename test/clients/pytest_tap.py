"""A pytest plugin that prints TAP, in place of pytest's own reports.

Points have no numbers and there is no plan: python.sh adds it when the last
of several pytest runs is over.
"""


def _say(line):
    print(line, flush=True)


def _point(ok, name, directive="", details=""):
    name = name.replace("#", "\\#")
    _say(f"{'ok' if ok else 'not ok'} - {name}{directive}")
    for line in str(details).splitlines():
        _say(f"# {line}")


def pytest_configure(config):
    config.option.tbstyle = "short"     # an option of the reports that are off


def pytest_runtest_logreport(report):
    if report.skipped and not hasattr(report, "wasxfail"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
        _point(True, report.nodeid, f" # skip {reason}")
    elif report.skipped:                # failed, as its suite expected
        _point(True, report.nodeid, f" # skip expected to fail: {report.wasxfail}")
    elif report.failed:
        _point(False, f"{report.nodeid} ({report.when})", details=report.longrepr)
    elif report.when == "call":
        _point(True, report.nodeid)


def pytest_collectreport(report):
    if report.failed:
        _point(False, f"{report.nodeid} (collection)", details=report.longrepr)
    elif report.skipped:
        _point(True, report.nodeid, f" # skip {report.longrepr[2]}")
