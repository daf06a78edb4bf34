"""The HTTP endpoints: public API, administration, pages, OpenAPI.

Does not depend on the engine: endpoints call services.
"""
