"""A client that costs next to nothing: raw messages of PostgreSQL's protocol 3.0, no result is looked at."""
import socket
import struct

READ = 1 << 20
READY = b"Z\x00\x00\x00\x05"
COPY_CHUNK = 8192


class ServerError(Exception):
    """The server's ErrorResponse."""


class Client:
    """One session of a user who needs no password."""

    def __init__(self, port, user, database):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=600)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buffer = bytearray(READ)
        words = b"user\0" + user.encode() + b"\0database\0" + database.encode() + b"\0\0"
        self.socket.sendall(struct.pack("!ii", len(words) + 8, 196608) + words)
        self.until_ready()

    def query(self, text):
        """Runs a text and drops what comes back. Returns the number of bytes received."""
        self.send_query(text)
        return self.until_ready()

    def send_query(self, text):
        body = text.encode() + b"\0"
        self.socket.sendall(b"Q" + struct.pack("!i", len(body) + 4) + body)

    def copy_in(self, text, line, count):
        """COPY FROM STDIN of so many equal lines. Returns the number of bytes of data."""
        self.send_query(text)
        self.receive()
        per_chunk = max(1, COPY_CHUNK // len(line))
        message = b"d" + struct.pack("!i", per_chunk * len(line) + 4) + line * per_chunk
        chunks, rest = divmod(count, per_chunk)
        batch = message * 16
        for _ in range(chunks // 16):
            self.socket.sendall(batch)
        self.socket.sendall(message * (chunks % 16))
        if rest:
            self.socket.sendall(b"d" + struct.pack("!i", rest * len(line) + 4) + line * rest)
        self.socket.sendall(b"c" + struct.pack("!i", 4))
        self.until_ready()
        return count * len(line)

    def receive(self):
        count = self.socket.recv_into(self.buffer)
        if count == 0:
            raise ServerError("the connection was closed")
        if self.buffer[0:1] == b"E":
            raise ServerError(bytes(self.buffer[5:count]).replace(b"\0", b" ").decode(errors="replace"))
        return count

    def until_ready(self, errors_too=False):
        """Drops what comes until the session can take another text. An error at the start is raised, unless told otherwise."""
        total, end = 0, b""
        while True:
            count = self.receive() if total == 0 and not errors_too else self.socket.recv_into(self.buffer)
            if count == 0:
                raise ServerError("the connection was closed")
            total += count
            end = (end + bytes(self.buffer[max(0, count - 6):count]))[-6:]
            if end[:5] == READY and end[5:] in (b"I", b"T", b"E"):
                return total

    def close(self):
        try:
            self.socket.sendall(b"X" + struct.pack("!i", 4))
        except OSError:
            pass
        self.socket.close()
