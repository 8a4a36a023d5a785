"""The loads. Each is run against one peer and gives one sample: a dictionary of figures."""
import re
import subprocess
import threading
import time
from pathlib import Path

import cpu
import servers
import wire

HERE = Path(__file__).resolve().parent
# Transactions whose latency is logged, at most about so many per run.
LOGGED = 50_000
# PostgreSQL's own processes, and those of a few idle connections.
FEW_BACKENDS = 60
NARROW = "SELECT id, figure, region FROM public.narrow"
COPY_OUT = "COPY (SELECT id, figure, region FROM public.narrow) TO STDOUT"
COPY_IN = "COPY public.incoming FROM STDIN"
COPY_LINE = b"1234567\t7654321\tsomething to be kept\n"
WIDE_ROW = 65536


def percentiles(latencies):
    """p50, p95 and p99 of latencies in microseconds."""
    ordered = sorted(latencies)
    def at(share):
        return ordered[min(len(ordered) - 1, int(len(ordered) * share))] if ordered else None
    return {"p50_us": at(0.50), "p95_us": at(0.95), "p99_us": at(0.99)}


class Ticker(threading.Thread):
    """Follows pgbench's progress lines, and the proxy's CPU time at each: logins and the ends are left out."""

    LINE = re.compile(r"^progress: ([0-9.]+) s, ([0-9.]+) tps")

    def __init__(self, stream, pid):
        super().__init__(daemon=True)
        self.stream, self.pid, self.points, self.rest = stream, pid, [], []

    def run(self):
        for line in self.stream:
            found = self.LINE.match(line)
            if found:
                self.points.append((float(found.group(1)), float(found.group(2)), cpu.cpu_seconds(self.pid)))
            else:
                self.rest.append(line)

    def per_transaction(self):
        """CPU seconds per transaction between the first and the last progress line."""
        done = sum(tps * (now - before) for (before, _, _), (now, tps, _) in zip(self.points, self.points[1:]))
        used = self.points[-1][2] - self.points[0][2] if self.points else 0
        return used / done if done else None


def pgbench(house, peer, work, user, seconds, clients, mode, scripts, options=(), expected_tps=10_000, env=None):
    """One run of pgbench. `scripts`: arguments that choose what runs."""
    server = house.servers[peer]
    prefix = Path(work) / "latency"
    for old in Path(work).glob("latency.*"):
        old.unlink()
    rate = min(1.0, LOGGED / (seconds * expected_tps))
    command = [house.bin / "pgbench", "-n", "-h", "127.0.0.1", "-p", server.port, "-U", user, "-M", mode, "-c", clients,
               "-j", 1 if clients <= 8 else 2, "-T", seconds, "-P", 1, "--log", f"--log-prefix={prefix}", f"--sampling-rate={rate}",
               *scripts, *options, servers.DATABASE]
    environment = {"PGPASSWORD": servers.PASSWORD, "PGSSLMODE": "disable", "PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8", **(env or {})}
    # With one client only one process runs at a time: on one core its path is the same in every run, while an idle
    # second core takes a time to wake up that is not the proxy's.
    pinned = ["taskset", "-c", house.cores] if clients == 1 and house.cores else []
    rss = cpu.resident(server.pid)
    process = subprocess.Popen([*pinned, *map(str, command)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)
    ticker = Ticker(process.stderr, server.pid)
    ticker.start()
    out = process.stdout.read()
    process.wait()
    ticker.join()
    if process.returncode != 0:
        raise RuntimeError(f"pgbench through {peer}: {''.join(ticker.rest)[-600:]}")
    latencies = [int(line.split()[2]) for log in Path(work).glob("latency.*") for line in log.open(encoding="ascii")]
    tps = re.search(r"^tps = ([0-9.]+)", out, re.MULTILINE)
    per_transaction = ticker.per_transaction() if peer != "direct" else None
    return {
        "rate": float(tps.group(1)), **percentiles(latencies),
        "cpu_us": per_transaction and per_transaction * 1e6,
        "resident_mib": None if peer == "direct" else max(rss, cpu.resident(server.pid)) / 2**20,
    }


def timed(house, peer, work, unit=1.0):
    """Runs `work()` once. The rate is what it returns per second, in units; CPU is per unit."""
    server = house.servers[peer]
    used, began = cpu.cpu_seconds(server.pid), time.monotonic()
    amount = work() / unit
    took = time.monotonic() - began
    used = cpu.cpu_seconds(server.pid) - used
    direct = peer == "direct"
    return {"rate": amount / took, "cpu_us": None if direct else used / amount * 1e6,
            "resident_mib": None if direct else cpu.resident(server.pid) / 2**20}


def wide(rows):
    """Made by the server, so that no disk takes part; 64 KiB each, of a relation that is masked for the restricted role."""
    return f"SELECT id, pg_catalog.repeat('w', {WIDE_ROW}) FROM public.narrow WHERE id <= {rows}"


def rows(house, peer, user, text, count):
    """Rows of one result per second."""
    client = wire.Client(house.port(peer), user, servers.DATABASE)
    try:
        def work():
            client.query(text)
            return count
        return timed(house, peer, work)
    finally:
        client.close()


def copied_in(house, peer, user, lines):
    """Lines of COPY FROM STDIN per second."""
    client = wire.Client(house.port(peer), user, servers.DATABASE)
    try:
        def work():
            client.copy_in(COPY_IN, COPY_LINE, lines)
            return lines
        return timed(house, peer, work)
    finally:
        client.close()


def idle(house, peer, user, count):
    """Resident memory per session, in KiB: so many sessions that have run one statement each and do nothing since."""
    server = house.servers[peer]
    measure = cpu.resident_of_children if peer == "direct" else cpu.resident
    clients = []
    try:
        # Tables that grow once, and threads' own heaps, are there before.
        for _ in range(20):
            wire.Client(server.port, user, servers.DATABASE).close()
        before = measure(server.pid)
        for _ in range(count):
            client = wire.Client(server.port, user, servers.DATABASE)
            client.query("SELECT id, full_name FROM crm.contacts WHERE id = 3")
            clients.append(client)
        time.sleep(2)
        used, began = cpu.cpu_seconds(server.pid), time.monotonic()
        time.sleep(3)
        share = (cpu.cpu_seconds(server.pid) - used) / (time.monotonic() - began)
        grown = measure(server.pid) - before
        return {"rate": count, "session_kib": grown / count / 1024, "idle_cpu_percent": share * 100,
                "resident_mib": None if peer == "direct" else cpu.resident(server.pid) / 2**20}
    finally:
        for client in clients:
            client.close()
        wait_for_backends(house)


def wait_for_backends(house):
    """Until the backends of sessions that have ended are gone: a pooler keeps them for a while."""
    end = time.monotonic() + 60
    while cpu.children(house.servers["direct"].pid) > FEW_BACKENDS and time.monotonic() < end:
        time.sleep(0.5)
