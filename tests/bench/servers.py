"""The servers that are measured: PostgreSQL and each way to it, on free ports of 127.0.0.1, ended by their pid."""
import json
import os
import pwd
import resource
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

import wire

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).resolve().parent
DATABASE = "crm"
# Users without a password, and with one for SCRAM.
AGENT, DPO = "crm_agent", "crm_dpo"
SCRAM_AGENT, SCRAM_DPO = "scram_agent", "scram_dpo"
PASSWORD = "correct horse"
CATALOG_PASSWORD = "catalog"
STARTS_WITHIN = 60


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def find_postgres():
    """The folder with initdb: PG_BIN, or the newest of Debian's."""
    if os.environ.get("PG_BIN"):
        return Path(os.environ["PG_BIN"])
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: float(path.parts[4]))
    if not found:
        raise SystemExit("no initdb; install PostgreSQL or set PG_BIN")
    return found[-1].parent


class Server:
    """A process that was started here."""

    def __init__(self, name, command, port, log, user=None, cores=None, env=None):
        self.name, self.port, self.log = name, port, log
        if cores is not None:
            command = ["taskset", "-c", cores, *command]
        with open(log, "ab") as out:
            self.process = subprocess.Popen(
                [str(part) for part in command], stdout=out, stderr=out, stdin=subprocess.DEVNULL, cwd="/", user=user,
                extra_groups=[] if user else None, env={**os.environ, **(env or {})}, start_new_session=True)

    @property
    def pid(self):
        return self.process.pid

    def wait_until_it_answers(self):
        """Until a session can be opened."""
        end = time.monotonic() + STARTS_WITHIN
        while True:
            try:
                wire.Client(self.port, DPO, DATABASE).close()
                return self
            except (OSError, wire.ServerError) as error:
                if self.process.poll() is not None or time.monotonic() > end:
                    words = Path(self.log).read_text(encoding="utf-8", errors="replace")[-2000:]
                    raise SystemExit(f"{self.name} does not answer: {error}\n{words}") from error
                time.sleep(0.1)

    def stop(self, how=signal.SIGTERM):
        if self.process.poll() is None:
            self.process.send_signal(how)
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


