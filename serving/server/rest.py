"""TF Serving's REST calls, through the same queue as gRPC's.

GET  /v1/models/genre[/versions/N|/labels/L]            status
GET  /v1/models/genre[/versions/N|/labels/L]/metadata   signatures
POST /v1/models/genre[/versions/N|/labels/L]:predict    also :classify, :regress
"""

import asyncio
import json
import re
import urllib.parse
from collections.abc import Awaitable, Mapping
from typing import Any

import prometheus_client
from google.protobuf import json_format
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from serving.protocol import message
from serving.server import rest_json
from serving.server.access_log import CallRecord
from serving.server.core import Core
from serving.server.prediction import DEFAULT_SIGNATURE
from serving.server.status import ServingError, invalid

_MODEL = r"/v1/models/(?P<name>[^/:]+)(?:/versions/(?P<version>\d+)|/labels/(?P<label>[^/:]+))?"
_PREDICTION = re.compile(_MODEL + r":(?P<method>classify|regress|predict)", re.IGNORECASE)
_STATUS = re.compile(_MODEL + r"(?P<metadata>/metadata)?", re.IGNORECASE)
_JSON = "application/json"
_LARGEST_VERSION = 2**63 - 1


def application(core: Core) -> Starlette:
    """The ASGI application that answers TF Serving's REST calls, and Prometheus."""

    async def answer(request: Request) -> Response:
        peer = f"{request.client.host}:{request.client.port}" if request.client else ""
        record = CallRecord("rest", _method_name(request), peer)
        try:
            with core.recorded(record):
                body = await _read(request, core.max_message_bytes)
                record.request_bytes = len(body)
                content = await _unless_gone(request, _answer(core, request, body, record))
                record.response_bytes = len(content)
                return Response(content, media_type=_JSON)
        except ServingError as error:
            text = json.dumps({"error": error.text}, ensure_ascii=False)
            return Response(text, error.http_status, media_type=_JSON)

    async def metrics(request: Request) -> Response:
        page = prometheus_client.generate_latest(core.metrics.registry)
        return Response(page, media_type=prometheus_client.CONTENT_TYPE_LATEST)

    return Starlette(
        routes=[
            Route("/v1/{path:path}", answer, methods=["GET", "POST"]),
            Route("/monitoring/prometheus/metrics", metrics),  # TF Serving's path
        ]
    )


def _method_name(request: Request) -> str:
    if request.method == "POST":
        match = _PREDICTION.fullmatch(request.url.path)
        return match["method"].capitalize() if match else "Unknown"
    match = _STATUS.fullmatch(request.url.path)
    if match is None:
        return "Unknown"
    return "GetModelMetadata" if match["metadata"] else "GetModelStatus"


async def _read(request: Request, max_bytes: int) -> bytes:
    chunks, size = [], 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > max_bytes:
            raise invalid(f"the request is larger than the limit of {max_bytes} bytes")
        chunks.append(chunk)
    return b"".join(chunks)


async def _unless_gone(request: Request, answer: Awaitable[bytes]) -> bytes:
    """Awaits the answer, and cancels it when the caller hangs up."""
    working = asyncio.ensure_future(answer)
    waiting = asyncio.ensure_future(request.receive())
    try:
        await asyncio.wait((working, waiting), return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise asyncio.CancelledError
        return working.result()
    finally:
        working.cancel()
        waiting.cancel()


async def _answer(core: Core, request: Request, body: bytes, record: CallRecord) -> bytes:
    path = request.url.path
    pattern = _PREDICTION if request.method == "POST" else _STATUS
    match = pattern.fullmatch(path)
    if match is None:
        raise invalid(f"Malformed request: {request.method} {path}")
    spec = _model_spec(match)
    if request.method == "POST":
        method = match["method"].lower()
        content = await _predict(core, method, body, spec, record)
    elif match["metadata"]:
        content = await _metadata(core, spec, record)
    else:
        status_request = message("GetModelStatusRequest")(model_spec=spec)
        status = await core.model_status(status_request, None, record)
        content = json_format.MessageToDict(status, including_default_value_fields=True)
    # Off the event loop: half a million numbers take their time.
    return await asyncio.to_thread(_encode, content)


def _encode(content: Mapping[str, Any]) -> bytes:
    return json.dumps(content, ensure_ascii=False).encode()


def _model_spec(match: re.Match[str]) -> Any:
    spec = message("ModelSpec")(name=urllib.parse.unquote(match["name"]))
    if match["version"]:
        if int(match["version"]) > _LARGEST_VERSION:
            raise invalid(f"Failed to convert version: {match['version']} to numeric.")
        spec.version.value = int(match["version"])
    if match["label"]:
        spec.version_label = urllib.parse.unquote(match["label"])
    return spec


async def _predict(
    core: Core, method: str, body: bytes, spec: Any, record: CallRecord
) -> dict[str, Any]:
    if method == "classify":
        request = rest_json.examples_request(body, spec, "ClassificationRequest")
        return rest_json.classify_response(await core.classify(request, None, record))
    if method == "regress":
        request = rest_json.examples_request(body, spec, "RegressionRequest")
        return rest_json.regress_response(await core.regress(request, None, record))

    def input_infos(named: Any) -> Mapping[str, Any]:
        version = core.registry.acquire(named)
        try:
            signature = version.signatures.get(named.signature_name or DEFAULT_SIGNATURE)
            if signature is None:
                name = named.signature_name or DEFAULT_SIGNATURE
                raise invalid(f'Serving signature name: "{name}" not found in signature def')
            return dict(signature.definition.inputs)
        finally:
            version.release()

    request, rows = await asyncio.to_thread(rest_json.predict_request, body, spec, input_infos)
    response = await core.predict(request, None, record)
    return await asyncio.to_thread(rest_json.predict_response, response, rows=rows)


async def _metadata(core: Core, spec: Any, record: CallRecord) -> dict[str, Any]:
    request = message("GetModelMetadataRequest")(model_spec=spec, metadata_field=["signature_def"])
    response = await core.model_metadata(request, None, record)
    signatures = message("SignatureDefMap")()
    response.metadata["signature_def"].Unpack(signatures)

    def as_dict(part: Any) -> Any:
        return json_format.MessageToDict(
            part, including_default_value_fields=True, preserving_proto_field_name=True
        )

    return {
        "model_spec": as_dict(response.model_spec),
        "metadata": {"signature_def": as_dict(signatures)},
    }
