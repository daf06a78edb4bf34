"""HTTP on the wire: uvicorn's protocol on httptools, and where ours differs from it.

Owns the limits and errors below the application. Must not know any endpoint.
"""

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from server.web.problems import problem


class Http(HttpToolsProtocol):
    """One HTTP connection."""

    def on_headers_complete(self) -> None:
        """The request's head is here.

        httptools parses no URL beyond 64 KiB, but 100 ids of 256 bytes, percent-encoded, are 76 KiB of query.
        The query needs no parsing here, so it goes round httptools.
        """
        url = self.url
        self.url, _, query = url.partition(b"?")
        super().on_headers_complete()
        self.scope["query_string"] = query
        self.url = url

    def send_400_response(self, msg: str) -> None:
        """Not HTTP: answered in the form of every other error."""
        answer = problem(400, "bad_message", msg, {"Connection": "close"})
        head = [b"HTTP/1.1 400 Bad Request\r\n"]
        head += [b"%s: %s\r\n" % header for header in answer.raw_headers]
        self.transport.write(b"".join([*head, b"\r\n", bytes(answer.body)]))
        self.transport.close()
