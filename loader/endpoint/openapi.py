"""OpenAPI: what the paths of a server take and answer."""

from typing import Any

from loader.endpoint.limits import MAX_BATCH_BYTES, MAX_EVENT_BYTES, MAX_EVENTS
from loader.endpoint.tracking_calls import BATCH, SINGLE
from loader.version import __version__

Json = dict[str, Any]

_REASON = {"application/json": {"schema": {"$ref": "#/components/schemas/Refusal"}}}
_RETRY = {
    "Retry-After": {
        "description": "Seconds after which to try again",
        "required": True,
        "schema": {"type": "integer", "minimum": 1},
    }
}
_REFUSALS: dict[str, str] = {
    "400": "No call of this kind, no JSON in UTF-8, or larger than the limits",
    "401": "The write key is missing or not valid",
    "408": "The request did not come in time",
    "415": "Neither JSON in UTF-8, nor the same in gzip",
    "431": "The headers are too large",
    "429": "The key sends more events than it may",
    "500": "A fault of the server; nothing is stored",
    "503": "There is no room for events now",
}
_EVENT: Json = {
    "type": "object",
    "description": f"An event of at most {MAX_EVENT_BYTES:,} bytes. A field that is missing or of the wrong kind is no "
    "reason to refuse it: it is kept among the rejected events.",
    "properties": {
        "messageId": {"description": "Identifies the event; made where it is missing"},
        "event": {"description": "Name of a track call's event"},
        "userId": {},
        "anonymousId": {},
        "timestamp": {"description": "When it happened, by the sender's clock; ISO 8601"},
        "sentAt": {"description": "When it was sent, by the sender's clock"},
        "context": {},
        "integrations": {},
        "properties": {},
        "writeKey": {"type": ["string", "null"], "description": "Instead of Basic authentication"},
    },
}
_BATCH: Json = {
    "type": "object",
    "description": f"At most {MAX_BATCH_BYTES:,} bytes and {MAX_EVENTS:,} events; its other fields hold for all.",
    "required": ["batch"],
    "properties": {
        "batch": {"type": "array", "maxItems": MAX_EVENTS, "items": {"type": "object"}},
        "sentAt": {},
        "context": {},
        "integrations": {},
        "writeKey": {"type": ["string", "null"], "description": "Instead of Basic authentication"},
    },
}


def openapi_document() -> Json:
    """Return the document."""
    paths = {f"/v1/{kind}": {"post": _call(kind)} for kind in (*SINGLE, *BATCH)}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "selligent-loader",
            "version": __version__,
            "description": "Events by Segment's tracking API. Answered with 200 they are on disk.",
        },
        "paths": {**paths, **_others()},
        "components": {
            "securitySchemes": {
                "writeKey": {"type": "http", "scheme": "basic", "description": "The key, and no password"}
            },
            "schemas": {
                "Event": _EVENT,
                "Batch": _BATCH,
                "Success": _object(success={"const": True}),
                "Refusal": _object(success={"const": False}, error={"type": "string"}),
                "Status": _object(status={"type": "string"}),
            },
        },
    }


def _call(kind: str) -> Json:
    schema = "Batch" if kind in BATCH else "Event"
    refusals = {
        status: {"description": text, "content": _REASON} | ({"headers": _RETRY} if status in ("429", "503") else {})
        for status, text in _REFUSALS.items()
    }
    return {
        "operationId": kind,
        "summary": "Many events" if kind in BATCH else f"A {kind} call",
        "security": [{"writeKey": []}, {}],
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": {"$ref": f"#/components/schemas/{schema}"}}},
        },
        "responses": {"200": _answer("The events are on disk", "Success"), **refusals},
    }


def _others() -> Json:
    ready = {"200": _answer("Events can be taken", "Status"), "503": _answer("Events cannot be taken", "Status")}
    text = {"description": "All figures", "content": {"text/plain": {"schema": {"type": "string"}}}}
    own = {"description": "This", "content": {"application/json": {"schema": {"type": "object"}}}}
    return {
        "/healthz": _get("health", {"200": _answer("The server is alive", "Status")}),
        "/readyz": _get("ready", ready),
        "/metrics": _get("metrics", {"200": text}),
        "/openapi.json": _get("openapi", {"200": own}),
    }


def _get(name: str, responses: Json) -> Json:
    return {"get": {"operationId": name, "security": [], "responses": responses}}


def _answer(text: str, schema: str) -> Json:
    return {
        "description": text,
        "content": {"application/json": {"schema": {"$ref": f"#/components/schemas/{schema}"}}},
    }


def _object(**properties: Json) -> Json:
    return {
        "type": "object",
        "required": list(properties),
        "properties": properties,
        "additionalProperties": False,
    }
