"""The HTTP API as an OpenAPI 3.1 document, written down by hand beside the endpoints it describes.

A test compares it with the routes, and schemathesis with the answers.
"""

from functools import cache
from typing import Any

from tallycast import __version__
from tallycast.contract.items import MAX_BYTES
from tallycast.contract.messages import MAX_SAFE_INTEGER
from tallycast.domain.base_path import ROOT
from tallycast.domain.limits import Limits
from tallycast.services.moderation import ITEM_DEEDS

Schema = dict[str, Any]

_COUNTS: Schema = {
    "type": "object",
    "description": "Every configured kind, always.",
    "additionalProperties": {"type": "integer", "minimum": 0},
    "examples": [{"like": 3, "dislike": 1}],
}
_VERSION: Schema = {
    "type": "integer",
    "minimum": 0,
    "maximum": MAX_SAFE_INTEGER,
    "description": "Commit time of the item's last change, µs since 1970; 0 for an item nobody has touched.",
}
_REACTION: Schema = {"type": ["string", "null"], "description": "A kind of the site, or null for none."}
_ITEM: Schema = {
    "type": "string",
    "minLength": 1,
    "maxLength": MAX_BYTES,
    "pattern": r"^[^\u0000-\u001f\u007f-\u009f]+$",
    "description": f"1 to {MAX_BYTES} bytes of UTF-8 without control characters.",
    "examples": ["posts/42"],
}
_PARAMETERS: Schema = {
    "Site": {
        "name": "site",
        "in": "query",
        "description": "The publisher's site.",
        "schema": {"type": "string", "default": "default"},
        "example": "default",
    },
    "Item": {"name": "item", "in": "query", "required": True, "schema": _ITEM},
    "Items": {
        "name": "item",
        "in": "query",
        "required": True,
        "description": "Repeat it for several items.",
        "style": "form",
        "explode": True,
        "schema": {"type": "array", "minItems": 1, "maxItems": Limits().items_a_message, "items": _ITEM},
    },
}
_VISITOR: Schema = {
    "type": "string",
    "description": "As tokens name visitors: `u:` and your user's id (1 to 128 bytes), or `a:…`.",
    "pattern": "^(u:.{1,128}|a:[A-Za-z0-9_-]{22})$",
    "examples": ["u:42"],
}
_ITEM_DEEDS = {
    "reset": "Take everybody's reaction on an item back.",
    "remove": "Forget an item, as if nobody had ever reacted to it.",
    "freeze": "Take no more reactions on an item: they are answered `forbidden`. What is counted stays.",
    "unfreeze": "Take reactions on an item again.",
}
_STREAM = (
    "event: counts\n"
    'data: {"type":"counts","item":"posts/42","version":1767225600000000,"counts":{"like":3,"dislike":1}}\n\n'
)
_HELD = '{"item":"posts/42","version":1767225600000000,"reaction":"like"}\n'
_PROBLEMS = {
    "400": "Not a valid request: `bad_message`, `bad_item`, `bad_reaction` or `too_many_items`.",
    "401": "No token, or one that does not hold: `unauthorized`.",
    "403": "The Origin is not one of the site's, or a page of another origin asks without one: `forbidden`.",
    "404": "No such site: `unknown_site`. With an admin path also a site without admin keys: `not_found`.",
    "413": "The body is too large: `bad_message`.",
    "429": "Too much, too fast: `rate_limited`.",
    "503": "Not confirmed in time: `unavailable`. It may have taken effect; it will not take effect later.",
}


def _object(**properties: Schema) -> Schema:
    return {"type": "object", "properties": properties, "required": list(properties)}


def _json(schema: Schema) -> Schema:
    return {"application/json": {"schema": schema}}


def _problem(status: str) -> Schema:
    answer: Schema = {
        "description": _PROBLEMS[status],
        "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}},
    }
    if status in ("429", "503"):
        answer["headers"] = {"Retry-After": {"schema": {"type": "integer"}, "description": "Seconds."}}
    return answer


def _operation(
    name: str, summary: str, answers: Schema, problems: str, parameters: tuple[str, ...] = (), **more: Any
) -> Schema:
    return {
        "operationId": name,
        "summary": summary,
        "parameters": [{"$ref": f"#/components/parameters/{p}"} for p in ("Site", *parameters)],
        "responses": answers | {status: _problem(status) for status in problems.split()},
        **more,
    }


def _admin(
    what: str, summary: str, answer: Schema, problems: str, parameters: tuple[str, ...] = (), **more: Any
) -> Schema:
    """An operation that needs an admin key, and is not there on a site without one."""
    done = {"200": {"description": "Done, and in the audit trail.", "content": _json(answer)}}
    return _operation(
        f"admin_{what}", summary, done, problems, parameters, security=[{"adminKey": []}], **more
    )


def _to_item(what: str) -> Schema:
    item = {"$ref": "#/components/schemas/ManagedItem"}
    return _admin(what, _ITEM_DEEDS[what], item, "400 401 403 404 429 503", ("Item",))


