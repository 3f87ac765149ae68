"""What is checked of a served candidate."""

import contextlib
import dataclasses
import logging
import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import tensorflow as tf

from components.common.answers import TrackAnswers
from components.serving_check.calls import Arrays, BareModel, CallError, GrpcCaller, RestCaller
from components.serving_check.candidate_server import CandidateServer, StartError, serve
from components.serving_check.settings import ServingCheckSettings
from components.serving_check.tracks import AT_RATE, PUBLIC_SIGNATURES, Track

_LOG = logging.getLogger(__name__)
_WARMUP_FILE = "assets.extra/tf_serving_warmup_requests"
_TIMED_SIGNATURE = "classify_audio"


class Caller(Protocol):
    """A `GrpcCaller`, a `RestCaller` or a `BareModel`."""

    protocol: str

    def call(self, signature: str, inputs: Mapping[str, np.ndarray]) -> Arrays:
        """Calls a signature."""


class Findings:
    """The checks of a candidate as they come in, and what was measured."""

    def __init__(self) -> None:
        """Nothing was checked yet."""
        self.checks: list[dict[str, Any]] = []
        self.requests = 0
        self.served_seconds: list[float] = []
        self.bare_seconds: list[float] = []
        self.memory_bytes: int | None = None

    def add(
        self,
        name: str,
        passed: bool,
        detail: str,
        *,
        figure: float | None = None,
        threshold: float | None = None,
    ) -> None:
        """Adds a check; a figure that is no number fails.

        Args:
          name: A short name.
          passed: Whether it is as it must be.
          detail: One sentence.
          figure: What was measured; None where nothing was.
          threshold: The most (or least) that it may be; None where there is none.
        """
        if figure is not None and not math.isfinite(figure):
            figure, passed = None, False
        self.checks.append(
            {
                "name": name,
                "passed": bool(passed),
                "figure": figure,
                "threshold": threshold,
                "detail": detail,
            }
        )

    def add_limit(self, name: str, figure: float, limit: float | None, detail: str) -> None:
        """Adds a check of a figure that may be at most `limit`."""
        passed = limit is None or figure <= limit
        self.add(name, passed, detail, figure=figure, threshold=limit)

    @property
    def passed(self) -> bool:
        """Whether there is a check, and all passed."""
        return bool(self.checks) and all(check["passed"] for check in self.checks)

    def report(self) -> dict[str, Any]:
        """The content of `serving_check.json`."""
        served, bare = _percentiles(self.served_seconds), _percentiles(self.bare_seconds)
        ratio = served["p95"] / bare["p95"] if served["p95"] and bare["p95"] else None
        return {
            "passed": self.passed,
            "checks": self.checks,
            "latency_ms": served,
            "bare_ms": bare,
            "ratio_p95": ratio,
            "memory_bytes": self.memory_bytes,
            "requests": self.requests,
        }


def check_candidate(
    model: str,
    tracks: Sequence[Track],
    answers: TrackAnswers,
    settings: ServingCheckSettings,
) -> dict[str, Any]:
    """Serves a candidate and checks it.

    Args:
      model: Folder of its SavedModel.
      tracks: Test tracks with an answer.
      answers: The evaluated answers.
      settings: What is asked, and the limits.

    Returns:
      The content of `serving_check.json`. A candidate that cannot be served, or any error on the
      way, is a check that failed.
    """
    findings = Findings()
    if not tracks:
        findings.add("tracks", False, "there is no test track with an evaluated answer to ask for")
        return findings.report()
    try:
        with serve(model, name=settings.model_name) as server:
            _check_served(server, model, Asking(tracks, answers, settings, findings))
            if ended := server.ended():
                findings.add("stays up", False, f"{ended} while it was asked")
    except Exception as error:  # a candidate may break anything, and must not break the run
        _LOG.exception("the serving check of %s failed", model)
        findings.add("completed", False, f"the check ended early: {_first_line(error)}")
    return findings.report()


