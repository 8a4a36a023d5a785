"""One server's part of the matrix of logins, direct and through pgveil. Called by run.sh."""

import argparse
import fnmatch
import itertools
import os
import pwd
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

from psycopg import pq

SSLMODES = ["disable", "allow", "prefer", "require", "verify-ca", "verify-full"]
GSSENCMODES = ["disable", "prefer", "require"]
NEGOTIATIONS = ["postgres", "direct"]
BINDINGS = ["disable", "prefer", "require"]
# By the way in which pgveil checks them.
METHODS = {"passthrough": ["trust", "password", "md5", "scram"], "scram": ["scram"], "certificate": ["cert"]}
PASSWORD = "pencil, Ⅸ"

HBA = """\
local all all trust
host all postgres 127.0.0.1/32 trust
host all trust_user 127.0.0.1/32 trust
host all password_user 127.0.0.1/32 password
host all md5_user 127.0.0.1/32 md5
host all scram_user 127.0.0.1/32 scram-sha-256
{cert}
"""
# Directly the server asks for the certificate; through pgveil, pgveil does.
HBA_CERT = {True: "hostssl all cert_user 127.0.0.1/32 trust clientcert=verify-full", False: "host all cert_user 127.0.0.1/32 trust"}


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def as_server():
    """PostgreSQL refuses to run as root."""
    if os.getuid() != 0:
        return {}
    user = pwd.getpwnam("postgres")
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": [], "cwd": "/"}


class Server:
    """`certificates`: asks clients for theirs."""

    def __init__(self, bin, folder, work, certificates):
        self.port = free_port()
        folder.mkdir()
        shutil.copy(work / "server.crt", folder)
        shutil.copy(work / "server.key", folder)
        shutil.copy(work / "ca.crt", folder)
        if os.getuid() == 0:
            for path in [folder, *folder.iterdir()]:
                shutil.chown(path, "postgres", "postgres")
        data = folder / "data"
        subprocess.run(
            [bin / "initdb", "-D", data, "-U", "postgres", "-E", "UTF8", "--locale=C", "--no-sync", "-A", "trust"],
            check=True, stdout=subprocess.DEVNULL, **as_server(),
        )
        (data / "pg_hba.conf").write_text(HBA.format(cert=HBA_CERT[certificates]))
        with open(data / "postgresql.conf", "a") as conf:
            conf.write(
                f"listen_addresses = '127.0.0.1'\nport = {self.port}\nunix_socket_directories = '{folder}'\nfsync = off\n"
                f"ssl = on\nssl_cert_file = '{folder}/server.crt'\nssl_key_file = '{folder}/server.key'\nlc_messages = 'C'\n"
            )
            if certificates:
                conf.write(f"ssl_ca_file = '{folder}/ca.crt'\n")
        self.process = subprocess.Popen([bin / "postgres", "-D", data], stderr=open(folder / "log", "w"), **as_server())
        admin = wait_for(self.port)
        for text in (
            "SET password_encryption = 'scram-sha-256'",
            f"CREATE ROLE scram_user LOGIN PASSWORD '{PASSWORD}'",
            f"CREATE ROLE password_user LOGIN PASSWORD '{PASSWORD}'",
            "CREATE ROLE trust_user LOGIN",
            "CREATE ROLE cert_user LOGIN",
            "SET password_encryption = 'md5'",
            f"CREATE ROLE md5_user LOGIN PASSWORD '{PASSWORD}'",
        ):
            result = admin.exec_(text.encode())
            assert result.status == pq.ExecStatus.COMMAND_OK, result.error_message
        admin.finish()

    def stop(self):
        self.process.send_signal(signal.SIGQUIT)
        self.process.wait()


def wait_for(port):
    for _ in range(600):
        connection = pq.PGconn.connect(f"host=127.0.0.1 port={port} user=postgres dbname=postgres sslmode=disable".encode())
        if connection.status == pq.ConnStatus.OK:
            return connection
        connection.finish()
        time.sleep(0.1)
    raise SystemExit(f"nobody listens on {port}")


class Pgveil:
    """`mode`: how passwords are checked, and `certificate` where one is required instead."""

    def __init__(self, binary, folder, work, server, mode):
        asks, method = ("require", "passthrough") if mode == "certificate" else ("request", mode)
        self.port = free_port()
        folder.mkdir()
        (folder / "policy.yaml").write_text("version: 1\nroles: { all: { who: [{ db_user: nobody }], unmasked: true } }\nunmatched: all\n")
        # The exchange of a password cannot be relayed where both legs have TLS.
        tls = "verify-full" if method == "scram" else "disable"
        (folder / "pgveil.yaml").write_text(
            f"listen: 127.0.0.1:{self.port}\n"
            f"tls: {{ cert: {work}/server.crt, key: {work}/server.key, client_ca: {work}/ca.crt, client_cert: {asks} }}\n"
            f"upstream: {{ host: localhost, port: {server.port}, tls: {tls}, ca: {work}/ca.crt, catalog_user: {{ name: postgres }} }}\n"
            f"auth: {{ method: {method} }}\npolicies: policy.yaml\nstate: var/state.db\naudit: {{ dir: var/audit }}\n"
        )
        self.process = subprocess.Popen([binary, "serve", "--config", folder / "pgveil.yaml"], stdout=subprocess.PIPE, stderr=open(folder / "log", "w"))
        for line in self.process.stdout:
            if b"pgveil ready" in line:
                return
        raise SystemExit((folder / "log").read_text())

    def stop(self):
        self.process.terminate()
        self.process.wait()


