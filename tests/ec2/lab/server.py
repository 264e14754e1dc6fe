"""A small threaded HTTP/1.1 server on one loopback address, for the front, the control API and the metadata."""

import http.server
import json
import socket
import socketserver
import sys
import threading
import traceback


class Hangup(Exception):
    """Close the connection without an answer."""


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 300  # an idle connection of a client that went away ends some time

    def setup(self):
        super().setup()
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def _serve(self):
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length) if length else self._chunks()
        try:
            status, headers, content = self.server.answer(self, self.command, self.path, self.headers, body)
        except Hangup:
            self.close_connection = True
            return
        except Exception as error:  # noqa: BLE001 a flaw of the lab itself: said to both sides
            traceback.print_exc()
            status, headers, content = 500, [], json.dumps({"error": f"flaw of the lab: {error!r}"}).encode()
        self.send_response_only(status)
        names = {name.lower() for name, _ in headers}
        for name, value in headers:
            if name.lower() not in ("content-length", "connection", "transfer-encoding"):
                self.send_header(name, value)
        if "content-type" not in names:
            self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_HEAD = _serve

    def _chunks(self):
        if "chunked" not in (self.headers.get("Transfer-Encoding") or "").lower():
            return b""
        parts = []
        while size := int(self.rfile.readline().split(b";")[0], 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def log_message(self, *_):
        """The journal is the log."""


class Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
    daemon_threads = True
    request_queue_size = 256
    allow_reuse_address = True

    def __init__(self, address, answer):
        """`answer(handler, method, target, headers, body)` gives (status, headers, content)."""
        self.answer = answer
        super().__init__(address, Handler)

    def server_bind(self):
        socketserver.TCPServer.server_bind(self)  # without the reverse look-up of HTTPServer
        self.server_name, self.server_port = self.server_address[:2]

    def handle_error(self, request, client_address):
        """A client that closes early is its own business; anything else shows in the thread's traceback."""
        if not isinstance(sys.exc_info()[1], (ConnectionError, TimeoutError)):
            super().handle_error(request, client_address)

    @property
    def url(self):
        return f"http://{self.server_name}:{self.server_port}"

    def start(self, name):
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 3600}, name=name, daemon=True).start()


def client_has_left(connection):
    """Whether the client closed: readable with nothing to read."""
    try:
        return connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) == b""
    except BlockingIOError:
        return False
    except OSError:
        return True
