"""Transports: WebSocket, event stream, HTTP, and what they share.

A transport is a folder and a registration, see ``registry``.
"""