def _paths() -> Schema:
    acked = {"200": {"description": "Confirmed.", "content": _json({"$ref": "#/components/schemas/Ack"})}}
    bearer: list[Schema] = [{"token": []}]
    either: list[Schema] = [{}, *bearer]
    healthy: Schema = {"200": {"description": "Yes.", "content": _json(_object(status={"type": "string"}))}}
    return {
        "/v1/visitors": {
            "post": _operation(
                "createVisitor",
                "A new anonymous visitor; with a token, valid or lately expired, the same one renewed.",
                {
                    "201": {
                        "description": "The visitor.",
                        "content": _json({"$ref": "#/components/schemas/Visitor"}),
                    }
                },
                "401 403 404 429 503",
                security=either,
            )
        },
        "/v1/items": {
            "get": _operation(
                "readItems",
                "Counts of items, in the order asked; with a token, the bearer's reactions too.",
                {
                    "200": {
                        "description": "The items.",
                        "headers": {"ETag": {"schema": {"type": "string"}}},
                        "content": _json(
                            _object(items={"type": "array", "items": {"$ref": "#/components/schemas/Item"}})
                        ),
                    },
                    "304": {"description": "Nothing changed since the ETag in If-None-Match."},
                },
                "400 401 403 404 429 503",
                ("Items",),
                security=either,
            )
        },
        "/v1/reaction": {
            "put": _operation(
                "setReaction",
                "Set the bearer's reaction on an item. Repeating it is harmless.",
                acked,
                "400 401 403 404 413 429 503",
                ("Item",),
                security=bearer,
                requestBody={"required": True, "content": _json(_object(reaction=_REACTION))},
            ),
            "delete": _operation(
                "clearReaction",
                "Clear the bearer's reaction on an item. Repeating it is harmless.",
                acked,
                "400 401 403 404 429 503",
                ("Item",),
                security=bearer,
            ),
        },
        "/v1/me": {
            "get": _operation(
                "exportReactions",
                "All of the bearer's reactions, each as a line of JSON.",
                {
                    "200": {
                        "description": "The oldest first. Who reacts meanwhile may find an item "
                        "twice: the later line holds. An answer that breaks off is not whole.",
                        "content": {"application/x-ndjson": {"schema": {"type": "string"}, "example": _HELD}},
                    }
                },
                "401 403 404 429 503",
                security=bearer,
            ),
            "delete": _operation(
                "eraseReactions",
                "Take back all of the bearer's reactions. After a 503 a part is done; repeat it.",
                {
                    "200": {
                        "description": "None is left but what was made meanwhile.",
                        "content": _json(_object(erased={"type": "integer", "minimum": 0})),
                    }
                },
                "401 403 404 429 503",
                security=bearer,
            ),
        },
        "/v1/stream": {
            "get": _operation(
                "streamItems",
                "Counts of items, live. The stream starts with every item as it is now, and does not end.",
                {
                    "200": {
                        "description": "Server-sent events `counts`, `beat` (after 25 s without another) and "
                        "`bye` (the last one: come back after `retry_after` seconds), each with a JSON "
                        "object as its data. Last-Event-ID is ignored.",
                        "content": {"text/event-stream": {"schema": {"type": "string"}, "example": _STREAM}},
                    }
                },
                "400 403 404 429 503",
                ("Items",),
            )
        },
        **{f"/v1/admin/{what}": {"post": _to_item(what)} for what in ITEM_DEEDS},
        "/v1/admin/erase": {
            "post": _admin(
                "erase",
                "Take back all that a visitor holds. After a 503 a part is done; repeat it.",
                _object(erased={"type": "integer", "minimum": 0}),
                "400 401 403 404 413 429 503",
                requestBody={"required": True, "content": _json(_object(visitor=_VISITOR))},
            )
        },
        "/livez": {
            "get": {
                "operationId": "isAlive",
                "summary": "Does the process answer?",
                "responses": healthy,
            }
        },
        "/readyz": {
            "get": {
                "operationId": "isReady",
                "summary": "Can reactions be taken and followed?",
                "responses": {
                    **healthy,
                    "503": {
                        "description": "No.",
                        "headers": {"Retry-After": {"schema": {"type": "integer"}}},
                        "content": _json(_object(status={"type": "string"})),
                    },
                },
            }
        },
    }


@cache
def document(base_path: str = ROOT) -> Schema:
    """The whole document, of a server below ``base_path``."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Tallycast",
            "version": __version__,
            "summary": "Live reaction counts.",
            "description": "Reactions and updates travel fastest over `GET /ws` (WebSocket), which OpenAPI "
            "cannot describe.",
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [{"url": base_path.rstrip("/") or ROOT}],
        "paths": _paths(),
        "components": {
            "parameters": _PARAMETERS,
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"},
                "adminKey": {"type": "http", "scheme": "bearer", "description": "An admin key of the site."},
            },
            "schemas": {
                "Visitor": _object(
                    visitor={"type": "string", "description": "`a:…`"},
                    token={"type": "string"},
                    expires={"type": "integer", "description": "Seconds since 1970."},
                ),
                "Item": {
                    "type": "object",
                    "properties": {
                        "item": _ITEM,
                        "version": _VERSION,
                        "counts": _COUNTS,
                        "reaction": _REACTION,
                    },
                    "required": ["item", "version", "counts"],
                },
                "ManagedItem": _object(
                    item=_ITEM, version=_VERSION, counts=_COUNTS, frozen={"type": "boolean"}
                ),
                "Ack": _object(item=_ITEM, reaction=_REACTION, version=_VERSION, counts=_COUNTS),
                "Problem": {
                    "type": "object",
                    "properties": {
                        "type": {"type": "string"},
                        "title": {"type": "string"},
                        "status": {"type": "integer"},
                        "code": {"type": "string"},
                        "detail": {"type": "string"},
                        "item": {"type": "string"},
                    },
                    "required": ["type", "title", "status", "code", "detail"],
                },
            },
        },
    }
