"""Mixed clients for as long as asked, a sample every few seconds, and a verdict."""
import argparse
import csv
import json
import os
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "bench"))

import clients  # noqa: E402
import cpu  # noqa: E402
import loads  # noqa: E402
import servers  # noqa: E402

EXAMPLES = """examples:
  tests/soak/run.sh                       half an hour, as fast as the machine goes
  tests/soak/run.sh --minutes 2           to see whether it runs
  tests/soak/run.sh --rate 40             about 40 transactions a second of each pgbench, beside other work
  tests/soak/run.sh --minutes 3 --every 1 --policy-every 1
                                          what a change of policy costs in memory, seen in minutes

Memory is RssAnon: what no file backs. Flat means: the median of the last quarter is above that of the second quarter by no
more than --growth (the first quarter fills caches: plans, metrics, allocator). Descriptors are flat if, once all clients have gone,
no more are open than before the first came, but for a few of files that are opened when needed.
"""
# Descriptors that come and go by themselves: the next segment, a cursor of a sink that is being written.
SPARE_DESCRIPTORS = 8
WARM_UP_MIB = 8


def options():
    parser = argparse.ArgumentParser(prog="tests/soak/run.sh", epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter,
                                     description="Mixed clients through pgveil: flat memory, no descriptor growth, all on record.")
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--rate", type=int, default=0, help="transactions a second of each pgbench; 0: as many as go")
    parser.add_argument("--every", type=float, default=5, help="seconds between samples")
    parser.add_argument("--policy-every", type=float, default=60, help="seconds between changes of policy")
    parser.add_argument("--growth", type=float, default=5.0, help="percent that memory may grow after the first quarter")
    parser.add_argument("--ack", choices=("written", "synced"), default="written")
    parser.add_argument("--pgveil", type=Path, default=servers.ROOT / "target/release/pgveil", help="the binary")
    parser.add_argument("--out", type=Path, help="folder for samples and verdict (default target/soak/TIME)")
    chosen = parser.parse_args()
    if not chosen.pgveil.exists():
        parser.error(f"no {chosen.pgveil}; build it with cargo build --release")
    return chosen


class Soaked(servers.House):
    """The bench's PostgreSQL, and a pgveil with all that runs beside statements: sinks, state, metrics, changing policies."""

    def start(self, ack):
        self.start_postgres(300)
        port, self.admin = servers.free_port(), servers.free_port()
        home = self.work / "pgveil"
        home.mkdir()
        self.policy, self.audit = home / "policy.yaml", home / "audit"
        self.written = (Path(servers.HERE) / "policy.yaml").read_text(encoding="utf-8")
        self.policy.write_text(self.written, encoding="utf-8")
        self.config = home / "pgveil.yaml"
        self.config.write_text(f"""listen: 127.0.0.1:{port}
tls: {{ cert: {self.work}/server.crt, key: {self.work}/server.key }}
upstream: {{ host: 127.0.0.1, port: {self.port("direct")}, tls: disable, databases: [{servers.DATABASE}],
             catalog_user: {{ name: pgveil, password: {servers.CATALOG_PASSWORD} }} }}
auth: {{ method: passthrough }}
policies: policy.yaml
state: state.db
audit: {{ dir: audit, ack: {ack}, segment_bytes: 16MiB,
          sinks: {{ archive: {{ type: file, path: {home}/archive.jsonl, events: [login, refusal, violation, checkpoint] }} }} }}
admin: {{ listen: "127.0.0.1:{self.admin}" }}
limits: {{ max_sessions: 1000 }}
""", encoding="ascii")
        self.add(servers.Server("pgveil", [self.pgveil, "serve", "--config", self.config], port, home / "log"))
        return port

    def metrics(self):
        with urllib.request.urlopen(f"http://127.0.0.1:{self.admin}/metrics", timeout=60) as answer:
            return answer.read().decode()

    def change_policy(self, number):
        """Another version of the same rules."""
        new = self.policy.with_suffix(".new")
        new.write_text(f"{self.written}\n# {number}\n", encoding="utf-8")
        new.rename(self.policy)


