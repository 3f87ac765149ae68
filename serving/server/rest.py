"""TF Serving's REST calls, through the same queue as gRPC's.

GET  /v1/models/genre[/versions/N|/labels/L]            status
GET  /v1/models/genre[/versions/N|/labels/L]/metadata   signatures
POST /v1/models/genre[/versions/N|/labels/L]:predict    also :classify, :regress
"""

import asyncio
import dataclasses
import functools
import json
import re
import urllib.parse
import zlib
from collections.abc import Awaitable, Callable
from typing import Any

import grpc
import prometheus_client
from google.protobuf import json_format
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from serving.protocol import message
from serving.server import prediction, rest_json
from serving.server.access_log import CallRecord
from serving.server.calls import Call, Limits
from serving.server.core import Arrival, Core, Prepare
from serving.server.loading import LoadedVersion
from serving.server.status import ServingError, invalid

_MODEL = r"/v1/models/(?P<name>[^/:]+)(?:/versions/(?P<version>\d+)|/labels/(?P<label>[^/:]+))?"
_PREDICTION = re.compile(_MODEL + r":(?P<method>classify|regress|predict)", re.IGNORECASE)
_STATUS = re.compile(
    _MODEL.replace("/(?P<name>[^/:]+)", "(?:/(?P<name>[^/:]+))?", 1) + r"(?P<metadata>/metadata)?",
    re.IGNORECASE,
)
_REQUEST_TIMEOUT, _CLIENT_CLOSED_REQUEST = 408, 499
_JSON = "application/json"
_LARGEST_VERSION = 2**63 - 1


def application(core: Core) -> Starlette:
    """The ASGI application that answers TF Serving's REST calls, and Prometheus."""
    held = 0

    async def answer(request: Request) -> Response:
        nonlocal held
        peer = f"{request.client.host}:{request.client.port}" if request.client else ""
        record = CallRecord("rest", _method_name(request), peer)
        held += 1
        try:
            with core.recorded(record):
                if held > core.settings.max_concurrent_calls:
                    raise ServingError(
                        grpc.StatusCode.RESOURCE_EXHAUSTED, "Concurrent call limit exceeded!"
                    )
                content = await _answer(core, request, record)
                record.response_bytes = len(content)
                return Response(content, media_type=_JSON)
        except _GoneError:
            return Response(status_code=_CLIENT_CLOSED_REQUEST)  # nobody reads it
        except _SlowError as error:
            response = _error(str(error), _REQUEST_TIMEOUT)
            response.headers["connection"] = "close"  # what still comes is no new request
            return response
        except ServingError as error:
            return _error(error.text, error.http_status)
        finally:
            held -= 1

    async def metrics(request: Request) -> Response:
        page = await asyncio.to_thread(prometheus_client.generate_latest, core.metrics.registry)
        return Response(page, media_type=prometheus_client.CONTENT_TYPE_LATEST)

    return Starlette(
        routes=[
            Route("/v1/{path:path}", answer, methods=["GET", "POST"]),
            Route("/monitoring/prometheus/metrics", metrics),  # TF Serving's path
        ]
    )


class _GoneError(ServingError):
    """The caller hung up."""

    def __init__(self) -> None:
        super().__init__(grpc.StatusCode.CANCELLED, "the caller hung up")


class _SlowError(ServingError):
    """The request did not arrive in time."""

    def __init__(self, seconds: float) -> None:
        super().__init__(
            grpc.StatusCode.DEADLINE_EXCEEDED, f"the request did not arrive within {seconds:g} s"
        )


def _error(text: str, status: int) -> Response:
    content = json.dumps({"error": text}, ensure_ascii=False)
    return Response(content.encode(errors="backslashreplace"), status, media_type=_JSON)


def _path(request: Request) -> str:
    """The path as it was sent: names in it may hold `/`, `:` and `?`, escaped."""
    raw: bytes = request.scope["raw_path"]
    return raw.decode("ascii", "backslashreplace")


def _method_name(request: Request) -> str:
    if request.method == "POST":
        match = _PREDICTION.fullmatch(_path(request))
        return match["method"].capitalize() if match else "Unknown"
    match = _STATUS.fullmatch(_path(request))
    if match is None:
        return "Unknown"
    return "GetModelMetadata" if match["metadata"] else "GetModelStatus"


async def _read(request: Request, core: Core) -> bytearray:
    """The request's body.

    Raises:
      ServingError: It is too large or too slow, or its sender hung up.
    """
    settings = core.settings
    try:
        return await asyncio.wait_for(
            _read_all(request, settings.max_message_bytes), settings.read_seconds
        )
    except ClientDisconnect:
        raise _GoneError from None
    except asyncio.TimeoutError:
        raise _SlowError(settings.read_seconds) from None


async def _read_all(request: Request, max_bytes: int) -> bytearray:
    body = bytearray()
    async for chunk in request.stream():
        if len(body) + len(chunk) > max_bytes:
            raise invalid(f"the request is larger than the limit of {max_bytes} bytes")
        body += chunk
    return body


