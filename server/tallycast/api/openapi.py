"""The HTTP API as an OpenAPI 3.1 document.

Owns the description of each path; the schemas are made from the structs that the endpoints encode and decode.
Does not depend on the endpoints: a test compares it with the routes, and schemathesis with the answers.
"""

from functools import cache
from typing import Any

from msgspec.json import encode, schema, schema_components

from tallycast import __version__
from tallycast.api import schemas
from tallycast.contract.codec import EVENTS
from tallycast.contract.messages import Counts
from tallycast.domain.base_path import ROOT
from tallycast.domain.limits import Limits
from tallycast.services.moderation import ITEM_ACTIONS
from tallycast.transport.http.problems import MEDIA_TYPE, Problem

Schema = dict[str, Any]

_COMPONENTS = "#/components"
_BODIES = (
    schemas.Visitor,
    schemas.Items,
    schemas.SetReaction,
    schemas.Ack,
    schemas.Erased,
    schemas.ManagedItem,
    schemas.EraseVisitor,
    schemas.Health,
    Problem,
)
_ITEM = schema(schemas.ItemId)
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
_SECURITY_SCHEMES: Schema = {
    "token": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"},
    "adminKey": {"type": "http", "scheme": "bearer", "description": "An admin key of the site."},
}
_TOKEN: list[Schema] = [{"token": []}]
_ADMIN_KEY: list[Schema] = [{"adminKey": []}]
_OPTIONAL_TOKEN: list[Schema] = [{}, *_TOKEN]
_RETRY_AFTER: Schema = {"Retry-After": {"schema": {"type": "integer"}, "description": "Seconds."}}
_PROBLEMS = {
    "400": "Invalid request: `bad_message`, `bad_item`, `bad_reaction` or `too_many_items`.",
    "401": "No token, or an invalid one: `unauthorized`.",
    "403": "The Origin is not one of the site's, or is missing from a cross-origin request: `forbidden`.",
    "404": "Unknown site: `unknown_site`. On an admin path also a site without admin keys: `not_found`.",
    "413": "The body is too large: `bad_message`.",
    "429": "Rate limit exceeded: `rate_limited`.",
    "503": "Not confirmed in time: `unavailable`. It may have taken effect; it will not take effect later.",
}
_ITEM_ACTIONS = {
    "reset": "Clear every reaction on an item.",
    "remove": "Delete an item and all that is stored of it.",
    "freeze": "Refuse further reactions on an item with `forbidden`. Its counts stay.",
    "unfreeze": "Accept reactions on an item again.",
}
_STREAM_EXAMPLE = EVENTS.frame(Counts("posts/42", 1767225600000000, {"like": 3, "dislike": 1})).decode()
_EXPORT_EXAMPLE = encode(schemas.HeldReaction("posts/42", 1767225600000000, "like")).decode() + "\n"


def _json(body: type) -> Schema:
    return {"application/json": {"schema": {"$ref": f"{_COMPONENTS}/schemas/{body.__name__}"}}}


def _body(body: type) -> Schema:
    return {"required": True, "content": _json(body)}


def _answer(description: str, body: type, status: str = "200") -> Schema:
    return {status: {"description": description, "content": _json(body)}}


def _text(description: str, media_type: str, example: str) -> Schema:
    content = {media_type: {"schema": {"type": "string"}, "example": example}}
    return {"200": {"description": description, "content": content}}


def _problem(status: str) -> Schema:
    content = {MEDIA_TYPE: {"schema": {"$ref": f"{_COMPONENTS}/schemas/Problem"}}}
    headers = {"headers": _RETRY_AFTER} if status in ("429", "503") else {}
    return {"description": _PROBLEMS[status], "content": content, **headers}


def _operation(
    name: str, summary: str, answers: Schema, problems: str, parameters: tuple[str, ...] = (), **more: Any
) -> Schema:
    """An operation on a site, with its ``answers`` and the statuses of its ``problems``."""
    return {
        "operationId": name,
        "summary": summary,
        "parameters": [{"$ref": f"{_COMPONENTS}/parameters/{p}"} for p in ("Site", *parameters)],
        "responses": answers | {status: _problem(status) for status in problems.split()},
        **more,
    }


def _admin(
    action: str, summary: str, answer: type, problems: str, parameters: tuple[str, ...] = (), **more: Any
) -> Schema:
    """An operation that needs an admin key; sites without one do not have it."""
    answers = _answer("Done, and recorded in the audit trail.", answer)
    return _operation(f"admin_{action}", summary, answers, problems, parameters, security=_ADMIN_KEY, **more)


