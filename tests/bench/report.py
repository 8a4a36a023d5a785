"""Samples as Markdown: one table of everything, and what the targets say to it."""
from collections import defaultdict
from statistics import median

import plan


def gathered(samples):
    """{(load, peer): {figure: [values]}}, in the order they came."""
    out = defaultdict(lambda: defaultdict(list))
    for sample in samples:
        key = (sample["load"], sample["peer"])
        for name, value in sample.items():
            if isinstance(value, (int, float)) and name not in ("round", "began_s", "clients"):
                out[key][name].append(value)
        out[key]["unit"] = [sample["unit"]]
        if "error" in sample:
            out[key]["errors"].append(sample["error"])
    return out


def middle(figures, name):
    values = figures.get(name)
    return median(values) if values else None


def number(value):
    if value is None:
        return ""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.1f}"


def spread(figures, name):
    values = figures.get(name) or []
    if len(values) < 2 or not median(values):
        return ""
    return f" ±{(max(values) - min(values)) / 2 / median(values) * 100:.0f}%"


def markdown(facts, samples):
    known = gathered(samples)
    lines = [f"{name}: {value}  " for name, value in facts.items()]
    lines += ["", "| load | through | rate | ÷ pgbouncer | p50 µs | p95 µs | p99 µs | CPU µs | ÷ pgbouncer | memory MiB |",
              "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |"]
    for load in dict.fromkeys(sample["load"] for sample in samples):
        pooler = known.get((load, "pgbouncer"), {})
        for (name, peer), figures in known.items():
            if name == load:
                lines.append(line(load, peer, figures, pooler))
    return "\n".join([*lines, "", *record(known), *idle(known), *targets(known), ""])


def line(load, peer, figures, pooler):
    if "session_kib" in figures:
        return f"| {load} | {peer} | {number(middle(figures, 'rate'))} sessions | | | | | | | {number(middle(figures, 'resident_mib'))} |"
    if "rate" not in figures:
        return f"| {load} | {peer} | failed: {figures['errors'][0].splitlines()[0][:80]} | | | | | | | |"
    def ratio(name):
        ours, theirs = middle(figures, name), middle(pooler, name)
        return f"{ours / theirs:.2f}" if ours and theirs else ""
    cells = [load, peer, f"{number(middle(figures, 'rate'))} {figures['unit'][0]}{spread(figures, 'rate')}", ratio("rate"),
             number(middle(figures, "p50_us")), number(middle(figures, "p95_us")), number(middle(figures, "p99_us")),
             (number(middle(figures, "cpu_us")) + spread(figures, "cpu_us")) if "cpu_us" in figures else "", ratio("cpu_us"),
             number(middle(figures, "resident_mib"))]
    return "| " + " | ".join(cells) + " |"


def record(known):
    """What the record costs: each way of keeping it beside haproxy, which keeps none."""
    lines = []
    for load in dict.fromkeys(load for load, _ in known if load.startswith("record:")):
        relay = middle(known.get((load, "haproxy"), {}), "p50_us")
        for (name, peer), figures in known.items():
            used = middle(figures, "cpu_us")
            if name != load or not used:
                continue
            per_core = number(1e6 / used) if peer != "haproxy" else ""
            latency = middle(figures, "p50_us")
            added = f"{latency - relay:+,.0f}" if latency and relay and peer != "haproxy" else ""
            lines.append(f"| {load.removeprefix('record: ')} | {peer} | {number(middle(figures, 'rate'))} | {number(used)} | {per_core} | "
                         f"{number(latency)} | {added} |")
    if not lines:
        return []
    return ["| load | through | tx/s | CPU µs | records/s per core | p50 µs | added to haproxy |", "| --- | --- | --- | --- | --- | --- | --- |",
            *lines, ""]


def idle(known):
    lines = [f"| {peer} | {number(middle(figures, 'session_kib'))} | {number(middle(figures, 'idle_cpu_percent'))} |"
             for (_, peer), figures in known.items() if "session_kib" in figures]
    return ["| idle sessions through | KiB per session | CPU % |", "| --- | --- | --- |", *lines, ""] if lines else []


class Targets:
    """What was asked for, held against what was measured."""

    def __init__(self, known):
        self.known, self.lines = known, []

    def figure(self, load, peer, name):
        return middle(self.known.get((load, peer), {}), name)

    def ratio(self, load, peer, other, name, limit, at_most):
        ours, theirs = self.figure(load, peer, name), self.figure(load, other, name)
        if ours and theirs:
            self.add(f"{load}: {peer}, {name} ÷ {other}", ours / theirs, limit, at_most)

    def distance(self, load, peer, other, name, limit):
        ours, theirs = self.figure(load, peer, name), self.figure(load, other, name)
        if ours and theirs:
            self.add(f"{load}: {peer}, {name} − {other}", ours - theirs, limit, True)

    def add(self, what, value, limit, at_most):
        met = value <= limit if at_most else value >= limit
        sign = "≤" if at_most else "≥"
        self.lines.append(f"| {what} | {sign} {limit:g} | {value:.2f} | {'met' if met else '**missed**'} |")


def targets(known):
    seen = Targets(known)
    for load, _ in list(dict.fromkeys((load, None) for load, _ in known)):
        if load.startswith("pgbench -S") and (", 8 " in load or ", 64 " in load):
            simple = "simple" in load
            seen.ratio(load, plan.UNRESTRICTED, "pgbouncer", "rate", 1.0, False)
            seen.ratio(load, plan.UNRESTRICTED, "pgbouncer", "cpu_us", 1.0, True)
            seen.ratio(load, plan.RESTRICTED, "pgbouncer", "rate", 0.85 if simple else 0.95, False)
            if "prepared" in load:
                seen.ratio(load, plan.RESTRICTED, "pgbouncer", "cpu_us", 1.5, True)
        if load.startswith("pgbench -S") and ", 1 " in load:
            seen.distance(load, plan.UNRESTRICTED, "haproxy", "p50_us", 15)
            seen.distance(load, plan.RESTRICTED, "haproxy", "p50_us", 35)
        if load.startswith("logins (-C), SCRAM, TLS"):
            for pooler in ("pgbouncer", plan.NO_REUSE):
                for peer in (plan.UNRESTRICTED, plan.RESTRICTED):
                    seen.ratio(load, peer, pooler, "p50_us", 1.2, True)
        if "narrow rows" in load or "MiB in rows" in load or "COPY" in load:
            seen.ratio(load, plan.UNRESTRICTED, "haproxy", "rate", 0.95, False)
            seen.ratio(load, plan.RESTRICTED, plan.BY_HAND, "rate", 0.95, False)
        if "idle sessions" in load:
            for peer in (plan.UNRESTRICTED, plan.RESTRICTED):
                kib = seen.figure(load, peer, "session_kib")
                if kib is not None:
                    seen.add(f"{load}: {peer}, KiB per session", kib, 16, True)
    if not seen.lines:
        return []
    return ["| target | limit | measured | |", "| --- | --- | --- | --- |", *seen.lines]
