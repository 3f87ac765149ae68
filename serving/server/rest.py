"""TF Serving's REST calls, on Starlette and uvicorn.

GET  /v1/models/genre[/versions/N|/labels/L]            status
GET  /v1/models/genre[/versions/N|/labels/L]/metadata   signatures
POST /v1/models/genre[/versions/N|/labels/L]:predict
"""

import asyncio
import contextlib
import re
import ssl
import urllib.parse
import zlib
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
from serving.server.access_log import CallRecord
from serving.server.batching import Outputs
from serving.server.check import Call, Limits
from serving.server.errors import ServingError, invalid
from serving.server.loading import Signature
from serving.server.service import Service
from serving.server.settings import ServerSettings
from serving.server.versions import LARGEST_VERSION

_MODEL = r"/v1/models/(?P<name>[^/:]+)(?:/versions/(?P<version>[0-9]+)|/labels/(?P<label>[^/:]+))?"
_PREDICT = re.compile(f"{_MODEL}:predict", re.IGNORECASE)
_STATUS = re.compile(f"{_MODEL}(?P<metadata>/metadata)?", re.IGNORECASE)
_JSON = "application/json"
_MOST_CONNECTIONS = 1024
_MOST_HEADER_BYTES = 64 * 1024


class _Predict:
    """A :predict call; see `service.Exchange`.

    Cancels the task that it is made in where the caller hangs up before it is closed.
    """

    def __init__(self, request: Request, spec: Any, max_bytes: int) -> None:
        self._request = request
        self._spec = spec
        self._max_bytes = max_bytes
        self._rows = False
        self._task = asyncio.current_task()
        self._watching: asyncio.Task[None] | None = None

    async def _cancel_when_gone(self) -> None:
        while (await self._request.receive())["type"] != "http.disconnect":
            pass
        if self._task is not None:
            self._task.cancel()

    def close(self) -> None:
        """Ends the watch for a caller who hangs up."""
        if self._watching is not None:
            self._watching.cancel()

    async def receive(self) -> bytes:
        body = bytearray()
        try:
            async for chunk in self._request.stream():
                if len(body) + len(chunk) > self._max_bytes:
                    raise invalid(f"the body is larger than the limit of {self._max_bytes} bytes")
                body += chunk
        except ClientDisconnect:
            raise ServingError(grpc.StatusCode.CANCELLED, "the caller hung up") from None
        self._watching = asyncio.ensure_future(self._cancel_when_gone())
        return bytes(body)

    def parse(self, data: bytes) -> dict[str, Any]:
        encoding = self._request.headers.get("content-encoding", "identity").lower()
        if encoding == "gzip":
            data = _inflated(data, self._max_bytes)
        elif encoding != "identity":
            raise invalid(f"a body is sent as it is or as gzip. Received: {encoding}")
        return decode.parse_json(data)

    def spec(self, request: dict[str, Any]) -> Any:
        self._spec.signature_name = request.get("signature_name", "")
        return self._spec

    def inputs(self, signature: Signature, request: dict[str, Any], limits: Limits) -> Any:
        self._rows = "instances" in request
        return decode.json_inputs(signature, request, limits)

    def outputs(self, request: dict[str, Any]) -> Any:
        return ()

    def encode(self, call: Call, outputs: Outputs) -> bytes:
        return encode.json_answer(outputs, rows=self._rows)


def _inflated(body: bytes, most: int) -> bytes:
    unpacking = zlib.decompressobj(wbits=31)
    try:
        unpacked = unpacking.decompress(body, most)
    except zlib.error as error:
        raise invalid("the body is not gzip") from error
    if unpacking.unconsumed_tail:
        raise invalid(f"the body is larger than the limit of {most} bytes")
    if not unpacking.eof:
        raise invalid("the body is cut off")
    return unpacked


