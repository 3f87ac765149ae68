"""The two peer processes of benchmarks.serving.

    python -m benchmarks.serving_workers bare BASE_PATH     the SavedModel, called in process
    python -m benchmarks.serving_workers peer MODEL PORT BASE_PATH   librosa, Keras, Flask

`bare` reads one JSON command a line on standard input and answers one JSON line; `peer` is what
the projects that Gatefold replaces run as their app.
"""

import json
import os
import sys
import time
import warnings
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
warnings.simplefilter("ignore")


def bare(base_path: str) -> None:
    """Runs the newest version's `classify_wav` for `{"wavs": [paths], "batch": n, "runs": n}`.

    Answers the seconds that each run took.
    """
    import numpy as np

    from serving.server.loading import LoadedVersion
    from serving.server.versions import list_versions, warm

    number, path = max(list_versions(base_path).items())
    version = LoadedVersion("genre", number, path)
    warm(version, path)
    signature = version.signatures["classify_wav"]
    outputs = tuple(sorted(signature.definition.outputs))
    print("ready", flush=True)
    for line in sys.stdin:
        command = json.loads(line)
        wavs = [open(path, "rb").read() for path in command["wavs"]]  # noqa: SIM115, PTH123
        seconds = []
        for run in range(command["runs"]):
            chosen = [wavs[(run + i) % len(wavs)] for i in range(command["batch"])]
            start = time.perf_counter()
            version.run(signature, {"wav": np.array(chosen, object)}, outputs)
            seconds.append(time.perf_counter() - start)
        print(json.dumps(seconds), flush=True)


def librosa_windows(samples: Any, feature: Any, settings: Any) -> Any:
    """A clip's windows as a script computes them: float32 [windows, window_frames, bins]."""
    import librosa
    import numpy as np

    if feature.name == "descriptors":
        return librosa_descriptors(samples, settings)
    if feature.name == "music_mel":
        power = librosa.feature.melspectrogram(
            y=samples, sr=settings.sample_rate_hz, n_fft=1024, hop_length=353, n_mels=feature.bins
        )
        matrix = np.log10(10_000 * power + 1)
    else:
        decibels = librosa.power_to_db(
            librosa.feature.melspectrogram(
                y=samples,
                sr=settings.sample_rate_hz,
                n_fft=settings.fft_length,
                hop_length=settings.hop_length,
                n_mels=settings.mel_bins,
            ),
            ref=np.max,
        )
        matrix = decibels
        if feature.name == "mfcc":
            matrix = librosa.feature.mfcc(S=decibels, n_mfcc=feature.bins)
    count = matrix.shape[1] // feature.window_frames
    frames = matrix.T[: count * feature.window_frames]
    return frames.reshape(count, feature.window_frames, feature.bins).astype(np.float32)


def librosa_descriptors(samples: Any, settings: Any) -> Any:
    """Mean and variance of librosa's quantities by window and over the clip, and the tempo.

    Each function is called on the sound, as the published feature tables are made.

    Returns:
      float32 [windows, 1, columns].
    """
    import librosa
    import numpy as np

    sound = {"y": samples, "sr": settings.sample_rate_hz}
    chroma = librosa.feature.chroma_stft(**sound)
    frames = np.vstack(
        [
            chroma,
            librosa.feature.rms(y=samples),
            librosa.feature.spectral_centroid(**sound),
            librosa.feature.spectral_bandwidth(**sound),
            librosa.feature.spectral_rolloff(**sound),
            librosa.feature.zero_crossing_rate(samples),
            librosa.feature.mfcc(**sound, n_mfcc=settings.mfcc_coefficients),
            librosa.feature.spectral_contrast(**sound),
            librosa.feature.tonnetz(chroma=chroma),
            librosa.onset.onset_strength(**sound)[np.newaxis],
        ]
    ).T

    def statistics(rows: Any) -> Any:
        classes = rows[:, : len(chroma)]
        return np.concatenate(
            [rows.mean(axis=0), rows.var(axis=0), [classes.mean(), classes.var()]]
        )

    length = settings.window_frames
    clip = [statistics(frames), librosa.feature.tempo(**sound)]
    windows = [
        np.concatenate([statistics(frames[start : start + length]), *clip])
        for start in range(0, len(frames) - length + 1, length)
    ]
    return np.array(windows, np.float32)[:, np.newaxis]


def kernel_shapes(base_path: str) -> list[tuple[int, ...]]:
    """Shapes of the matrices and kernels in the newest version, sorted."""
    import tensorflow as tf

    from serving.server.versions import list_versions

    _, path = max(list_versions(base_path).items())
    variables = tf.train.list_variables(f"{path}/variables/variables")
    return sorted(
        tuple(shape)
        for name, shape in variables
        if name.startswith("variables/") and len(shape) > 1
    )


def peer(model_name: str, port: int, base_path: str) -> None:
    """Serves POST of a WAV in a Flask handler: librosa features, then a Keras network.

    `/predict` asks it by `model.predict`, as most do, and `/call` by `model(x, training=False)`.
    The network has the architecture of the served one; its weights are untrained, which makes no
    difference to its speed.

    Raises:
      SystemExit: The served network has other layers.
    """
    import io
    import logging

    import flask
    import librosa
    from werkzeug.serving import WSGIRequestHandler

    from components.audio.features import feature as describe
    from components.audio.settings import AudioSettings
    from components.gtzan.genres import GENRES
    from components.trainer.catalog import CATALOG
    from components.trainer.models import build
    from components.trainer.settings import ModelSettings

    settings = AudioSettings()
    feature = describe(CATALOG[model_name].feature, settings)
    model = build(model_name, feature=feature, genre_count=len(GENRES), settings=ModelSettings())
    ours = sorted(tuple(weight.shape) for weight in model.weights if len(weight.shape) > 1)
    if ours != (served := kernel_shapes(base_path)):
        print(
            f"--peer-model {model_name} is not the model that is served: its kernels are {ours}, "
            f"those of {base_path} are {served}",
            flush=True,
        )
        raise SystemExit(1)
    app = flask.Flask("peer")
    WSGIRequestHandler.protocol_version = "HTTP/1.1"  # which keeps connections, as gRPC does
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    flask.cli.show_server_banner = lambda *_: None

    def windows_of_request() -> Any:
        data = io.BytesIO(flask.request.get_data())
        samples, _ = librosa.load(data, sr=settings.sample_rate_hz)
        return librosa_windows(samples, feature, settings)

    def by_genre(probabilities: Any) -> dict[str, float]:
        return dict(zip(GENRES, map(float, probabilities.mean(axis=0)), strict=True))

    @app.post("/predict")
    def predict() -> dict[str, float]:
        return by_genre(model.predict(windows_of_request(), verbose=0))

    @app.post("/call")
    def call() -> dict[str, float]:
        return by_genre(model(windows_of_request(), training=False).numpy())

    print("ready", flush=True)
    app.run(host="127.0.0.1", port=port, threaded=True)


if __name__ == "__main__":
    if sys.argv[1] == "bare":
        bare(sys.argv[2])
    else:
        peer(sys.argv[2], int(sys.argv[3]), sys.argv[4])