_PATHS: Schema = {
    "/v1/visitors": {
        "post": _operation(
            "createVisitor",
            "Create an anonymous visitor; with a token, valid or lately expired, renew that one.",
            _answer("The visitor.", schemas.Visitor, "201"),
            "401 403 404 429 503",
            security=_OPTIONAL_TOKEN,
        )
    },
    "/v1/items": {
        "get": _operation(
            "readItems",
            "Counts of items, in the order of the request; with a token, the bearer's reactions too.",
            {
                "200": {
                    "description": "The items.",
                    "headers": {"ETag": {"schema": {"type": "string"}}},
                    "content": _json(schemas.Items),
                },
                "304": {"description": "Nothing changed since the ETag in If-None-Match."},
            },
            "400 401 403 404 429 503",
            ("Items",),
            security=_OPTIONAL_TOKEN,
        )
    },
    "/v1/reaction": {
        "put": _operation(
            "setReaction",
            "Set the bearer's reaction on an item. Idempotent.",
            _answer("Confirmed.", schemas.Ack),
            "400 401 403 404 413 429 503",
            ("Item",),
            security=_TOKEN,
            requestBody=_body(schemas.SetReaction),
        ),
        "delete": _operation(
            "clearReaction",
            "Clear the bearer's reaction on an item. Idempotent.",
            _answer("Confirmed.", schemas.Ack),
            "400 401 403 404 429 503",
            ("Item",),
            security=_TOKEN,
        ),
    },
    "/v1/me": {
        "get": _operation(
            "exportReactions",
            "Export all of the bearer's reactions, one JSON object a line.",
            _text(
                "The oldest first. An item that changes during the export may be listed twice: the later "
                "line holds. A response that breaks off is incomplete.",
                "application/x-ndjson",
                _EXPORT_EXAMPLE,
            ),
            "401 403 404 429 503",
            security=_TOKEN,
        ),
        "delete": _operation(
            "eraseReactions",
            "Erase all of the bearer's reactions. After a 503 a part is erased; repeat it.",
            _answer("Erased, except reactions that were set meanwhile.", schemas.Erased),
            "401 403 404 429 503",
            security=_TOKEN,
        ),
    },
    "/v1/stream": {
        "get": _operation(
            "streamItems",
            "Counts of items, live. The stream starts with the present counts of every item, and is endless.",
            _text(
                "Server-sent events `counts`, `beat` (after 25 s without another) and `bye` (the last one: "
                "reconnect after `retry_after` seconds), each with a JSON object as its data. Last-Event-ID "
                "is ignored.",
                "text/event-stream",
                _STREAM_EXAMPLE,
            ),
            "400 403 404 429 503",
            ("Items",),
        )
    },
    **{
        f"/v1/admin/{action}": {
            "post": _admin(
                action, _ITEM_ACTIONS[action], schemas.ManagedItem, "400 401 403 404 429 503", ("Item",)
            )
        }
        for action in ITEM_ACTIONS
    },
    "/v1/admin/erase": {
        "post": _admin(
            "erase",
            "Erase all reactions of a visitor. After a 503 a part is erased; repeat it.",
            schemas.Erased,
            "400 401 403 404 413 429 503",
            requestBody=_body(schemas.EraseVisitor),
        )
    },
    "/livez": {
        "get": {
            "operationId": "isAlive",
            "summary": "Liveness: the process answers.",
            "responses": _answer("Alive.", schemas.Health),
        }
    },
    "/readyz": {
        "get": {
            "operationId": "isReady",
            "summary": "Readiness: reactions can be committed, and updates arrive.",
            "responses": {
                **_answer("Ready.", schemas.Health),
                "503": {
                    "description": "Not ready.",
                    "headers": _RETRY_AFTER,
                    "content": _json(schemas.Health),
                },
            },
        }
    },
}


@cache
def document(base_path: str = ROOT) -> Schema:
    """The whole document, of a server below ``base_path``."""
    _, components = schema_components(_BODIES, ref_template=f"{_COMPONENTS}/schemas/{{name}}")
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
        "paths": _PATHS,
        "components": {
            "parameters": _PARAMETERS,
            "securitySchemes": _SECURITY_SCHEMES,
            "schemas": components,
        },
    }
