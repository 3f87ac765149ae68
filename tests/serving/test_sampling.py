"""The server samples requests into a bounded folder, and the monitor finds what changed in them."""

import json
import pathlib
import shutil
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator

import numpy as np
import pytest
import soxr

from components.audio import deformations
from components.common.errors import UserError
from components.gtzan.genres import GENRES
from serving import monitor
from serving.client.genre_client import GenreClient
from serving.server import cli, sampling
from serving.server.check import Call
from serving.server.loading import LoadedVersion
from serving.server.metrics import CallRecord, Metrics
from serving.server.sample_files import SampleFiles
from serving.server.sampled_sound import describe_sound
from serving.server.sampling import Sampler
from tests.serving.server_process import ServerProcess
from tests.serving.tone_model import SETTINGS, serialized_example, tone
from tests.serving.traffic import song, songs, write_training_statistics


@pytest.fixture(scope="module")
def base(tmp_path_factory, versions) -> pathlib.Path:
    base = tmp_path_factory.mktemp("sampled") / "genre"
    shutil.copytree(versions["right"], base / "1")
    write_training_statistics(base / "1")
    return base


@pytest.fixture(scope="module")
def sampled(tmp_path_factory, base) -> Iterator[ServerProcess]:
    """A server that samples every request."""
    folder = tmp_path_factory.mktemp("sampling-server")
    flags = [
        *("--model-base-path", str(base)),
        *("--sample-requests", "1"),
        *("--sample-folder", str(folder / "samples")),
        *("--sample-mib", "1"),
    ]
    process = ServerProcess(folder, flags)
    process.samples = folder / "samples"
    try:
        yield process.wait_ready()
    finally:
        process.stop()


def written(server: ServerProcess) -> float:
    return server.metric("gatefold_samples_total", result="written")


def send(server: ServerProcess, sounds: list[np.ndarray]) -> None:
    """Sends them one after another, and waits until all are sampled."""
    before = written(server)
    with GenreClient(server.address) as client:
        for samples in sounds:
            client.classify_samples(samples)
            end = time.monotonic() + 30
            while written(server) < before + 1:  # none is dropped, however slow the machine
                assert time.monotonic() < end, server.output
                time.sleep(0.01)
            before += 1


def take(server: ServerProcess, folder: pathlib.Path) -> pathlib.Path:
    """Moves what was sampled so far."""
    folder.mkdir()
    for path in server.samples.glob("samples-*"):
        path.rename(folder / path.name)
    return folder


def lines(folder: pathlib.Path, kind: str = "answer") -> list[dict]:
    read = [
        json.loads(line)
        for path in sorted(folder.glob("samples-*.jsonl"))
        for line in path.read_text().splitlines()
    ]
    return [line for line in read if line["kind"] == kind]


def test_changed_traffic_is_drift_and_traffic_like_the_training_data_is_none(
    sampled, base, tmp_path, capsys
):
    send(sampled, songs(60, seed=1))
    alike = take(sampled, tmp_path / "alike")
    assert monitor.main(["--base", str(base), "--samples", str(alike)]) == 0
    assert "No drift: 60 samples" in capsys.readouterr().out

    rate = SETTINGS.sample_rate_hz
    one_genre = [song(GENRES[2], seed) for seed in range(60)]
    by_telephone = [deformations.telephone_8k(samples, rate) for samples in one_genre]
    send(sampled, [deformations.quieter_12db(samples, rate) for samples in by_telephone])
    changed = take(sampled, tmp_path / "changed")
    page, figures = tmp_path / "monitor.html", tmp_path / "monitor.json"
    flags = ["--base", str(base), "--samples", str(changed), "--page", str(page)]
    assert monitor.main([*flags, "--json", str(figures)]) == 2
    report = json.loads(figures.read_text())
    drifted = {finding["name"] for finding in report["findings"] if finding["drift"]}
    assert {"rms_db", "bandwidth_hz", "genre"} <= drifted
    assert "silent_fraction" not in drifted and "duration_seconds" not in drifted
    html = page.read_text()
    assert "Bandwidth (Hz)" in html and "http" not in html


def test_a_sample_says_what_was_heard_and_answered(sampled, tmp_path):
    sound = song("jazz", 7)
    send(sampled, [sound])
    (line,) = lines(take(sampled, tmp_path / "one"))
    assert (line["model"], line["version"], line["genre"]) == ("genre", 1, "jazz")
    assert 1 >= line["confidence"] > line["runner_up"] >= 0
    assert 0 <= line["entropy_bits"] < 1
    assert line["duration_seconds"] == pytest.approx(3.2, abs=0.01)
    assert line["rms_db"] == pytest.approx(10 * np.log10(np.mean(sound**2)), abs=0.01)


def test_a_full_disk_or_a_folder_that_is_gone_fails_no_call(sampled):
    """Runs last of those with the server, and so it sees what a stop writes."""
    failed = sampled.metric("gatefold_samples_total", result="failed")
    sampled.samples.rename(sampled.samples.with_name("moved"))
    with GenreClient(sampled.address) as client:
        assert client.classify_samples(song("jazz", 1)).genre == "jazz"
        end = time.monotonic() + 30
        while sampled.metric("gatefold_samples_total", result="failed") == failed:
            assert time.monotonic() < end
            time.sleep(0.02)
        sampled.samples.with_name("moved").rename(sampled.samples)
    inputs = {"audio": [tone("blues", seconds=0.5).tolist()]}
    body = json.dumps({"signature_name": "classify_audio", "inputs": inputs}).encode()
    with pytest.raises(urllib.error.HTTPError):
        urllib.request.urlopen(f"{sampled.rest_url}/v1/models/genre:predict", body)
    sampled.wait_output("samples cannot be written")
    sampled.stop()
    counts = lines(sampled.samples, "counts")
    refused = [one for line in counts for one in line["refused"]]
    assert sum(line["calls"] for line in counts) >= 1
    assert [one["status"] for one in refused] == ["INVALID_ARGUMENT"]


