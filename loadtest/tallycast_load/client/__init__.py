"""The public contract as a client sees it: URLs, HTTP requests, messages and frames of the WebSocket."""
