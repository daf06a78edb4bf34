"""A publisher's web server on loopback, which is every browser's proxy, too: so its pages may have any host.

`http://127.0.0.1:PORT/…` is a secure context, `http://anything.test/…` is not. Other names than those that a
test has put a page on are answered 404: nothing leaves the machine.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from urllib.parse import urlsplit

# Keeps what a page says: `console.log("a", 1)` as "log: a 1", errors and refusals of its policy too.
# Frames hand it up.
RECORDER = """
window.recorded = [];
const record = (text) => {
  recorded.push(text);
  if (top !== window) top.postMessage({ recorded: text }, '*');
};
for (const level of ['log', 'info', 'warn', 'error']) {
  const native = console[level];
  console[level] = (...words) => { record(level + ': ' + words.map(String).join(' ')); native(...words); };
}
addEventListener('message', ({ data }) => { if (data?.recorded) record(data.recorded); });
addEventListener('error', ({ message }) => record('uncaught: ' + message));
addEventListener('unhandledrejection', ({ reason }) => record('uncaught: ' + reason));
addEventListener('securitypolicyviolation', ({ violatedDirective, blockedURI }) =>
  record('refused: ' + violatedDirective + ' ' + blockedURI));
"""

_numbers = itertools.count(1)


class Publisher:
    def __init__(self) -> None:
        self._pages: dict[tuple[str, str], tuple[str, Mapping[str, str]]] = {}
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self._thread = Thread(target=self._server.serve_forever)
        self._thread.start()

    @property
    def address(self) -> str:
        """Host and port."""
        return f"127.0.0.1:{self._server.server_port}"

    def put(self, text: str, path: str = "", host: str = "", headers: Mapping[str, str] | None = None) -> str:
        """Serve a document, and return its URL: by default a new one, on loopback."""
        host = host or self.address
        path = path or f"/page/{next(_numbers)}"
        html = {"Content-Type": "text/html; charset=utf-8"}
        self._pages[host, path] = (text, {**html, **(headers or {})})
        return f"http://{host}{path}"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        pages = self._pages

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                path = urlsplit(self.path).path
                found = pages.get((self.headers.get("Host", ""), path))
                if path == "/recorder.js":
                    found = (RECORDER, {"Content-Type": "text/javascript"})
                text, headers = found or ("", {})
                self.send_response(200 if found else 404)
                for name, value in {**headers, "Content-Length": str(len(text.encode()))}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(text.encode())

            def log_message(self, *_: object) -> None:
                pass

        return Handler
