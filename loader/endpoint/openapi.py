"""The OpenAPI document of the endpoint."""

from typing import Any

from loader.endpoint.limits import MAX_BATCH_BYTES, MAX_EVENT_BYTES, MAX_EVENTS
from loader.endpoint.tracking_calls import BATCH, CLIENT_METRICS, PATHS
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
    "400": "The body is not valid JSON in UTF-8, not a call of this kind, or exceeds a limit",
    "401": "The write key is missing or invalid",
    "408": "The request was not received in time",
    "415": "The content encoding is not gzip",
    "431": "The headers are too large",
    "429": "The key exceeds its rate limit",
    "500": "Internal error; nothing is stored",
    "503": "The server cannot store events now",
}
_EVENT: Json = {
    "type": "object",
    "description": f"An event of at most {MAX_EVENT_BYTES:,} bytes. An event with a missing field or a field of the "
    "wrong type is accepted, and becomes a rejected event when it is loaded.",
    "properties": {
        "messageId": {"description": "Identifies the event; generated if missing"},
        "event": {"description": "Name of the event, for track calls"},
        "userId": {},
        "anonymousId": {},
        "timestamp": {"description": "Time of the event by the client's clock, ISO 8601"},
        "sentAt": {"description": "Time of sending by the client's clock, ISO 8601"},
        "context": {},
        "integrations": {},
        "properties": {},
        "writeKey": {"type": ["string", "null"], "description": "Alternative to Basic authentication"},
    },
}
_BATCH: Json = {
    "type": "object",
    "description": f"At most {MAX_BATCH_BYTES:,} bytes and {MAX_EVENTS:,} events. Other fields apply to all of them.",
    "required": ["batch"],
    "properties": {
        "batch": {
            "type": "array",
            "maxItems": MAX_EVENTS,
            "items": {},
            "description": f"Events. One that is not an object, has neither `type` nor `event`, or has more than "
            f"{MAX_EVENT_BYTES:,} bytes becomes a rejected event; the others are stored.",
        },
        "sentAt": {},
        "context": {},
        "integrations": {},
        "writeKey": {"type": ["string", "null"], "description": "Alternative to Basic authentication"},
    },
}


_SUCCESS: Json = {
    "type": "object",
    "required": ["success"],
    "properties": {
        "success": {"const": True},
        "rejected": {
            "type": "integer",
            "minimum": 1,
            "description": "Number of events of the batch that are rejected already; absent if there are none",
        },
    },
    "additionalProperties": False,
}


def openapi_document() -> Json:
    """Return the document as a JSON object."""
    paths = {path: {"post": _call(kind, path)} for path, kind in PATHS.items()}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "selligent-loader",
            "version": __version__,
            "description": "Receives events through Segment's tracking API. Status 200 means that they are on disk. "
            "Each path of a call may have a slash at its end, and answers the preflight of browsers (OPTIONS) for the "
            "origins of write keys.",
        },
        "paths": {**paths, **_others()},
        "components": {
            "securitySchemes": {
                "writeKey": {
                    "type": "http",
                    "scheme": "basic",
                    "description": "The write key as user name, with an empty password",
                }
            },
            "schemas": {
                "Event": _EVENT,
                "Batch": _BATCH,
                "Success": _SUCCESS,
                "Refusal": _object(success={"const": False}, error={"type": "string"}),
                "Status": _object(status={"type": "string"}),
            },
        },
    }


def _call(kind: str, path: str) -> Json:
    schema = "Batch" if kind in BATCH else "Event"
    refusals = {
        status: {"description": text, "content": _REASON} | ({"headers": _RETRY} if status in ("429", "503") else {})
        for status, text in _REFUSALS.items()
    }
    return {
        "operationId": path.strip("/").replace("/", "_"),
        "summary": "Several events" if kind in BATCH else f"A {kind} call",
        "security": [{"writeKey": []}, {}],
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": {"$ref": f"#/components/schemas/{schema}"}}},
        },
        "responses": {"200": _answer("The events are on disk", "Success"), **refusals},
    }


def _others() -> Json:
    ready = {
        "200": _answer("The server can store events", "Status"),
        "503": _answer("The server cannot store events", "Status"),
    }
    text = {
        "description": "Metrics in the Prometheus text format",
        "content": {"text/plain": {"schema": {"type": "string"}}},
    }
    own = {"description": "This document", "content": {"application/json": {"schema": {"type": "object"}}}}
    return {
        CLIENT_METRICS: {
            "post": {
                "operationId": "client_metrics",
                "summary": "Figures of clients about themselves; they are not stored",
                "security": [],
                "responses": {"200": _answer("Nothing is stored", "Success")},
            }
        },
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