@pytest.fixture(scope="module")
def call(versions):
    version = LoadedVersion("genre", 2, str(versions["right"]))
    signature = version.signatures["classify_audio"]
    inputs = {"audio": tone("jazz")[np.newaxis]}
    return Call(version, signature, inputs, ("probabilities", "genres"))


def results(metrics: Metrics) -> dict[str, float]:
    (family,) = metrics.samples.collect()
    return {
        sample.labels["result"]: sample.value
        for sample in family.samples
        if sample.name == "gatefold_samples_total"
    }


def test_a_disk_that_blocks_holds_up_no_caller_and_few_calls_wait_for_it(
    call, tmp_path, monkeypatch
):
    files, metrics = SampleFiles(tmp_path, 1 << 20), Metrics()
    blocked = threading.Event()
    monkeypatch.setattr(files, "write", lambda fields: blocked.wait(60))
    outputs = call.version.run(call.signature, call.inputs, call.outputs)
    never = Sampler(files, 1e-12, metrics)
    sampler = Sampler(files, 1.0, metrics)
    for _ in range(sampling._MOST_CALLS + 5):
        never.offer(call, outputs)
        sampler.offer(call, outputs)
    assert results(metrics) == {"dropped": 5}, "the callers went on while the first was written"
    blocked.set()
    sampler.close(60.0)
    assert results(metrics) == {"dropped": 5, "written": sampling._MOST_CALLS}


def test_the_oldest_lines_go_first_and_the_folder_stays_bounded(tmp_path):
    most = 8_000
    mine = tmp_path / "samples-of drums.jsonl"  # another file that happens to be there
    mine.write_text("x" * 2 * most)
    files = SampleFiles(tmp_path, most)
    for number in range(500):
        files.write({"kind": "answer", "number": number})
        assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= 3 * most
    mine.unlink()
    kept = [line["number"] for line in lines(tmp_path)]
    assert max(kept) == 499 and len(kept) > 60
    assert sorted(kept) == list(range(min(kept), 500))


def test_equal_reasons_are_one_count_and_there_are_few(tmp_path):
    sampler = Sampler(SampleFiles(tmp_path, 1 << 20), 1.0, Metrics())
    for number in range(100):
        record = CallRecord("grpc", "Predict", "genre", status="INVALID_ARGUMENT")
        record.error = f"the sound is {number} samples: 'secret {number}'"
        sampler.count(record)
    for number in range(100):
        record = CallRecord("rest", "Predict", "genre", status="INVALID_ARGUMENT")
        record.error = "strange " + "x" * (number % 50)
        sampler.count(record)
    sampler.count(CallRecord("grpc", "GetModelStatus", "genre"))
    sampler.close(10.0)
    (line,) = lines(tmp_path, "counts")
    assert line["calls"] == sum(one["calls"] for one in line["refused"]) == 200
    by_reason = {one["reason"]: one["calls"] for one in line["refused"]}
    assert by_reason["the sound is # samples: …"] == 100
    assert len(by_reason) <= 21 and by_reason["other reasons"] > 0


def test_a_sound_is_the_same_whichever_signature_it_came_by():
    from components.audio import codec

    samples = song("rock", 3)
    wav = np.array([codec.encode_wav(samples, SETTINGS.sample_rate_hz)], object)
    clip = np.resize(samples, SETTINGS.clip_samples)
    example = np.array([serialized_example(clip)], object)
    by_audio = describe_sound({"audio": samples[np.newaxis]}, 0)
    by_wav = describe_sound({"wav": wav}, 0)
    assert by_wav == pytest.approx(by_audio, abs=1e-3)
    twice = soxr.resample(samples, 1, 2)[np.newaxis]
    at_rate = {"audio": twice, "sample_rate_hz": np.array([2 * SETTINGS.sample_rate_hz])}
    assert describe_sound(at_rate, 0) == pytest.approx(by_audio, rel=0.05, abs=1e-3)
    of_clip = describe_sound({"audio": clip[np.newaxis]}, 0)
    assert describe_sound({"examples": example}, 0) == pytest.approx(of_clip, abs=1e-3)
    assert describe_sound({"other": samples}, 0) == {}


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--sample-requests", "0.1"], "both --sample-requests SHARE and --sample-folder DIR"),
        (
            ["--sample-requests", "1", "--sample-folder", "s3://bucket/samples"],
            "must be a local folder",
        ),
    ],
)
def test_flags_that_lack_something_are_one_sentence(flags, message, tmp_path):
    with pytest.raises(UserError, match=message):
        cli.parse(["--model-base-path", str(tmp_path), *flags])


@pytest.mark.parametrize("share", ["0", "1.1", "nan", "much"])
def test_a_share_that_is_none_is_refused(share, tmp_path, capsys):
    with pytest.raises(SystemExit):
        cli.parse(["--model-base-path", str(tmp_path), "--sample-requests", share])
    assert "expected a number over 0 and up to 1" in capsys.readouterr().err
