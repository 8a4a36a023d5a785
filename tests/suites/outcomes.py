"""Writes what pytest found as `test TAB outcome TAB reason` lines: pytest -p outcomes --outcomes FILE."""

import re

found = {}


def pytest_addoption(parser):
    parser.addoption("--outcomes", required=True)


def pytest_runtest_logreport(report):
    outcome = report.outcome
    if hasattr(report, "wasxfail"):
        outcome = "skipped"
    reason = ""
    if outcome == "failed":
        reason = getattr(getattr(report.longrepr, "reprcrash", None), "message", "") or str(report.longrepr)
    if report.when == "call" or outcome != "passed":
        if found.get(report.nodeid, ("passed",))[0] == "passed":
            found[report.nodeid] = (outcome, reason)


def pytest_sessionfinish(session):
    # Addresses and ports in parameters of a test are others in each run.
    with open(session.config.getoption("--outcomes"), "w") as out:
        for name, (outcome, reason) in found.items():
            reason = re.sub(r"\s+", " ", reason)[:300]
            out.write("\t".join((re.sub(r"\s+", " ", name), outcome, reason)).rstrip("\t") + "\n")