def combinations():
    """Names and parameters of the client's side."""
    for mode, gss, negotiation, binding in itertools.product(SSLMODES, GSSENCMODES, NEGOTIATIONS, BINDINGS):
        # libpq refuses these itself.
        if negotiation == "direct" and mode in ("disable", "allow", "prefer"):
            continue
        if gss == "require" and (binding != "prefer" or negotiation != "postgres"):
            continue
        yield f"{mode} gss-{gss} {negotiation} binding-{binding}", f"sslmode={mode} gssencmode={gss} sslnegotiation={negotiation} channel_binding={binding}"
    # Not known to libpq before 18.
    if pq.version() < 180000:
        return
    for name, versions in (("max-3.0", "max_protocol_version=3.0"), ("max-latest", "max_protocol_version=latest"),
                           ("min-3.2", "min_protocol_version=3.2 max_protocol_version=3.2")):
        yield f"protocol-{name}", f"sslmode=prefer {versions}"


def credentials(method, work):
    """What a client shows, and its name."""
    if method == "cert":
        yield "right", f"sslcert={work}/client.crt sslkey={work}/client.key"
        yield "none", "sslcert=/nonexistent"
        yield "stranger", f"sslcert={work}/stranger.crt sslkey={work}/stranger.key"
        return
    shown = "sslcert=/nonexistent passfile=/nonexistent"
    yield "right", f"{shown} password='{PASSWORD}'"
    if method != "trust":
        yield "wrong", f"{shown} password=wrong"
        yield "none", shown


def outcome(port, method, parameters, work):
    text = f"host=localhost hostaddr=127.0.0.1 port={port} user={method}_user dbname=postgres connect_timeout=20 sslrootcert={work}/ca.crt {parameters}"
    connection = pq.PGconn.connect(text.encode())
    try:
        if connection.status != pq.ConnStatus.OK:
            words = connection.error_message.decode(errors="replace")
            words = re.sub(r'connection to server at .*? failed: ', "", words)
            return "refused: " + re.sub(r"\s+", " ", words).strip()
        result = connection.exec_(b"SELECT current_user")
        assert result.get_value(0, 0) == f"{method}_user".encode()
        ssl = "TLS" if connection.ssl_in_use else "plain"
        asked = "asked for the password" if connection.used_password else "not asked"
        version = connection.full_protocol_version if pq.version() >= 180000 else connection.protocol_version
        return f"in: {ssl}, protocol {version}, {asked}"
    finally:
        connection.finish()


def greased(port, method):
    """What libpq 19 sends to find out whether a server negotiates: a version that there is not, and an option that there is not."""
    parameters = b"user\0%s_user\0database\0postgres\0_pq_.test_protocol_negotiation\0\0\0" % method.encode()
    with socket.create_connection(("127.0.0.1", port), timeout=20) as client, client.makefile("rb") as answers:
        client.sendall(struct.pack("!IHH", 8 + len(parameters), 3, 9999) + parameters)
        kind, length = struct.unpack("!cI", answers.read(5))
        body = answers.read(length - 4)
    if kind != b"v":
        return f"a message {kind}"
    major, minor, count = struct.unpack("!HHI", body[:8])
    return f"protocol {major}.{minor}, {count} options unknown: {body[8:]}"


def listed(path):
    for line in path.read_text().splitlines():
        if line and not line.startswith("#"):
            pattern, _, why = line.partition(" | ")
            assert why, f"`{line}` gives no reason"
            yield pattern


def main():
    parser = argparse.ArgumentParser()
    for name in ("work", "pgveil", "server", "differences"):
        parser.add_argument(f"--{name}", required=True)
    arguments = parser.parse_args()
    major, bin = arguments.server.split("=", 1)
    work, bin = Path(arguments.work), Path(bin)
    known = list(listed(Path(arguments.differences)))
    direct = Server(bin, work / f"direct-{major}", work, True)
    behind = Server(bin, work / f"behind-{major}", work, False)
    started = [direct, behind]
    counts, used = Counter(), set()

    def compare(case, before, after, same=False):
        counts["cases"] += 1
        if same or before == after:
            return
        counts["different"] += 1
        hits = [pattern for pattern in known if fnmatch.fnmatchcase(case, pattern)]
        used.update(hits)
        if not hits:
            counts["unexpected"] += 1
            print(f"DIFFERENT {case}\n    directly {before}\n    through  {after}")

    try:
        for mode, methods in METHODS.items():
            pgveil = Pgveil(arguments.pgveil, work / f"pgveil-{major}-{mode}", work, behind, mode)
            started.append(pgveil)
            for method in methods:
                if method != "cert":
                    compare(f"{major} {mode} {method} protocol-grease none", greased(direct.port, method), greased(pgveil.port, method))
                for combination, parameters in combinations():
                    for shown, secret in credentials(method, work):
                        if shown == "wrong" and "binding-prefer" not in combination:
                            continue
                        case = f"{major} {mode} {method} {combination} {shown}"
                        before = outcome(direct.port, method, f"{parameters} {secret}", work)
                        after = outcome(pgveil.port, method, f"{parameters} {secret}", work)
                        counts["in" if after.startswith("in") else "refused"] += 1
                        # Who asks for the certificate says so in own words.
                        compare(case, before, after, method == "cert" and before[:7] == after[:7] == "refused")
    finally:
        for process in started:
            process.stop()
    for pattern in known:
        if pattern not in used and fnmatch.fnmatchcase(major, pattern.split(" ")[0]):
            counts["unexpected"] += 1
            print(f"NO LONGER DIFFERENT on {major}: {pattern}")
    print(f"logins {major}, libpq {pq.version() // 10000}: " + ", ".join(f"{count} {what}" for what, count in sorted(counts.items())))
    return 1 if counts["unexpected"] else 0


if __name__ == "__main__":
    sys.exit(main())
