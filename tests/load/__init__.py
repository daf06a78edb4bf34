"""The harness, held against a server that misbehaves on purpose, and against the real one."""
