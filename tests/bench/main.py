"""Takes the samples, round by round, and prints the table."""
import argparse
import csv
import json
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import cpu
import plan
import report
import servers

ROOT = servers.ROOT
GROUPS = ("select", "tpcb", "crm", "login", "bulk", "ack", "idle")
EXAMPLES = """examples:
  tests/bench/run.sh --quick                            a few minutes, one round: to see where things stand
  tests/bench/run.sh --rounds 5 --seconds 10            all of it, for the record: some hours
  tests/bench/run.sh --loads select,ack --rounds 3      some loads only (%s)
  tests/bench/run.sh --peers haproxy,pgveil --match '64 clients'
                                                        peers and loads whose names hold these words

Cores: each proxy is pinned to one core (the last), because pgbouncer can use no more: what a transaction costs compares
directly, and no proxy gains by a second core. Client and server float over all cores. With one client everything is on
that one core: only one process runs at a time, and waking an idle core would cost more than the proxy, and not the same
twice. --no-pin leaves all of it to the kernel.

Rates are medians over the rounds, +- half the distance between the lowest and the highest. CPU is utime and stime of the
proxy's process from /proc, from the first second of a run to its last. Within a round the order of peers is shuffled.
""" % ", ".join(GROUPS)


def options():
    parser = argparse.ArgumentParser(prog="tests/bench/run.sh", epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter,
                                     description="Measures pgveil beside a direct connection, haproxy and pgbouncer.")
    parser.add_argument("--quick", action="store_true", help="fewer loads, one round of three seconds each, less data")
    parser.add_argument("--rounds", type=int, help="rounds over all loads and peers (default 5; 1 with --quick)")
    parser.add_argument("--seconds", type=int, help="length of a pgbench run (default 10; 3 with --quick), at least 3")
    parser.add_argument("--loads", default=",".join(GROUPS), help="groups of loads, by comma")
    parser.add_argument("--match", default="", help="only loads whose name holds this")
    parser.add_argument("--peers", default="", help="only peers whose name holds one of these, by comma")
    parser.add_argument("--pgveil", type=Path, default=ROOT / "target/release/pgveil", help="the binary")
    parser.add_argument("--out", type=Path, help="folder for raw data and table (default target/bench/TIME)")
    parser.add_argument("--idle", type=int, help="idle sessions (default 5000; 500 with --quick)")
    parser.add_argument("--wide-mib", type=int, help="MiB of wide rows (default 1024; 128 with --quick)")
    parser.add_argument("--scale", type=int, help="pgbench's scale factor (default 64; 10 with --quick)")
    parser.add_argument("--no-pin", action="store_true", help="leave the choice of cores to the kernel")
    parser.add_argument("--seed", type=int, default=1, help="of the order of peers")
    chosen = parser.parse_args()
    full_or_quick = {"rounds": (5, 1), "seconds": (10, 3), "idle": (5000, 500), "wide_mib": (1024, 128), "scale": (64, 10)}
    for name, values in full_or_quick.items():
        if getattr(chosen, name) is None:
            setattr(chosen, name, values[chosen.quick])
    chosen.seconds = max(3, chosen.seconds)
    unknown = set(chosen.loads.split(",")) - set(GROUPS)
    if unknown:
        parser.error(f"no load {', '.join(sorted(unknown))}; there are {', '.join(GROUPS)}")
    if not chosen.pgveil.exists():
        parser.error(f"no {chosen.pgveil}; build it with cargo build --release")
    return chosen


def start(house, loads, masked_by):
    """Starts what the loads need. PostgreSQL is up already."""
    names = {plan.server_of(peer) for load in loads for peer in load.peers}
    if "haproxy" in names:
        house.start_haproxy()
    for name, lifetime in (("pgbouncer", 3600), (plan.NO_REUSE, 0)):
        if name in names:
            house.start_pgbouncer(name, lifetime)
    for name, ack in ((plan.UNRESTRICTED, "written"), (plan.RESTRICTED, "written"), (plan.SYNCED, "synced")):
        if name in names and name != masked_by:
            house.start_pgveil(name, ack)


