"""The request that the page made, for people who want to make it themselves."""

import base64
import json
import pathlib
import shlex
import urllib.parse

from components.audio import codec
from serving.client import songs
from serving.page.models import ModelChoice


def python_code(choice: ModelChoice, name: str) -> str:
    """Python that asks what the page asked."""
    arguments = [repr(choice.server)]
    if choice.model != "genre":
        arguments.append(f"model={choice.model!r}")
    if choice.label:
        arguments.append(f"label={choice.label!r}")
    elif choice.version is not None:
        arguments.append(f"version={choice.version}")
    imports = "GenreClient"
    if choice.tls is not None:
        imports += ", Tls"
        files = [
            f"{field}=Path({str(path)!r})"
            for field, path in (
                ("server_ca", choice.tls.server_ca),
                ("certificate", choice.tls.certificate),
                ("key", choice.tls.key),
            )
            if path is not None
        ]
        if choice.tls.server_name:
            files.append(f"server_name={choice.tls.server_name!r}")
        arguments.append(f"tls=Tls({', '.join(files)})")
    lines = [f"from serving.client import {imports}", ""]
    if "Path(" in arguments[-1]:
        lines.insert(0, "from pathlib import Path\n")
    return "\n".join(
        [
            *lines,
            f"with GenreClient({', '.join(arguments)}) as client:",
            f"    prediction = client.classify_file({name!r})",
            "    print(prediction.verdict())",
        ]
    )


def curl_command(choice: ModelChoice, rest_url: str, name: str) -> str:
    """A curl command that sends `request_body`, saved beside it, to the REST port."""
    path = f"/v1/models/{urllib.parse.quote(choice.model, safe='')}"
    if choice.label:
        path += f"/labels/{urllib.parse.quote(choice.label, safe='')}"
    elif choice.version is not None:
        path += f"/versions/{choice.version}"
    words = ["curl"]
    if choice.tls is not None:
        for flag, file in (
            ("--cacert", choice.tls.server_ca),
            ("--cert", choice.tls.certificate),
            ("--key", choice.tls.key),
        ):
            words += [flag, str(file)] if file is not None else []
    words += ["-d", f"@{request_name(name)}", rest_url.rstrip("/") + path + ":predict"]
    return shlex.join(words)


def request_note(duration_seconds: float) -> str:
    """What is in `request_body` of a song of this length."""
    part = songs.PART_SAMPLES / songs.SETTINGS.sample_rate_hz
    if duration_seconds < part + songs.SETTINGS.window_seconds:
        return "Or over REST, with the very request that was sent:"
    return (
        f"Or over REST. A song of over {part / 60:g} minutes is sent in parts; this is the very "
        f"request that was sent about the first {part / 60:g} minutes:"
    )


def request_name(name: str) -> str:
    """File name of the request about the song `name`."""
    return f"{pathlib.PurePath(name).stem}-request.json"


def request_body(data: bytes, name: str) -> bytes:
    """The REST request about a song: of a long one its first part, as the page cuts it.

    Raises:
      UserError: It is no music.
    """
    with songs.byte_parts(data, name=name)() as parts:
        first = next(parts)
    wav = codec.encode_wav(first, songs.SETTINGS.sample_rate_hz)
    instance = {"wav": {"b64": base64.b64encode(wav).decode()}}
    return json.dumps({"signature_name": "classify_wav", "instances": [instance]}).encode()
