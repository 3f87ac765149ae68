"""TF Serving's REST calls, on Starlette and uvicorn.

GET  /v1/models/genre[/versions/N|/labels/L]            status
GET  /v1/models/genre[/versions/N|/labels/L]/metadata   signatures, release
POST /v1/models/genre[/versions/N|/labels/L]:predict
"""

import asyncio
import contextlib
import functools
import re
import ssl
import urllib.parse
from collections.abc import Iterator
from typing import Any

import grpc
import orjson
import prometheus_client
import uvicorn
from google.protobuf import json_format
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from serving.protocol import message
from serving.server import decode, encode
from serving.server.errors import ServingError, invalid
from serving.server.metrics import CallRecord
from serving.server.service import Service
from serving.server.settings import ServerSettings
from serving.server.versions import LARGEST_VERSION

_MODEL = r"/v1/models/(?P<name>[^/:]+)(?:/versions/(?P<version>[0-9]+)|/labels/(?P<label>[^/:]+))?"
_PATHS = {
    "Predict": ("POST", re.compile(f"{_MODEL}:predict", re.IGNORECASE)),
    "GetModelStatus": ("GET", re.compile(_MODEL, re.IGNORECASE)),
    "GetModelMetadata": ("GET", re.compile(f"{_MODEL}/metadata", re.IGNORECASE)),
}
_JSON = "application/json"
_MOST_CONNECTIONS = 1024
_MOST_HEADER_BYTES = 64 * 1024


def application(service: Service) -> Starlette:
    """The ASGI application that answers TF Serving's REST calls, and Prometheus."""

    async def answer(request: Request) -> Response:
        # The path as it was sent: names in it may hold `/`, `:` and `?`, escaped.
        path = request.scope["raw_path"].decode("ascii", "backslashreplace")
        method, match = _called(request.method, path)
        record = CallRecord("rest", method)
        try:
            with service.recorded(record):
                if match is None:
                    raise invalid(f"there is no {request.method} {path}")
                spec = _model_spec(match)
                if method == "Predict":
                    content = await _predict(service, request, spec, record)
                else:
                    content = _look_up(service, method, spec, record)
                return Response(content, media_type=_JSON)
        except asyncio.CancelledError:
            return Response(status_code=499)  # nobody reads it
        except ServingError as error:
            # What still comes of a body that was not read is no new request.
            closing = {"connection": "close"} if request.method == "POST" else {}
            body = orjson.dumps({"error": error.text.encode(errors="replace").decode()})
            return Response(body, error.http_status, closing, media_type=_JSON)

    async def metrics(request: Request) -> Response:
        text = await asyncio.to_thread(prometheus_client.generate_latest, service.metrics.registry)
        return Response(text, media_type=prometheus_client.CONTENT_TYPE_LATEST)

    return Starlette(
        routes=[
            Route("/v1/{path:path}", answer, methods=["GET", "POST"]),
            Route("/monitoring/prometheus/metrics", metrics),  # TF Serving's path
        ]
    )


def _called(verb: str, path: str) -> tuple[str, re.Match[str] | None]:
    for method, (its_verb, pattern) in _PATHS.items():
        match = pattern.fullmatch(path)
        if match is not None and verb == its_verb:
            return method, match
    return "Unknown", None


def _model_spec(match: re.Match[str]) -> Any:
    spec = message("ModelSpec")(name=urllib.parse.unquote(match["name"]))
    if match["version"]:
        if len(match["version"]) > 19 or int(match["version"]) > LARGEST_VERSION:
            raise invalid(f"a version is a number up to {LARGEST_VERSION}")
        spec.version.value = int(match["version"])
    if match["label"]:
        spec.version_label = urllib.parse.unquote(match["label"])
    return spec


async def _predict(service: Service, request: Request, spec: Any, record: CallRecord) -> bytes:
    """Answers :predict. A caller who hangs up cancels it."""
    answering = asyncio.current_task()
    watching: list[asyncio.Task[None]] = []

    async def cancel_when_gone() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass
        if answering is not None:
            answering.cancel()

    async def receive() -> bytes:
        body = await _body(request, service.settings.max_body_bytes)
        watching.append(asyncio.ensure_future(cancel_when_gone()))
        return body

    try:
        return await service.predict(
            record, receive, functools.partial(decode.json_call, spec), encode.json_answer
        )
    finally:
        for task in watching:
            task.cancel()


async def _body(request: Request, max_bytes: int) -> bytes:
    body = bytearray()
    try:
        async for chunk in request.stream():
            if len(body) + len(chunk) > max_bytes:
                raise invalid(f"the body is larger than the limit of {max_bytes} bytes")
            body += chunk
    except ClientDisconnect:
        raise ServingError(grpc.StatusCode.CANCELLED, "the caller hung up") from None
    return bytes(body)


def _look_up(service: Service, method: str, spec: Any, record: CallRecord) -> bytes:
    def as_dict(part: Any, **options: bool) -> Any:
        return json_format.MessageToDict(part, including_default_value_fields=True, **options)

    if method == "GetModelStatus":
        request = message("GetModelStatusRequest")(model_spec=spec)
        return orjson.dumps(as_dict(service.model_status(request, record)))
    fields = ["signature_def", "release"]
    request = message("GetModelMetadataRequest")(model_spec=spec, metadata_field=fields)
    response = service.model_metadata(request, record)
    signatures, release = message("SignatureDefMap")(), message("google.protobuf.StringValue")()
    response.metadata["signature_def"].Unpack(signatures)
    response.metadata["release"].Unpack(release)
    metadata = {"signature_def": as_dict(signatures, preserving_proto_field_name=True)}
    if facts := orjson.loads(release.value):
        metadata["release"] = facts
    model_spec = as_dict(response.model_spec, preserving_proto_field_name=True)
    return orjson.dumps({"model_spec": model_spec, "metadata": metadata})


class RestServer(uvicorn.Server):
    """uvicorn that leaves the process's signals to us."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Captures none."""
        yield


def rest_server(service: Service, settings: ServerSettings) -> RestServer:
    """The REST side of a server; it is started by its `serve`."""
    return RestServer(
        uvicorn.Config(
            application(service),
            # httptools holds headers and trailers without end, h11 so many bytes of them.
            http="h11",
            h11_max_incomplete_event_size=_MOST_HEADER_BYTES,
            limit_concurrency=_MOST_CONNECTIONS,
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_graceful_shutdown=int(settings.grace_seconds),
            ssl_certfile=settings.tls_certificate,
            ssl_keyfile=settings.tls_key,
            ssl_ca_certs=str(settings.tls_client_ca) if settings.tls_client_ca else None,
            ssl_cert_reqs=ssl.CERT_REQUIRED if settings.tls_client_ca else ssl.CERT_NONE,
        )
    )
