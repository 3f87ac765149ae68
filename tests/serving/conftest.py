"""Models that tell tones apart, and one server of them for all tests of this folder.

Starting a server costs an import of TensorFlow, so tests share it: `genre` with two versions and
two labels, `swapping`, whose base path a test may fill as it likes, and `others`, whose genres have
names that terminals and pages could take for markup and which says that it knows synthetic music.
"""

import datetime
import ipaddress
import json
import pathlib
from collections.abc import Iterator

import pytest

from components.gtzan.genres import GENRES
from tests.serving.server_process import ServerProcess

# What the model `others` calls the tones of these genres.
OTHER_GENRES = dict(
    zip(
        GENRES,
        (
            "Neue Deutsche Welle",
            "Schlager für Zwölf",
            "[live]",
            "[/b] R&B <i>",
            "演歌",
            "$K-Pop$",
            "*a* _b_",
            ":fire:",
            "Drum 'n' Bass",
            'Chanson "nouvelle"',
        ),
        strict=True,
    )
)


@pytest.fixture(scope="session")
def versions(tmp_path_factory: pytest.TempPathFactory) -> dict[str, pathlib.Path]:
    """Folders of two models: `right` names a tone's genre, `shifted` the one after it."""
    from tests.serving.tone_model import write_tone_model

    folder = tmp_path_factory.mktemp("versions")
    write_tone_model(folder / "right")
    write_tone_model(folder / "shifted", rotation=1)
    return {"right": folder / "right", "shifted": folder / "shifted"}


@pytest.fixture(scope="session")
def swapping_base(
    tmp_path_factory: pytest.TempPathFactory, versions: dict[str, pathlib.Path]
) -> pathlib.Path:
    """Base path of the model `swapping`; it starts with version 1, which is right."""
    import shutil

    base = tmp_path_factory.mktemp("swapping")
    shutil.copytree(versions["right"], base / "1")
    return base


@pytest.fixture(scope="session")
def config_file(
    tmp_path_factory: pytest.TempPathFactory,
    versions: dict[str, pathlib.Path],
    swapping_base: pathlib.Path,
) -> pathlib.Path:
    """A models.config in TF Serving's format."""
    from tests.serving import tone_model

    folder = tmp_path_factory.mktemp("config")
    genre = folder / "genre"
    genre.mkdir()
    (genre / "1").symlink_to(versions["shifted"])
    (genre / "2").symlink_to(versions["right"])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tone_model, "GENRES", tuple(OTHER_GENRES.values()))
        tone_model.write_tone_model(folder / "others" / "1")
    facts = {"model": "cnn", "data": "/data/composed", "synthetic": True, "files": {"a": "0" * 64}}
    (folder / "others" / "1" / "assets.extra" / "release.json").write_text(json.dumps(facts))
    file = folder / "models.config"
    file.write_text(
        f"""
        model_config_list {{
          config {{
            name: "genre" base_path: "{genre}" model_platform: "tensorflow"
            model_version_policy {{ all {{}} }}
            version_labels {{ key: "stable" value: 1 }}
            version_labels {{ key: "canary" value: 2 }}
          }}
          config {{ name: "swapping" base_path: "{swapping_base}" }}
          config {{ name: "others" base_path: "{folder / "others"}" }}
        }}
        """
    )
    return file


@pytest.fixture(scope="session")
def server(
    tmp_path_factory: pytest.TempPathFactory, config_file: pathlib.Path
) -> Iterator[ServerProcess]:
    """The shared server: `genre` (2 is right and the latest, 1 is shifted) and the two others."""
    process = ServerProcess(
        tmp_path_factory.mktemp("server"),
        [
            *("--model-config-file", str(config_file)),
            *("--poll-seconds", "0.2"),
        ],
    )
    try:
        yield process.wait_ready()
    finally:
        process.stop()


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """A folder with ca.pem, and server and client certificates that it signed."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    folder = tmp_path_factory.mktemp("certificates")
    now = datetime.datetime.now(datetime.timezone.utc)
    names = {
        who: x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, who)])
        for who in ("ca", "server", "client")
    }
    keys = {who: ec.generate_private_key(ec.SECP256R1()) for who in names}
    for who, name in names.items():
        builder = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(names["ca"])
            .public_key(keys[who].public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=who == "ca", path_length=None), critical=True)
            .add_extension(
                x509.SubjectAlternativeName(
                    [
                        x509.DNSName("localhost"),
                        x509.IPAddress(ipaddress.ip_address("127.0.0.1")),
                    ]
                ),
                critical=False,
            )
        )
        certificate = builder.sign(keys["ca"], hashes.SHA256())
        encoding = serialization.Encoding.PEM
        (folder / f"{who}.pem").write_bytes(certificate.public_bytes(encoding))
        (folder / f"{who}.key").write_bytes(
            keys[who].private_bytes(
                encoding,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
    return folder
