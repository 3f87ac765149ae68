"""Fetching GTZAN: through mirdata itself, from a small archive and from nowhere."""

import hashlib
import json
import tarfile

import numpy as np
import pytest
from mirdata import core, download_utils
from mirdata.datasets import gtzan_genre

from components.audio import codec
from components.gtzan import download


@pytest.fixture
def published(tmp_path):
    """What mirdata would initialise, had GTZAN one track and its archive a file:// address."""
    source = tmp_path / "published" / "genres" / "blues"
    source.mkdir(parents=True)
    track = source / "blues.00000.wav"
    track.write_bytes(codec.encode_wav(np.zeros(2205), 22_050))
    archive = tmp_path / "genres.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(source.parent, "genres")
    name = "gtzan_genre/genres/blues/blues.00000.wav"
    index = core.Index("index.json")
    index.indexes_dir = str(tmp_path)
    digest = hashlib.md5(track.read_bytes()).hexdigest()
    annotation = ["gtzan_tempo_beat-main/beats/x.beats", "0" * 32]
    tracks = {"blues.00000": {"audio": [name, digest], "beats": annotation}}
    (tmp_path / "index.json").write_text(json.dumps({"version": "1.0", "tracks": tracks}))

    def initialize(name, data_home):
        return core.Dataset(
            data_home,
            "default",
            name=name,
            track_class=gtzan_genre.Track,
            indexes={"default": "1.0", "test": "1.0", "1.0": index},
            remotes={
                "all": download_utils.RemoteFileMetadata(
                    filename="genres.tar.gz",
                    url=archive.as_uri(),
                    checksum=hashlib.md5(archive.read_bytes()).hexdigest(),
                    destination_dir="gtzan_genre",
                )
            },
        )

    return initialize, tmp_path / "index.json"


@pytest.mark.usefixtures("no_network")
def test_without_a_network_the_error_is_one_sentence(tmp_path, capfd):
    with pytest.raises(download.DownloadError, match=r"could not be downloaded .*--data") as error:
        download.download_gtzan(tmp_path / "gtzan")
    assert "\n" not in str(error.value)
    assert capfd.readouterr().out == ""


def test_a_download_is_unpacked_verified_and_made_once(tmp_path, published):
    initialize, _ = published
    genres = download.download_gtzan(tmp_path / "gtzan", initialize=initialize)
    assert (genres / "blues" / "blues.00000.wav").is_file()

    def never(*_, **__):
        raise AssertionError("downloaded twice")

    assert download.download_gtzan(tmp_path / "gtzan", initialize=never) == genres


def test_half_an_archive_left_by_an_interruption_is_fetched_again(tmp_path, published):
    initialize, _ = published
    (tmp_path / "gtzan" / "gtzan_genre").mkdir(parents=True)
    (tmp_path / "gtzan" / "gtzan_genre" / "genres.tar.gz").write_bytes(b"half")
    genres = download.download_gtzan(tmp_path / "gtzan", initialize=initialize)
    assert (genres / "blues" / "blues.00000.wav").is_file()


def test_a_track_with_another_checksum_is_an_error(tmp_path, published):
    initialize, index = published
    index.write_text(index.read_text().replace('.wav", "', '.wav", "0'))
    with pytest.raises(download.DownloadError, match=r"1 differ .*blues.00000.wav"):
        download.download_gtzan(tmp_path / "gtzan", initialize=initialize)