def _check_served(server: CandidateServer, model: str, asking: "Asking") -> None:
    findings, settings = asking.findings, asking.settings
    try:
        bare = BareModel(model)  # while the server starts
    except Exception as error:
        findings.add("loads", False, f"the SavedModel cannot be loaded: {_first_line(error)}")
        return
    with contextlib.closing(bare):
        try:
            server.wait(settings.start_seconds)
        except StartError as error:
            findings.add("starts", False, str(error))
            return
        seconds = server.start_seconds
        findings.add("starts", True, f"it served after {seconds:.1f} s", figure=seconds)
        check_signatures(bare, findings)
        check_warmup(server.warmup_requests, model, findings)
        rest = RestCaller(server.host, server.rest_port, settings)
        with contextlib.closing(GrpcCaller(server.host, server.port, settings)) as caller:
            for signature in sorted(bare.signatures):
                for each in (caller, rest):
                    if signature in (*PUBLIC_SIGNATURES, AT_RATE):
                        # Every track over gRPC, as sound; one in every other way.
                        every = signature == _TIMED_SIGNATURE and each is caller
                        asking.check_answers(each, signature, None if every else 1)
                    else:
                        asking.check_other(each, bare, signature)
            if _TIMED_SIGNATURE in bare.signatures:
                asking.check_refusal(caller)
                if findings.passed:
                    asking.measure(caller, bare)
        check_latency(findings, settings)
        findings.memory_bytes = server.peak_memory_bytes()
        check_memory(findings, settings)


def check_signatures(bare: BareModel, findings: Findings) -> None:
    """Checks that the candidate has every public signature."""
    missing = [name for name in PUBLIC_SIGNATURES if name not in bare.signatures]
    text = f"it lacks {', '.join(missing)}" if missing else f"it has {', '.join(bare.signatures)}"
    findings.add("signatures", not missing, text)


def check_warmup(replayed: int, model: str, findings: Findings) -> None:
    """Checks that the candidate has warmup requests and that the server replayed them."""
    if not tf.io.gfile.exists(f"{model}/{_WARMUP_FILE}"):
        findings.add("warmup", False, f"{_WARMUP_FILE} is missing: the first caller would wait")
        return
    text = f"the server replayed {replayed} warmup requests"
    findings.add("warmup", replayed > 0, text, figure=replayed, threshold=1)


