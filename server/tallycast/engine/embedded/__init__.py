"""The private Valkey server that runs beside this server when no ``REDIS_URL`` is given."""
