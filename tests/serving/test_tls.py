"""Client and page on a server that asks for certificates, and names that need quoting."""

import http.client
import json
import pathlib
import ssl
import subprocess
import sys
import urllib.request
from collections.abc import Iterator

import pytest
import soundfile
from streamlit.testing.v1 import AppTest

from components.common.errors import UserError
from serving.client import GenreClient, Tls
from serving.server import cli
from tests.serving.server_process import REPOSITORY, ServerProcess
from tests.serving.tone_model import SETTINGS, tone

MODEL, LABEL = "my [best] {model} 1/2?", "so good"
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def encrypted(
    tmp_path_factory: pytest.TempPathFactory,
    versions: dict[str, pathlib.Path],
    certificates: pathlib.Path,
) -> Iterator[ServerProcess]:
    folder = tmp_path_factory.mktemp("encrypted")
    (folder / "base").mkdir()
    (folder / "base" / "5").symlink_to(versions["right"])
    (folder / "models.config").write_text(
        f"""model_config_list {{ config {{
          name: "{MODEL}" base_path: "{folder / "base"}"
          version_labels {{ key: "{LABEL}" value: 5 }}
        }} }}"""
    )
    process = ServerProcess(
        folder,
        [
            *("--model-config-file", str(folder / "models.config")),
            *("--tls-certificate", str(certificates / "server.pem")),
            *("--tls-key", str(certificates / "server.key")),
            *("--tls-client-ca", str(certificates / "ca.pem")),
        ],
    )
    try:
        yield process.wait_ready()
    finally:
        process.stop()


@pytest.fixture(scope="module")
def tls(certificates: pathlib.Path) -> Tls:
    return Tls(
        server_ca=certificates / "ca.pem",
        certificate=certificates / "client.pem",
        key=certificates / "client.key",
    )


@pytest.fixture(scope="module")
def flags(encrypted: ServerProcess, tls: Tls) -> list[str]:
    """The flags of client and page that say where the server is."""
    return [
        *("--server", encrypted.address, "--model", MODEL),
        *("--tls-ca", str(tls.server_ca)),
        *("--tls-certificate", str(tls.certificate), "--tls-key", str(tls.key)),
    ]


@pytest.mark.parametrize(
    ("files", "named"),
    [
        ({"server_ca": "server.key"}, "server.key"),
        ({"server_ca": ""}, "cannot be read"),
        ({"certificate": "client.pem", "key": "server.key"}, "client.pem"),
    ],
    ids=["no certificate", "folder", "another key"],
)
def test_files_that_are_of_no_use_are_named(
    certificates: pathlib.Path, files: dict[str, str], named: str
) -> None:
    """gRPC itself says that no server answers."""
    tls = Tls(**{field: certificates / name for field, name in files.items()})
    with pytest.raises(UserError, match=named):
        GenreClient("localhost:1", tls=tls)


def test_rest_asks_for_a_certificate_too(encrypted: ServerProcess, tls: Tls) -> None:
    metrics = f"{encrypted.rest_url}/monitoring/prometheus/metrics"
    context = ssl.create_default_context(cafile=tls.server_ca)
    for url in (metrics, metrics.replace("https", "http")):
        with pytest.raises((OSError, http.client.HTTPException)):
            urllib.request.urlopen(url, context=context, timeout=10).read()
    assert tls.certificate is not None
    context.load_cert_chain(tls.certificate, tls.key)
    with urllib.request.urlopen(metrics, context=context, timeout=10) as response:
        assert b"gatefold_requests_held" in response.read()


@pytest.fixture(scope="module")
def song(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    path = tmp_path_factory.mktemp("song") / "my song.flac"
    soundfile.write(path, tone("jazz"), SETTINGS.sample_rate_hz)
    return path


def test_command_line_shows_its_certificate(flags: list[str], song: pathlib.Path) -> None:
    command = [sys.executable, "-m", "serving.client", str(song), "--label", LABEL, "--json"]
    done = subprocess.run([*command, *flags], cwd=REPOSITORY, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["genre"] == "jazz"
    unknown = [*command, *flags[:6]]  # without a certificate of its own
    done = subprocess.run(unknown, cwd=REPOSITORY, capture_output=True, text=True)
    assert done.returncode == 1
    assert "no server answers at" in done.stderr
    assert "Traceback" not in done.stderr


def test_page_shows_its_certificate(flags: list[str]) -> None:
    def page(flags: list[str]) -> None:
        from serving.app import build_parser
        from serving.page.models import choose_model

        choose_model(build_parser().parse_args(flags))

    shown = AppTest.from_function(page, kwargs={"flags": flags}, default_timeout=60).run()
    assert not shown.exception and not shown.error
    assert [box.options for box in shown.selectbox] == [[f"{MODEL} (version 5)"]]
    assert "Encrypted with TLS" in [caption.value for caption in shown.caption]


@pytest.mark.parametrize(
    ("flags", "names"),
    [
        (("--tls-certificate", "server.pem", "--tls-key", "client.key"), "--tls-key"),
        (("--tls-certificate", "server.pem", "--tls-key", "server.pem"), "--tls-key"),
        (("--port", "8765", "--rest-port", "8765"), "--port and --rest-port must differ"),
        (("--max-message-mib", "4096"), "--max-message-mib"),
    ],
)
def test_what_cannot_be_served_is_a_sentence_at_once(certificates, capfd, flags, names) -> None:
    paths = [
        str(certificates / flag) if flag.endswith((".pem", ".key")) else flag for flag in flags
    ]
    code: object
    try:
        code = cli.main(["--model-base-path", str(certificates), *paths])
    except SystemExit as error:
        code = error.code
    printed = capfd.readouterr().err
    assert code == 2
    assert names in printed and "Traceback" not in printed and "Loading" not in printed