def total(metrics, name):
    return sum(float(line.rpartition(" ")[2]) for line in metrics.splitlines() if re.match(rf"{name}[ {{]", line))


def sample(house, pid, began):
    metrics = house.metrics()
    descriptors = os.listdir(f"/proc/{pid}/fd")
    return {"second": round(time.monotonic() - began, 1), "anonymous_mib": round(cpu.resident(pid) / 2**20, 2), "descriptors": len(descriptors),
            "threads": len(os.listdir(f"/proc/{pid}/task")), "cpu_seconds": cpu.cpu_seconds(pid), "sessions": total(metrics, "pgveil_sessions"),
            "statements": total(metrics, "pgveil_statements_total"), "records": total(metrics, "pgveil_audit_head_seq"),
            "plan_cache_mib": round(total(metrics, "pgveil_plan_cache_bytes") / 2**20, 2)}


def start_pgbenches(house, port, seconds, rate):
    crm = [f"-f{loads.HERE}/crm/{name}.sql@{weight}" for name, weight in (("lookup", 7), ("list", 2), ("save", 1))]
    plain, secret = {"PGSSLMODE": "disable"}, {"PGSSLMODE": "require", "PGPASSWORD": servers.PASSWORD}
    runs = [
        ("select, simple, restricted", servers.AGENT, ["-S", "-M", "simple", "-c", 8], plain),
        ("select, extended, restricted", servers.AGENT, ["-S", "-M", "extended", "-c", 8], plain),
        ("select, prepared, restricted, TLS", servers.SCRAM_AGENT, ["-S", "-M", "prepared", "-c", 8], secret),
        ("select, prepared, unrestricted", servers.DPO, ["-S", "-M", "prepared", "-c", 8], plain),
        ("tpcb, unrestricted", servers.DPO, ["-b", "tpcb-like", "-M", "simple", "-c", 4], plain),
        ("crm, restricted", servers.AGENT, [*crm[:2], "-M", "simple", "-c", 8], plain),
        ("crm, unrestricted, TLS", servers.SCRAM_DPO, [*crm, "-M", "prepared", "-c", 8], secret),
        ("logins, SCRAM, TLS", servers.SCRAM_AGENT, ["-S", "-C", "-c", 4], secret),
        ("logins", servers.DPO, ["-S", "-C", "-c", 4], plain),
    ]
    limit = ["-R", rate] if rate else []
    return [(name, subprocess.Popen(
        [str(part) for part in [house.bin / "pgbench", "-n", "-h", "127.0.0.1", "-p", port, "-U", user, "-T", int(seconds), *arguments, *limit,
                                servers.DATABASE]],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env={"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8", **env}))
        for name, user, arguments, env in runs]


