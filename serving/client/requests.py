"""Requests to a served model and what its responses say."""

import dataclasses
from typing import Any

import numpy as np

from components.audio import codec
from components.common.errors import UserError
from serving.client.results import Answer
from serving.client.songs import SETTINGS
from serving.protocol import (
    MODEL_SERVICE,
    PREDICTION_SERVICE,
    decode_tensor,
    encode_tensor,
    message,
    methods,
)

PREDICT = methods(PREDICTION_SERVICE)["Predict"]
STATUS = methods(MODEL_SERVICE)["GetModelStatus"]


@dataclasses.dataclass(frozen=True)
class Target:
    """Whom a request asks.

    Attributes:
      model: Name of the served model.
      version: This version; None for the server's latest.
      label: The version of this label; not together with `version`.
    """

    model: str
    version: int | None = None
    label: str | None = None

    def __post_init__(self) -> None:
        """Refuses a version together with a label.

        Raises:
          UserError: Both are given.
        """
        if self.version is not None and self.label is not None:
            raise UserError(
                "ask for a version or a label, not both. "
                f"Received: {self.version} and {self.label!r}"
            )

    def instead(self, version: int | None, label: str | None) -> "Target":
        """The target of one call that names its own version or label."""
        if version is None and label is None:
            return self
        return Target(self.model, version, label)

    def pinned(self, version: int | None) -> "Target":
        """The same model at one version; this target where it is None."""
        return self if version is None else Target(self.model, version)


@dataclasses.dataclass(frozen=True)
class ServedVersion:
    """A version of the model as the server reports it.

    Attributes:
      number: The version.
      state: "AVAILABLE", "LOADING", "UNLOADING", "END" …
      error: Why it could not be loaded, if so.
    """

    number: int
    state: str
    error: str


def wav_request(target: Target, samples: np.ndarray) -> Any:
    """A PredictRequest of mono samples at 22 050 Hz.

    Songs go as 16-bit WAV: half the bytes of float32 samples, and exactly the samples that
    training saw, since ingest stores 16-bit PCM.
    """
    request = message("PredictRequest")()
    spec = request.model_spec
    spec.name, spec.signature_name = target.model, "classify_wav"
    if target.version is not None:
        spec.version.value = target.version
    if target.label is not None:
        spec.version_label = target.label
    wav = codec.encode_wav(samples, SETTINGS.sample_rate_hz)
    request.inputs["wav"].CopyFrom(encode_tensor([wav]))
    return request


def read_answer(response: Any) -> Answer:
    """What a PredictResponse says of its one sound."""
    outputs = response.outputs
    return Answer(
        model=response.model_spec.name,
        version=response.model_spec.version.value,
        genres=tuple(genre.decode() for genre in decode_tensor(outputs["genres"])[0]),
        probabilities=decode_tensor(outputs["probabilities"])[0],
        window_probabilities=decode_tensor(outputs["window_probabilities"])[0],
        temperature=float(decode_tensor(outputs["temperature"])[0])
        if "temperature" in outputs
        else 1.0,
    )


def status_request(model: str) -> Any:
    """A GetModelStatusRequest about all versions of `model`."""
    request = message("GetModelStatusRequest")()
    request.model_spec.name = model
    return request


def read_versions(response: Any) -> list[ServedVersion]:
    """The versions in a GetModelStatusResponse, the newest first."""
    listed = [
        ServedVersion(
            entry.version,
            type(entry).State.Name(entry.state),
            entry.status.error_message if entry.status.error_code else "",
        )
        for entry in response.model_version_status
    ]
    return sorted(listed, key=lambda entry: entry.number, reverse=True)
