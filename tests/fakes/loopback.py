"""The base of the APIs that tests serve on the loopback."""

import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class JsonHandler(BaseHTTPRequestHandler):
    """Answers with JSON; `server.api` is what the test sees of the API, with its `trouble`."""

    def answer(self, status, content):
        body = json.dumps(content).encode()
        self.send_response(self.server.api.trouble or status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@contextmanager
def serving(api, handler):
    """Serve an API, and set its `url`."""
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.api = api
        api.url = f"http://127.0.0.1:{server.server_port}"
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield api
        server.shutdown()
