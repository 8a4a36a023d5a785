"""Compares what a suite gave directly with what it gave through pgveil: compare.py SUITE FOLDER DIFFERENCES TARGET..."""

import fnmatch
import sys
from collections import Counter
from pathlib import Path


def results(path):
    """Test to outcome and the reason of a failure. A test that is named twice has the worse outcome."""
    found = {}
    for line in path.read_text(errors="replace").splitlines():
        name, outcome, *reason = line.split("\t")
        if found.get(name, ("passed",))[0] == "passed":
            found[name] = (outcome, " ".join(reason))
    return found


def listed(path, suite):
    """`suite target test | why`; a test may be a pattern, and `flaky` in place of the target is a test that ends
    now so, now otherwise, without pgveil too."""
    for line in path.read_text().splitlines():
        if not line or line.startswith("#"):
            continue
        what, _, why = line.partition(" | ")
        of, target, test = what.split(" ", 2)
        assert why, f"`{line}` gives no reason"
        if of == suite:
            yield target, test


def matches(name, pattern):
    # Brackets stand in names of tests, and are no sets.
    return fnmatch.fnmatchcase(name, pattern.replace("[", "[[]"))


def main(suite, folder, differences, *targets):
    entries = list(listed(Path(differences), suite))
    runs = {target: results(Path(folder) / f"{suite}.{target}.results") for target in targets}
    for target, run in runs.items():
        counts = Counter(outcome.split(" ")[0] for outcome, _ in run.values())
        print(f"{suite} {target}: " + ", ".join(f"{count} {outcome}" for outcome, count in sorted(counts.items())))
    if "direct" not in runs:
        return 0
    failed = False
    direct = runs.pop("direct")
    for target, run in runs.items():
        known = [test for of, test in entries if of == target]
        flaky = [test for of, test in entries if of == "flaky"]
        used, different = set(), 0
        for name in sorted(direct.keys() | run.keys()):
            before, after = direct.get(name, ("absent", "")), run.get(name, ("absent", ""))
            if before[0] == after[0] or any(matches(name, test) for test in flaky):
                continue
            different += 1
            hits = [test for test in known if matches(name, test)]
            used.update(hits)
            if not hits:
                failed = True
                print(f"DIFFERENT {suite} {target} {name}: {before[0]} directly, {after[0]} through pgveil: {after[1] or before[1]}")
        for test in known:
            if test not in used:
                failed = True
                print(f"NO LONGER DIFFERENT {suite} {target} {test}: take it out of differences.txt")
        print(f"{suite} {target}: {different} of {len(direct)} end otherwise than directly")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
