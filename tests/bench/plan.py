"""Which loads there are, and which peers take part in each."""
from dataclasses import dataclass, field
from typing import Callable

import loads
import servers

UNRESTRICTED, RESTRICTED, SYNCED = "pgveil unrestricted", "pgveil restricted", "pgveil restricted, synced"
BY_HAND, NO_REUSE = "direct, masked SQL by hand", "pgbouncer, no reuse"
PEERS = ("direct", "haproxy", "pgbouncer", UNRESTRICTED, RESTRICTED)
MODES = ("simple", "extended", "prepared")


@dataclass
class Load:
    """One line of the table: a name, what its rate counts, and how a sample of it is taken for a peer."""
    group: str
    name: str
    unit: str
    sample: Callable
    peers: tuple = PEERS
    writes: bool = False
    facts: dict = field(default_factory=dict)


def plural(count):
    return "" if count == 1 else "s"


def server_of(peer):
    """The process behind a peer; both ways of being measured share one where nothing but the user differs."""
    return "direct" if peer == BY_HAND else peer


def user_of(peer, scram=False):
    restricted = peer in (RESTRICTED, SYNCED)
    if scram:
        return servers.SCRAM_AGENT if restricted else servers.SCRAM_DPO
    return servers.AGENT if restricted else servers.DPO


def pgbench_load(group, name, mode, clients, scripts, *, seconds, peers=PEERS, writes=False, scram=False, options=(), env=None,
                 unit="tx/s", expected_tps=10_000):
    def sample(house, peer, work):
        return loads.pgbench(house, server_of(peer), work, user_of(peer, scram), seconds, clients, mode, scripts, options,
                             expected_tps, env)
    return Load(group, name, unit, sample, peers, writes, {"mode": mode, "clients": clients})


def all_loads(options, masked):
    """Every load, in the order of the table. `masked(text)`: what pgveil sends in place of it."""
    seconds, quick = options.seconds, options.quick
    out = []
    clients = [1, 8, 64] if quick else [1, 8, 64, 256]
    for mode in MODES:
        for count in clients:
            out.append(pgbench_load("select", f"pgbench -S, {mode}, {count} client{plural(count)}", mode, count, ["-S"], seconds=seconds,
                                    expected_tps=20_000))
    for mode in (("prepared",) if quick else MODES):
        for count in ([8] if quick else clients):
            out.append(pgbench_load("tpcb", f"TPC-B, {mode}, {count} client{plural(count)}", mode, count, ["-b", "tpcb-like"], seconds=seconds,
                                    writes=True, expected_tps=2_000))
    crm = [f"-f{loads.HERE}/crm/{name}.sql@{weight}" for name, weight in (("lookup", 7), ("list", 2), ("save", 1))]
    for mode in (("simple", "prepared") if quick else MODES):
        for count in ([8] if quick else [1, 8, 64]):
            out.append(pgbench_load("crm", f"CRM mix, {mode}, {count} client{plural(count)}", mode, count, crm, seconds=seconds, writes=True,
                                    expected_tps=5_000))
    storms = (("login", "trust", False, {}), ("login", "SCRAM", True, {}), ("login", "SCRAM, TLS", True, {"PGSSLMODE": "require"}))
    for group, what, scram, env in storms:
        out.append(pgbench_load(group, f"logins (-C), {what}, 8 clients", "simple", 8, ["-S", "-C"], seconds=seconds,
                                peers=(*PEERS[:3], NO_REUSE, *PEERS[3:]), scram=scram, env=env, unit="logins/s", expected_tps=500))
    out.extend(bulk_loads(options, masked))
    for mode in ("simple", "prepared"):
        for count in (1, 64):
            out.append(pgbench_load("ack", f"record: pgbench -S, {mode}, {count} client{plural(count)}", mode, count, ["-S"], seconds=seconds,
                                    peers=("haproxy", UNRESTRICTED, RESTRICTED, SYNCED), expected_tps=20_000))

    def idle_sample(house, peer, _work):
        return loads.idle(house, server_of(peer), user_of(peer), options.idle)
    out.append(Load("idle", f"{options.idle} idle sessions", "sessions", idle_sample, PEERS))
    return out


def bulk_loads(options, masked):
    count = options.wide_mib * 2**20 // loads.WIDE_ROW
    texts = (("1 million narrow rows", "rows/s", loads.NARROW, 1_000_000),
             (f"{options.wide_mib} MiB in rows of 64 KiB", "rows/s", loads.wide(count), count),
             ("COPY out, 1 million rows", "rows/s", loads.COPY_OUT, 1_000_000))
    for name, unit, text, rows in texts:
        by_hand = masked(text)
        def sample(house, peer, _work, text=text, rows=rows, by_hand=by_hand):
            return loads.rows(house, server_of(peer), user_of(peer), by_hand if peer == BY_HAND else text, rows)
        yield Load("bulk", name, unit, sample, (*PEERS[:4], BY_HAND, RESTRICTED))
    def copy_in(house, peer, _work):
        return loads.copied_in(house, server_of(peer), user_of(peer), 1_000_000)
    yield Load("bulk", "COPY in, 1 million lines", "lines/s", copy_in, PEERS, True)
