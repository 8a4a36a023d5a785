"""Clients that do not behave: each loops until it is told to end, and says how often it did what."""
import errno
import random
import socket
import struct
import threading
import time

import servers
import wire


class Mischief(threading.Thread):
    """One thread that opens session after session, at most `per_second` of them."""

    def __init__(self, port, user, kind, seed, per_second=4):
        super().__init__(daemon=True)
        self.port, self.user, self.kind, self.pause = port, user, kind, 1 / per_second
        self.random = random.Random(seed)
        self.ended = threading.Event()
        self.done, self.unexpected = 0, []

    def run(self):
        while not self.ended.wait(self.pause):
            try:
                getattr(self, self.kind)()
                self.done += 1
            except (OSError, wire.ServerError) as error:
                self.unexpected.append(f"{self.kind}: {error}")

    def stop(self):
        self.ended.set()
        self.join(60)

    def session(self):
        return wire.Client(self.port, self.user, servers.DATABASE)

    def leaves_in_the_middle(self):
        """Takes some of a large result and resets the connection."""
        client = self.session()
        client.send_query("SELECT id, figure, region FROM public.narrow")
        for _ in range(self.random.randrange(1, 20)):
            client.receive()
        client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.socket.close()

    def leaves_a_transaction_open(self):
        client = self.session()
        client.query("BEGIN")
        client.query("SELECT id, phone FROM crm.contacts WHERE id < 20 FOR UPDATE" if self.user == servers.DPO else
                     "SELECT id, phone FROM crm.contacts WHERE id < 20")
        client.socket.close()

    def errs(self):
        """What the server refuses, what pgveil refuses, and an empty text, in one session that goes on."""
        client = self.session()
        for text in ("SELECT no_such_column FROM crm.contacts", "SELECT 1/0", "SELEC 1", "",
                     "CREATE TABLE nothing_of_mine.t (id int)", "SELECT pg_catalog.pg_read_file('/etc/passwd')"):
            client.send_query(text)
            client.until_ready(errors_too=True)
        client.query("SELECT 1")
        client.close()

    def copies_in(self):
        client = self.session()
        client.copy_in("COPY public.incoming FROM STDIN", b"7\t7\tsomething to be kept\n", 1000)
        client.close()

    def walks_a_cursor(self):
        client = self.session()
        client.query("BEGIN")
        client.query("DECLARE c CURSOR FOR SELECT id, full_name, phone FROM crm.contacts ORDER BY id")
        for _ in range(10):
            client.query("FETCH 50 FROM c")
        client.query("COMMIT")
        client.close()

    def never_finishes_its_login(self):
        with socket.create_connection(("127.0.0.1", self.port), timeout=60) as half:
            half.sendall(struct.pack("!ii", 200, 196608) + b"user\0")
            time.sleep(self.random.random())

    def sends_rubbish(self):
        with socket.create_connection(("127.0.0.1", self.port), timeout=60) as rubbish:
            rubbish.sendall(self.random.randbytes(self.random.randrange(1, 400)))
            rubbish.settimeout(60)
            # What it has not read may come back as a reset, as from any server; then there is nothing to shut down (ENOTCONN).
            try:
                rubbish.shutdown(socket.SHUT_WR)
                while rubbish.recv(4096):
                    pass
            except OSError as error:
                if error.errno not in (errno.ECONNRESET, errno.ENOTCONN):
                    raise


KINDS = ("leaves_in_the_middle", "leaves_a_transaction_open", "errs", "copies_in", "walks_a_cursor",
         "never_finishes_its_login", "sends_rubbish")