def chosen_loads(chosen, masked):
    wanted = [word for word in chosen.peers.split(",") if word]
    loads = [load for load in plan.all_loads(chosen, masked) if load.group in chosen.loads.split(",") and chosen.match in load.name]
    for load in loads:
        if wanted:
            load.peers = tuple(peer for peer in load.peers if any(word in peer for word in wanted))
    return [load for load in loads if load.peers]


def run(chosen, house, out):
    # As many as the idle sessions of two proxies need while the first one's are still closing.
    idle = "idle" in chosen.loads.split(",")
    house.start_postgres((chosen.idle + 500) if idle else 800)
    config = house.start_pgveil(plan.RESTRICTED, "written")
    loads = chosen_loads(chosen, lambda text: house.masked(config, text))
    start(house, loads, plan.RESTRICTED)
    shuffle = random.Random(chosen.seed)
    samples, began = [], time.monotonic()
    total = sum(len(load.peers) for load in loads) * chosen.rounds
    for number in range(1, chosen.rounds + 1):
        for load in loads:
            for peer in shuffle.sample(load.peers, len(load.peers)):
                sample = {"round": number, "group": load.group, "load": load.name, "peer": peer, "unit": load.unit, **load.facts,
                          "began_s": round(time.monotonic() - began, 1)}
                try:
                    sample.update(load.sample(house, peer, house.work))
                except (RuntimeError, OSError, servers.wire.ServerError) as error:
                    sample["error"] = str(error)
                samples.append(sample)
                told = sample.get("error") or f"{sample['rate']:.0f} {load.unit}"
                print(f"[{len(samples)}/{total}] {load.name}, {peer}: {told}", file=sys.stderr, flush=True)
                write(out, samples)
            if load.writes:
                house.settle()
    return samples


def write(out, samples):
    columns = list(dict.fromkeys(name for sample in samples for name in sample))
    with open(out / "samples.csv", "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(samples)


def facts(chosen, house):
    def version(*command):
        done = subprocess.run(list(map(str, command)), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
        return done.stdout.splitlines()[0] if done.stdout else "?"
    commit = version("git", "-C", ROOT, "describe", "--always", "--dirty")
    return {
        "when": time.strftime("%Y-%m-%d %H:%M:%S %z"), "machine": cpu.describe_machine(), "pgveil": f"{version(chosen.pgveil, '--version')} ({commit})",
        "postgres": version(house.bin / "postgres", "--version"), "haproxy": version("haproxy", "-v"), "pgbouncer": version("pgbouncer", "-V"),
        "rounds": chosen.rounds, "seconds": chosen.seconds, "pinned": "no" if chosen.no_pin else f"proxies on core {house.cores}",
        "scale": chosen.scale, "idle": chosen.idle,
    }


def main():
    chosen = options()
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: sys.exit(143))
    out = chosen.out or ROOT / "target/bench" / time.strftime("%Y%m%d-%H%M%S")
    out.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix="pgveil-bench-"))
    work.chmod(0o711)
    # The user of PostgreSQL reads what is put there.
    cores = None if chosen.no_pin else str(max(servers.os.sched_getaffinity(0)))
    house = servers.House(work, chosen.pgveil.resolve(), cores, chosen.scale)
    try:
        known = facts(chosen, house)
        samples = run(chosen, house, out)
    finally:
        house.stop()
        shutil.rmtree(work, ignore_errors=True)
    (out / "run.json").write_text(json.dumps({"facts": known, "samples": samples}, indent=1), encoding="utf-8")
    table = report.markdown(known, samples)
    (out / "table.md").write_text(table, encoding="utf-8")
    print(table)
    print(f"raw data: {out}", file=sys.stderr)
    return 1 if any("error" in sample for sample in samples) else 0


if __name__ == "__main__":
    sys.exit(main())
