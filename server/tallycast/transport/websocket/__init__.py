"""WebSocket connections (RFC 6455), from the upgrade request on."""
