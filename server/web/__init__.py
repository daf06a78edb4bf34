"""Bytes in, bytes out: sockets, the HTTP API, pages. The only place that touches uvicorn and starlette."""