def application(service: Service) -> Starlette:
    """The ASGI application that answers TF Serving's REST calls, and Prometheus."""

    async def answer(request: Request) -> Response:
        peer = f"{request.client.host}:{request.client.port}" if request.client else ""
        # The path as it was sent: names in it may hold `/`, `:` and `?`, escaped.
        path = request.scope["raw_path"].decode("ascii", "backslashreplace")
        pattern = _PREDICT if request.method == "POST" else _STATUS
        match = pattern.fullmatch(path)
        method = "Predict" if request.method == "POST" else "GetModelStatus"
        if match is not None and match.groupdict().get("metadata"):
            method = "GetModelMetadata"
        record = CallRecord("rest", method if match else "Unknown", peer)
        try:
            with service.recorded(record):
                if match is None:
                    raise invalid(f"there is no {request.method} {path}")
                spec = _model_spec(match)
                if method == "Predict":
                    exchange = _Predict(request, spec, service.settings.max_body_bytes)
                    with contextlib.closing(exchange):
                        content = await service.predict(exchange, record)
                else:
                    content = _look_up(service, method, spec, record)
                    record.response_bytes = len(content)
                return Response(content, media_type=_JSON)
        except asyncio.CancelledError:
            return Response(status_code=499)  # nobody reads it
        except ServingError as error:
            # What still comes of a body that was not read is no new request.
            closing = {"connection": "close"} if request.method == "POST" else {}
            body = orjson.dumps({"error": error.text.encode(errors="replace").decode()})
            return Response(body, error.http_status, closing, media_type=_JSON)

    return Starlette(
        routes=[
            Route("/v1/{path:path}", answer, methods=["GET", "POST"]),
            Route("/monitoring/prometheus/metrics", metrics_page(service)),  # TF Serving's path
        ]
    )


def metrics_page(service: Service) -> Any:
    """The endpoint that Prometheus reads."""

    async def page(request: Request) -> Response:
        text = await asyncio.to_thread(prometheus_client.generate_latest, service.metrics.registry)
        return Response(text, media_type=prometheus_client.CONTENT_TYPE_LATEST)

    return page


def _model_spec(match: re.Match[str]) -> Any:
    spec = message("ModelSpec")(name=urllib.parse.unquote(match["name"]))
    if match["version"]:
        if len(match["version"]) > 19 or int(match["version"]) > LARGEST_VERSION:
            raise invalid(f"a version is a number up to {LARGEST_VERSION}")
        spec.version.value = int(match["version"])
    if match["label"]:
        spec.version_label = urllib.parse.unquote(match["label"])
    return spec


def _look_up(service: Service, method: str, spec: Any, record: CallRecord) -> bytes:
    def as_dict(part: Any, **options: bool) -> Any:
        return json_format.MessageToDict(part, including_default_value_fields=True, **options)

    if method == "GetModelStatus":
        request = message("GetModelStatusRequest")(model_spec=spec)
        return orjson.dumps(as_dict(service.model_status(request, record)))
    request = message("GetModelMetadataRequest")(model_spec=spec, metadata_field=["signature_def"])
    response = service.model_metadata(request, record)
    signatures = message("SignatureDefMap")()
    response.metadata["signature_def"].Unpack(signatures)
    return orjson.dumps(
        {
            "model_spec": as_dict(response.model_spec, preserving_proto_field_name=True),
            "metadata": {"signature_def": as_dict(signatures, preserving_proto_field_name=True)},
        }
    )


class RestServer(uvicorn.Server):
    """uvicorn that leaves the process's signals to us."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Captures none."""
        yield


def rest_server(app: Any, settings: ServerSettings) -> RestServer:
    """The server of an ASGI application; it is started by its `serve`."""
    tls = settings.tls
    return RestServer(
        uvicorn.Config(
            app,
            # httptools holds headers and trailers without end, h11 so many bytes of them.
            http="h11",
            h11_max_incomplete_event_size=_MOST_HEADER_BYTES,
            limit_concurrency=_MOST_CONNECTIONS,
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=bool(settings.trusted_proxies),
            forwarded_allow_ips=list(settings.trusted_proxies),
            timeout_graceful_shutdown=int(settings.grace_seconds),
            ssl_certfile=tls.certificate if tls else None,
            ssl_keyfile=tls.key if tls else None,
            ssl_ca_certs=str(tls.client_ca) if tls and tls.client_ca else None,
            ssl_cert_reqs=ssl.CERT_REQUIRED if tls and tls.client_ca else ssl.CERT_NONE,
        )
    )