def run(chosen, house, out):
    port = house.start(chosen.ack)
    pid, began = house.servers["pgveil"].pid, time.monotonic()
    before = sample(house, pid, began)
    seconds = chosen.minutes * 60
    samples, findings = [], []
    benches = start_pgbenches(house, port, seconds, chosen.rate)
    mischief = [clients.Mischief(port, user, kind, number) for user in (servers.AGENT, servers.DPO)
                for number, kind in enumerate(clients.KINDS)]
    for thread in mischief:
        thread.start()
    changes = 0
    while time.monotonic() - began < seconds:
        time.sleep(chosen.every)
        if time.monotonic() - began > (changes + 1) * chosen.policy_every:
            changes += 1
            house.change_policy(changes)
        if house.servers["pgveil"].process.poll() is not None:
            raise SystemExit(f"pgveil ended by itself: {house.servers['pgveil'].process.returncode}")
        samples.append(sample(house, pid, began))
        last = samples[-1]
        print(f"{last['second']:7.0f} s  {last['anonymous_mib']:8.1f} MiB  {last['descriptors']:5} descriptors  {last['sessions']:4.0f} sessions  "
              f"{last['statements']:10.0f} statements", file=sys.stderr, flush=True)
        with open(out / "samples.csv", "w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(last))
            writer.writeheader()
            writer.writerows(samples)
    for thread in mischief:
        thread.stop()
        findings += thread.unexpected[:3]
    rates = {}
    for name, process in benches:
        said = process.communicate(timeout=120)[0]
        tps = re.search(r"^tps = ([0-9.]+)", said, re.MULTILINE)
        failed = re.search(r"number of failed transactions: ([0-9]+)", said)
        if process.returncode != 0 or not tps or (failed and failed.group(1) != "0"):
            findings.append(f"pgbench {name}: {said[-300:]}")
        rates[name] = float(tps.group(1)) if tps else 0
    after = until_idle(house, pid, began, before)
    return judge(chosen, house, before, samples, after, findings) | {
        "minutes": chosen.minutes, "ack": chosen.ack, "rates": rates, "policy_changes": changes,
        "misbehaved": {kind: sum(thread.done for thread in mischief if thread.kind == kind) for kind in clients.KINDS}}


def until_idle(house, pid, began, before):
    """The sample once all sessions have gone, or after a minute."""
    end = time.monotonic() + 60
    while True:
        last = sample(house, pid, began)
        if (last["sessions"] == 0 and last["descriptors"] <= before["descriptors"] + SPARE_DESCRIPTORS) or time.monotonic() > end:
            return last
        time.sleep(1)


def judge(chosen, house, before, samples, after, findings):
    quarter = max(1, len(samples) // 4)
    early = statistics.median(one["anonymous_mib"] for one in samples[quarter:2 * quarter] or samples)
    late = statistics.median(one["anonymous_mib"] for one in samples[-quarter:])
    if late > early * (1 + chosen.growth / 100) + WARM_UP_MIB:
        findings.append(f"memory grew from {early:.1f} to {late:.1f} MiB")
    if after["descriptors"] > before["descriptors"] + SPARE_DESCRIPTORS:
        findings.append(f"descriptors: {before['descriptors']} before, {after['descriptors']} after all clients had gone")
    if after["sessions"]:
        findings.append(f"{after['sessions']:.0f} sessions are left")
    house.servers["pgveil"].stop()
    verified = subprocess.run([house.pgveil, "audit", "verify", "--dir", house.audit], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              text=True, check=False)
    if verified.returncode != 0:
        findings.append(f"audit verify: {verified.stdout}")
    log = (house.work / "pgveil/log").read_text(encoding="utf-8", errors="replace")
    findings += [f"log: {line}" for line in log.splitlines() if "panicked" in line][:3]
    return {"flat": not findings, "findings": findings, "memory_mib": {"second_quarter": early, "last_quarter": late, "after": after["anonymous_mib"]},
            "descriptors": {"before": before["descriptors"], "most": max(one["descriptors"] for one in samples), "after": after["descriptors"]},
            "statements": after["statements"], "records": after["records"], "verified": verified.stdout.splitlines()[:1]}


def main():
    chosen = options()
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: sys.exit(143))
    out = chosen.out or servers.ROOT / "target/soak" / time.strftime("%Y%m%d-%H%M%S")
    out.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix="pgveil-soak-"))
    work.chmod(0o711)
    house = Soaked(work, chosen.pgveil.resolve(), None, 10)
    try:
        verdict = run(chosen, house, out)
        shutil.copy(work / "pgveil/log", out / "log")
    finally:
        house.stop()
        shutil.rmtree(work, ignore_errors=True)
    (out / "verdict.json").write_text(json.dumps(verdict, indent=1), encoding="utf-8")
    print(json.dumps(verdict, indent=1))
    print(f"samples: {out}", file=sys.stderr)
    return 0 if verdict["flat"] else 1


if __name__ == "__main__":
    sys.exit(main())