class House:
    """Everything that runs for the benchmark, in one folder."""

    def __init__(self, work, pgveil, cores, scale):
        self.work, self.pgveil, self.cores, self.scale = Path(work), Path(pgveil), cores, scale
        self.bin = find_postgres()
        # PostgreSQL and pgbouncer refuse to run as root.
        self.user = "postgres" if os.getuid() == 0 else None
        self.servers = {}
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))

    def own(self, path):
        if self.user:
            entry = pwd.getpwnam(self.user)
            os.chown(path, entry.pw_uid, entry.pw_gid)

    def port(self, peer):
        return self.servers[peer].port

    def stop(self):
        for server in reversed(list(self.servers.values())):
            # An immediate shutdown: nothing of the database is kept.
            server.stop(signal.SIGQUIT if server.name == "postgres" else signal.SIGTERM)
        self.servers.clear()

    def stop_one(self, peer):
        self.servers.pop(peer).stop()

    # PostgreSQL

    def start_postgres(self, max_connections):
        self.certificates()
        home = self.work / "server"
        home.mkdir(mode=0o700)
        for name in ("server.crt", "server.key"):
            shutil.copy(self.work / name, home / name)
            os.chmod(home / name, 0o600)
            self.own(home / name)
        self.own(home)
        data = home / "data"
        subprocess.run([self.bin / "initdb", "-D", data, "-U", "postgres", "-E", "UTF8", "--locale=C", "--no-sync",
                        "--auth-local=trust"], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                       user=self.user, cwd="/")
        (data / "pg_hba.conf").write_text(
            "local all all trust\n"
            f"host all {SCRAM_AGENT},{SCRAM_DPO},pgveil 127.0.0.1/32 scram-sha-256\n"
            "host all all 127.0.0.1/32 trust\n", encoding="ascii")
        port = free_port()
        settings = {
            "port": port, "unix_socket_directories": home, "listen_addresses": "127.0.0.1", "fsync": "off",
            "full_page_writes": "off", "max_connections": max_connections, "shared_buffers": "512MB", "max_wal_size": "4GB",
            "jit": "off", "autovacuum": "off", "password_encryption": "scram-sha-256", "ssl": "on", "log_min_messages": "error",
            "ssl_cert_file": home / "server.crt", "ssl_key_file": home / "server.key", "max_parallel_workers_per_gather": 0,
        }
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        server = Server("postgres", [self.bin / "postgres", "-D", data, *options], port, self.work / "postgres.log", self.user)
        self.servers["direct"] = server
        self.superuser_until_up()
        self.load()
        server.wait_until_it_answers()

    def superuser(self, *arguments, database=DATABASE, capture=False):
        server = self.servers["direct"]
        done = subprocess.run(
            [self.bin / "psql", "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-h", self.work / "server", "-p", str(server.port), "-U", "postgres",
             "-d", database, *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, user=self.user, cwd="/")
        if done.returncode != 0:
            raise RuntimeError(done.stdout)
        return done.stdout if capture else None

    def superuser_until_up(self):
        end = time.monotonic() + STARTS_WITHIN
        while True:
            try:
                return self.superuser("-c", "SELECT 1", database="postgres")
            except RuntimeError as error:
                if time.monotonic() > end:
                    raise SystemExit(f"PostgreSQL does not come up: {error}") from error
                time.sleep(0.1)

    def load(self):
        fixture = self.work / "fixture"
        fixture.mkdir(mode=0o755)
        for name in ("schema.sql", "seed.sql"):
            shutil.copy(ROOT / "deploy/crm" / name, fixture / name)
            os.chmod(fixture / name, 0o644)
        self.superuser("-c", f"CREATE DATABASE {DATABASE}", database="postgres")
        self.superuser("-f", fixture / "schema.sql", "-f", fixture / "seed.sql", capture=True)
        subprocess.run([self.bin / "pgbench", "-i", "-q", "-s", str(self.scale), "-h", self.work / "server", "-p",
                        str(self.servers["direct"].port), "-U", "postgres", DATABASE], check=True, user=self.user, cwd="/",
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.superuser("-c", f"""
            CREATE ROLE {SCRAM_AGENT} LOGIN PASSWORD '{PASSWORD}' IN ROLE {AGENT};
            CREATE ROLE {SCRAM_DPO} LOGIN PASSWORD '{PASSWORD}' IN ROLE {DPO};
            ALTER ROLE pgveil PASSWORD '{CATALOG_PASSWORD}';
            CREATE TABLE narrow AS SELECT g AS id, g * 7 AS figure, g % 100 AS region FROM pg_catalog.generate_series(1, 1000000) g;
            CREATE UNLOGGED TABLE incoming (id int, figure int, words text);
            GRANT SELECT ON narrow TO {AGENT}, {DPO};
            GRANT SELECT, INSERT ON incoming TO {AGENT}, {DPO};
            GRANT SELECT, INSERT, UPDATE ON pgbench_accounts, pgbench_branches, pgbench_tellers, pgbench_history TO {AGENT}, {DPO};
            GRANT INSERT, UPDATE ON crm.contacts, crm.leads, crm.tickets TO {DPO};""")
        self.superuser("-c", "VACUUM ANALYZE")

    def settle(self):
        """Takes off what writing loads left behind, so that each round begins alike."""
        self.superuser("-c", "TRUNCATE pgbench_history", "-c", "TRUNCATE incoming",
                       "-c", "VACUUM pgbench_branches, pgbench_tellers, crm.contacts, crm.leads", "-c", "CHECKPOINT")

    def certificates(self):
        def openssl(*arguments):
            subprocess.run(["openssl", *arguments], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=self.work)
        openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost", "-keyout", "server.key",
                "-out", "server.crt")

    # The ways to it

    def start_haproxy(self):
        port = free_port()
        config = self.work / "haproxy.cfg"
        # `nbthread 1`: each proxy gets one core.
        config.write_text(f"""global
    maxconn 8000
    nbthread 1
defaults
    mode tcp
    timeout connect 10s
    timeout client 1h
    timeout server 1h
listen postgres
    bind 127.0.0.1:{port} backlog 8192
    server one 127.0.0.1:{self.port("direct")}
""", encoding="ascii")
        self.add(Server("haproxy", ["haproxy", "-db", "-f", config], port, self.work / "haproxy.log", cores=self.cores))

    def start_pgbouncer(self, name="pgbouncer", server_lifetime=3600):
        """`server_lifetime=0`: each server connection serves one client, as without a pool."""
        port = free_port()
        home = self.work / name
        home.mkdir(mode=0o700)
        self.own(home)
        secrets = self.superuser("-c", f"""SELECT pg_catalog.format('"%s" "%s"', rolname, coalesce(rolpassword, ''))
            FROM pg_authid WHERE rolname IN ('{AGENT}', '{DPO}', '{SCRAM_AGENT}', '{SCRAM_DPO}')""", capture=True)
        files = {
            "users.txt": secrets,
            "hba.conf": f"host all {SCRAM_AGENT} 127.0.0.1/32 scram-sha-256\nhost all {SCRAM_DPO} 127.0.0.1/32 scram-sha-256\n"
                        "host all all 127.0.0.1/32 trust\n",
            "server.crt": (self.work / "server.crt").read_text(encoding="ascii"),
            "server.key": (self.work / "server.key").read_text(encoding="ascii"),
            "pgbouncer.ini": f"""[databases]
{DATABASE} = host=127.0.0.1 port={self.port("direct")}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = hba
auth_hba_file = {home}/hba.conf
auth_file = {home}/users.txt
pool_mode = session
max_client_conn = 10000
default_pool_size = 6000
server_idle_timeout = 5
server_lifetime = {server_lifetime}
server_tls_sslmode = disable
client_tls_sslmode = allow
client_tls_cert_file = {home}/server.crt
client_tls_key_file = {home}/server.key
log_connections = 0
log_disconnections = 0
""",
        }
        for file, text in files.items():
            (home / file).write_text(text, encoding="utf-8")
            self.own(home / file)
        self.add(Server(name, ["pgbouncer", home / "pgbouncer.ini"], port, self.work / f"{name}.log", self.user, self.cores))

    def start_pgveil(self, name, ack):
        port = free_port()
        home = self.work / name.replace(" ", "-")
        home.mkdir()
        config = home / "pgveil.yaml"
        config.write_text(f"""listen: 127.0.0.1:{port}
tls: {{ cert: {self.work}/server.crt, key: {self.work}/server.key }}
upstream: {{ host: 127.0.0.1, port: {self.port("direct")}, tls: disable, databases: [{DATABASE}], catalog_user: {{ name: pgveil, password: {CATALOG_PASSWORD} }} }}
auth: {{ method: passthrough }}
policies: {HERE}/policy.yaml
state: state.db
audit: {{ dir: audit, ack: {ack}, retain: {{ bytes: 1GiB }} }}
limits: {{ max_sessions: 10000 }}
""", encoding="ascii")
        self.add(Server(name, [self.pgveil, "serve", "--config", config], port, home / "log", cores=self.cores))
        return config

    def masked(self, config, text):
        """What pgveil sends to the server for a text of the restricted role."""
        done = subprocess.run([self.pgveil, "explain", "--config", config, "--database", DATABASE, "--role", "agent",
                               "--format", "json", text], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=False)
        if done.returncode != 0:
            raise SystemExit(f"pgveil explain: {done.stdout}")
        return json.loads(done.stdout)["sql"]

    def add(self, server):
        self.servers[server.name] = server
        server.wait_until_it_answers()
