"""moto's WSGI application, called in process: no second hop, no second server.

Not thread-safe by itself: the caller holds the account's lock.
"""

import io
import os
from urllib.parse import urlsplit

# Read by moto when it is imported: only the lab's own images, and no look-ups of the network.
os.environ.setdefault("MOTO_AMIS_PATH", os.path.join(os.path.dirname(__file__), "no-images.json"))
os.environ.setdefault("MOTO_EC2_LOAD_DEFAULT_AMIS", "false")
os.environ.setdefault("AWS_EC2_METADATA_DISABLED", "true")
os.environ.setdefault("INITIAL_NO_AUTH_ACTION_COUNT", str(2**31))

from moto.backends import get_backend  # noqa: E402
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app  # noqa: E402

ACCOUNT = "123456789012"
REGION = "us-east-1"


def backend(service, region=REGION):
    return get_backend(service)[ACCOUNT][region]


class Moto:
    def __init__(self):
        self._app = DomainDispatcherApplication(create_backend_app)

    def call(self, method, target, headers, body, host):
        """(status, headers, body) of one HTTP request."""
        parts = urlsplit(target)
        environ = {
            "REQUEST_METHOD": method,
            "PATH_INFO": parts.path,
            "RAW_URI": target,
            "REQUEST_URI": target,
            "QUERY_STRING": parts.query,
            "SERVER_NAME": "127.0.0.1",
            "SERVER_PORT": host.rpartition(":")[2],
            "SERVER_PROTOCOL": "HTTP/1.1",
            "REMOTE_ADDR": "127.0.0.1",
            "SCRIPT_NAME": "",
            "CONTENT_TYPE": headers.get("Content-Type", ""),
            "CONTENT_LENGTH": str(len(body)),
            "wsgi.version": (1, 0),
            "wsgi.url_scheme": "http",
            "wsgi.input": io.BytesIO(body),
            "wsgi.errors": io.StringIO(),
            "wsgi.multithread": False,
            "wsgi.multiprocess": False,
            "wsgi.run_once": False,
        }
        for name, value in headers.items():
            environ.setdefault("HTTP_" + name.upper().replace("-", "_"), value)
        answer = {}

        def start(status, headers, exc_info=None):
            answer.update(status=int(status.split()[0]), headers=headers)

        chunks = self._app(environ, start)
        try:
            content = b"".join(chunks)
        finally:
            if hasattr(chunks, "close"):
                chunks.close()
        return answer["status"], answer["headers"], content