@dataclasses.dataclass
class Asking:
    """Asks a candidate about tracks.

    Attributes:
      tracks: The tracks.
      answers: Their evaluated answers.
      settings: What is asked, and the limits.
      findings: What is found.
    """

    tracks: Sequence[Track]
    answers: TrackAnswers
    settings: ServingCheckSettings
    findings: Findings

    def check_answers(self, caller: Caller, signature: str, most: int | None = None) -> None:
        """Compares what is served for tracks (the first `most`) with what was evaluated."""
        name = f"answers of {signature} by {caller.protocol}"
        rows = {track_id: index for index, track_id in enumerate(self.answers.track_ids)}
        worst = 0.0
        for track in self.tracks[:most]:
            expected = self.answers.probabilities[rows[track.track_id]]
            self.findings.requests += 1
            try:
                served = caller.call(
                    signature,
                    track.inputs(signature, sample_rate_hz=self.settings.sample_rate_hz),
                )
            except CallError as error:
                self.findings.add(name, False, f"{track.track_id}: {error}")
                return
            probabilities = np.asarray(served.get("probabilities", []))
            if probabilities.shape != (1, len(expected)):
                shape = probabilities.shape
                self.findings.add(name, False, f"probabilities have the shape {shape}")
                return
            if not np.isfinite(probabilities.astype(np.float64)).all():
                text = f"{track.track_id}: a probability is no number"
                self.findings.add(name, False, text)
                return
            worst = max(worst, float(np.abs(probabilities[0] - expected).max()))
        count = len(self.tracks[:most])
        text = f"at most {worst:.1e} from the evaluated probabilities of {count} tracks"
        self.findings.add_limit(name, worst, self.settings.tolerance, text)

    def check_other(self, caller: Caller, bare: BareModel, signature: str) -> None:
        """Compares a signature that no evaluation used with the bare call."""
        name = f"answers of {signature} by {caller.protocol}"
        inputs = bare.signatures[signature].inputs
        if [info.dtype for info in inputs.values()] != [tf.string.as_datatype_enum]:
            text = "it takes something other than examples: nothing could be asked"
            self.findings.add(name, False, text)
            return
        example = {next(iter(inputs)): np.array([self.tracks[0].example], dtype=object)}
        self.findings.requests += 1
        try:
            served = caller.call(signature, example)
        except CallError as error:
            self.findings.add(name, False, str(error))
            return
        expected = bare.call(signature, example)
        if len(expected) == 1:  # which REST does not name
            served = dict(zip(expected, served.values(), strict=False))
        worst = max(difference(served.get(output), expected[output]) for output in expected)
        text = f"at most {worst:.1e} from the bare call's"
        self.findings.add_limit(name, worst, self.settings.tolerance, text)

    def check_refusal(self, caller: Caller) -> None:
        """Sound with NaN must be refused, and not answered."""
        broken = self.tracks[0].audio.copy()
        broken[len(broken) // 2] = np.nan
        self.findings.requests += 1
        try:
            caller.call(_TIMED_SIGNATURE, {"audio": broken[np.newaxis]})
        except CallError as error:
            refused = str(error).startswith("INVALID_ARGUMENT")
            self.findings.add("refuses NaN", refused, f"sound with NaN: {error}")
        else:
            self.findings.add("refuses NaN", False, "sound with NaN was answered")

    def measure(self, caller: Caller, bare: BareModel) -> None:
        """Times served and bare calls in turn, so that both meet the same machine."""
        inputs = [{"audio": track.audio[np.newaxis]} for track in self.tracks]
        for sound in {sound["audio"].shape: sound for sound in inputs}.values():
            bare.call(_TIMED_SIGNATURE, sound)  # the first call of a length prepares it
        end = time.monotonic() + self.settings.seconds
        for number in range(self.settings.pairs):
            if number >= len(inputs) and time.monotonic() > end:
                break
            sound = inputs[number % len(inputs)]
            self.findings.bare_seconds.append(_seconds(bare.call, sound))
            self.findings.served_seconds.append(_seconds(caller.call, sound))
            self.findings.requests += 1


def check_latency(findings: Findings, settings: ServingCheckSettings) -> None:
    """Holds the measured times to the limits."""
    report = findings.report()
    served, ratio = report["latency_ms"]["p95"], report["ratio_p95"]
    if served is None or ratio is None:
        findings.add("latency", False, "no time was measured, because a check before it failed")
        return
    count = len(findings.served_seconds)
    text = f"the served call's 95th percentile is {ratio:.2f} times the bare call's ({count} calls)"
    findings.add_limit("latency ratio", ratio, settings.max_latency_ratio, text)
    text = f"95 % of {count} served calls took at most {served:.0f} ms"
    findings.add_limit("latency", served / 1000, settings.max_latency_seconds, text)


def check_memory(findings: Findings, settings: ServingCheckSettings) -> None:
    """Holds the measured memory to the limit."""
    limit = settings.max_memory_mib
    if findings.memory_bytes is None:
        text = "this system does not say how much memory the server took"
        findings.add("memory", limit is None, text, threshold=limit)
        return
    mebibytes = findings.memory_bytes / (1 << 20)
    text = f"the server took {mebibytes:.0f} MiB at most"
    findings.add_limit("memory", mebibytes, limit, text)


def _seconds(call: Callable[[str, Arrays], Arrays], inputs: Arrays) -> float:
    start = time.perf_counter()
    call(_TIMED_SIGNATURE, inputs)
    return time.perf_counter() - start


def difference(served: np.ndarray | None, expected: np.ndarray) -> float:
    """The largest difference of numbers, or 0 or 1 for texts; infinite for another shape.

    Relative where a number is above 1: descriptors have units (a variance of a roll-off, in Hz²,
    is millions), and float32 holds seven digits of them.
    """
    if served is None or served.shape != expected.shape:
        return math.inf
    if not np.issubdtype(expected.dtype, np.number):
        return float(not np.array_equal(served, expected))
    if not np.issubdtype(served.dtype, np.number):
        return math.inf
    scale = np.maximum(np.abs(expected), 1.0)
    return float((np.abs(served - expected) / scale).max(initial=0.0))


def _percentiles(seconds: Sequence[float]) -> dict[str, float | None]:
    if not seconds:
        return {"p50": None, "p95": None}
    median, high = np.percentile(seconds, [50, 95]) * 1000
    return {"p50": float(median), "p95": float(high)}


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0][:300] if lines else 'no reason given'}"