def _inflated(body: bytes | bytearray, encoding: str, most: int) -> bytes:
    """A compressed body, unpacked as far as the limit."""
    if encoding != "gzip":
        raise invalid(f"a body is taken as it is or as gzip. Received: Content-Encoding {encoding}")
    unpacking = zlib.decompressobj(wbits=31)
    try:
        unpacked = unpacking.decompress(body, most)
    except zlib.error as error:
        raise invalid("the request's body is no gzip") from error
    if unpacking.unconsumed_tail:
        raise invalid(f"the request is larger than the limit of {most} bytes")
    if not unpacking.eof:
        raise invalid("the request's body is cut off")
    return unpacked


async def _unless_gone(request: Request, answer: Awaitable[bytes]) -> bytes:
    """Awaits the answer, and cancels it when the caller hangs up."""
    working = asyncio.ensure_future(answer)
    waiting = asyncio.ensure_future(request.receive())
    try:
        await asyncio.wait((working, waiting), return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise _GoneError
        return working.result()
    finally:
        waiting.cancel()
        # Until it has ended, the request's place and room are still in use.
        while not working.done():
            working.cancel()
            await asyncio.wait((working,))
        if not working.cancelled():
            working.exception()  # or asyncio would report what nobody waits for any more
        del working  # an error's traceback holds this frame, and `working` holds the error


async def _answer(core: Core, request: Request, record: CallRecord) -> bytes:
    path = _path(request)
    pattern = _PREDICTION if request.method == "POST" else _STATUS
    match = pattern.fullmatch(path)
    if match is None:
        raise invalid(f"Malformed request: {request.method} {path}")
    if request.method == "POST":
        async with core.admitted(queued=True) as (lease, place):
            body: bytes | bytearray = await _read(request, core)
            encoding = request.headers.get("content-encoding", "identity").lower()
            if encoding != "identity":
                most = core.limits.max_bytes
                body = await core.off_loop(most, functools.partial(_inflated, body, encoding, most))
            box: list[bytes | bytearray] = [body]
            del body
            record.request_bytes = len(box[0])
            arrival = Arrival(record, lease, place)
            answer = _predict(core, match["method"].lower(), box, _model_spec(match), arrival)
            return await _unless_gone(request, answer)
    if not match["name"]:
        raise invalid("Missing model name in request.")
    if match["metadata"]:
        return rest_json.encode(await _metadata(core, _model_spec(match), record))
    status_request = message("GetModelStatusRequest")(model_spec=_model_spec(match))
    status = await core.model_status(status_request, record)
    return rest_json.encode(json_format.MessageToDict(status, including_default_value_fields=True))


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
    core: Core, method: str, box: list[bytes | bytearray], spec: Any, arrival: Arrival
) -> bytes:
    prepare = {
        "predict": _prepare_predict,
        "classify": _prepare_classify,
        "regress": _prepare_regress,
    }[method]

    def read(record: CallRecord) -> Call:
        # The body and what it is parsed into live only until they are arrays.
        document = rest_json.parse_object(box.pop(), limits=core.limits)
        return prepare(core, document, spec, record)

    content: bytes = await core.infer(read, arrival)
    return content


def _prepare_predict(core: Core, document: dict[str, Any], spec: Any, record: CallRecord) -> Call:
    request = message("PredictRequest")(model_spec=spec)
    request.model_spec.signature_name = rest_json.signature_name(document)
    return core.reader(_predict_of(document), lambda: request)(record)


def _predict_of(document: dict[str, Any]) -> Prepare:
    def prepare(version: LoadedVersion, request: Any, *, limits: Limits) -> Call:
        return rest_json.prepare_predict(version, document, limits=limits)

    return prepare


def _prepare_classify(core: Core, document: dict[str, Any], spec: Any, record: CallRecord) -> Call:
    request = rest_json.examples_request(document, spec, "ClassificationRequest")
    call = core.reader(prediction.prepare_classify, lambda: request)(record)
    return _as_json(call, rest_json.classify_response)


def _prepare_regress(core: Core, document: dict[str, Any], spec: Any, record: CallRecord) -> Call:
    request = rest_json.examples_request(document, spec, "RegressionRequest")
    call = core.reader(prediction.prepare_regress, lambda: request)(record)
    return _as_json(call, rest_json.regress_response)


def _as_json(call: Call, response: Callable[[Any], dict[str, Any]]) -> Call:
    answer = call.answer
    return dataclasses.replace(
        call, answer=lambda outputs: rest_json.encode(response(answer(outputs)))
    )


async def _metadata(core: Core, spec: Any, record: CallRecord) -> dict[str, Any]:
    request = message("GetModelMetadataRequest")(model_spec=spec, metadata_field=["signature_def"])
    response = await core.model_metadata(request, record)
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
