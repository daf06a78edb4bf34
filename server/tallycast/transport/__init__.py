"""Transports: WebSocket, event stream, HTTP; timers and writes that they share."""
