"""What is checked of a served candidate."""

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


@dataclasses.dataclass(frozen=True)
class Check:
    """One thing that was checked.

    Attributes:
      name: A short name.
      passed: Whether it is as it must be.
      figure: What was measured; None where nothing was.
      threshold: The most (or least) that it may be; None where there is none.
      detail: One sentence.
    """

    name: str
    passed: bool
    figure: float | None
    threshold: float | None
    detail: str


class Caller(Protocol):
    """A `GrpcCaller` or a `RestCaller`."""

    protocol: str

    def call(self, signature: str, inputs: Mapping[str, np.ndarray]) -> Arrays:
        """Calls a signature."""


class Findings:
    """The checks of a candidate as they come in, and what was measured."""

    def __init__(self) -> None:
        """Nothing was checked yet."""
        self.checks: list[Check] = []
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
        """Adds a check; a figure that is no number fails."""
        if figure is not None and not math.isfinite(figure):
            figure, passed = None, False
        self.checks.append(Check(name, bool(passed), figure, threshold, detail))

    def report(self) -> dict[str, Any]:
        """The content of `serving_check.json`."""
        served, bare = _percentiles(self.served_seconds), _percentiles(self.bare_seconds)
        ratio = served["p95"] / bare["p95"] if served["p95"] and bare["p95"] else None
        return {
            "passed": bool(self.checks) and all(check.passed for check in self.checks),
            "checks": [dataclasses.asdict(check) for check in self.checks],
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
            _check_served(server, model, tracks, answers, settings, findings)
            if ended := server.ended():
                findings.add("stays up", False, f"{ended} while it was asked")
    except Exception as error:  # a candidate may break anything, and must not break the run
        _LOG.exception("the serving check of %s failed", model)
        findings.add("completed", False, f"the check ended early: {_first_line(error)}")
    return findings.report()


def _check_served(
    server: CandidateServer,
    model: str,
    tracks: Sequence[Track],
    answers: TrackAnswers,
    settings: ServingCheckSettings,
    findings: Findings,
) -> None:
    try:
        bare = BareModel(model)  # while the server starts
    except Exception as error:
        findings.add("loads", False, f"the SavedModel cannot be loaded: {_first_line(error)}")
        return
    try:
        try:
            server.wait(settings.start_seconds)
        except StartError as error:
            findings.add("starts", False, str(error))
            return
        seconds = server.start_seconds
        findings.add("starts", True, f"it served after {seconds:.1f} s", figure=seconds)
        _check_signatures(bare, findings)
        _check_warmup(server, model, findings)
        rest = RestCaller(
            server.host,
            server.rest_port,
            model=settings.model_name,
            timeout_seconds=settings.call_seconds,
        )
        with GrpcCaller(
            server.host,
            server.port,
            model=settings.model_name,
            timeout_seconds=settings.call_seconds,
        ) as caller:
            present = [name for name in (*PUBLIC_SIGNATURES, AT_RATE) if name in bare.signatures]
            for signature in present:
                # Every track over gRPC, as sound; one in every other way.
                some = tracks if signature == _TIMED_SIGNATURE else tracks[:1]
                _check_answers(caller, signature, some, answers, settings, findings)
                _check_answers(rest, signature, tracks[:1], answers, settings, findings)
            for signature in sorted(bare.signatures.keys() - set(present)):
                for other in (caller, rest):
                    _check_other(other, bare, signature, tracks[0], settings, findings)
            if _TIMED_SIGNATURE in present:
                _check_refusal(caller, tracks[0], findings)
                if all(check.passed for check in findings.checks):
                    _measure(caller, bare, tracks, settings, findings)
        _check_latency(findings, settings)
        _check_memory(server, findings, settings)
    finally:
        bare.close()


def _check_signatures(bare: BareModel, findings: Findings) -> None:
    missing = [name for name in PUBLIC_SIGNATURES if name not in bare.signatures]
    text = f"it lacks {', '.join(missing)}" if missing else f"it has {', '.join(bare.signatures)}"
    findings.add("signatures", not missing, text)


def _check_warmup(server: CandidateServer, model: str, findings: Findings) -> None:
    if not tf.io.gfile.exists(f"{model}/{_WARMUP_FILE}"):
        findings.add("warmup", False, f"{_WARMUP_FILE} is missing: the first caller would wait")
        return
    count = server.warmup_requests or 0
    text = f"the server replayed {count} warmup requests"
    findings.add("warmup", count > 0, text, figure=count, threshold=1)


def _check_answers(
    caller: Caller,
    signature: str,
    tracks: Sequence[Track],
    answers: TrackAnswers,
    settings: ServingCheckSettings,
    findings: Findings,
) -> None:
    """Compares what is served for tracks with what was evaluated."""
    name = f"answers of {signature} by {caller.protocol}"
    rows = {track_id: index for index, track_id in enumerate(answers.track_ids)}
    worst = 0.0
    for track in tracks:
        expected = answers.probabilities[rows[track.track_id]]
        inputs = track.inputs(signature, sample_rate_hz=settings.sample_rate_hz)
        findings.requests += 1
        try:
            served = caller.call(signature, inputs)
        except CallError as error:
            findings.add(name, False, f"{track.track_id}: {error}")
            return
        probabilities = np.asarray(served.get("probabilities", []))
        if probabilities.shape != (1, len(expected)):
            findings.add(name, False, f"probabilities have the shape {probabilities.shape}")
            return
        if not np.isfinite(probabilities.astype(np.float64)).all():
            findings.add(name, False, f"{track.track_id}: a probability is no number")
            return
        worst = max(worst, float(np.abs(probabilities[0] - expected).max()))
    findings.add(
        name,
        worst <= settings.tolerance,
        f"at most {worst:.1e} from the evaluated probabilities of {len(tracks)} tracks",
        figure=worst,
        threshold=settings.tolerance,
    )


def _check_other(
    caller: Caller,
    bare: BareModel,
    signature: str,
    track: Track,
    settings: ServingCheckSettings,
    findings: Findings,
) -> None:
    """Compares a signature that no evaluation used with the bare call."""
    name = f"answers of {signature} by {caller.protocol}"
    definition = bare.signatures[signature]
    kinds = [info.dtype for info in definition.inputs.values()]
    if kinds != [tf.string.as_datatype_enum]:
        findings.add(name, False, "it takes something other than examples: nothing could be asked")
        return
    inputs = {next(iter(definition.inputs)): np.array([track.example], dtype=object)}
    findings.requests += 1
    try:
        served = caller.call(signature, inputs)
    except CallError as error:
        findings.add(name, False, str(error))
        return
    expected = bare.call(signature, inputs)
    if len(expected) == 1:  # which REST does not name
        served = dict(zip(expected, served.values(), strict=False))
    worst = max(_difference(served.get(output), expected[output]) for output in expected)
    text = f"at most {worst:.1e} from the bare call's"
    findings.add(
        name, worst <= settings.tolerance, text, figure=worst, threshold=settings.tolerance
    )


def _check_refusal(caller: Caller, track: Track, findings: Findings) -> None:
    """Sound with NaN must be refused, and not answered."""
    broken = track.audio.copy()
    broken[len(broken) // 2] = np.nan
    findings.requests += 1
    try:
        caller.call(_TIMED_SIGNATURE, {"audio": broken[np.newaxis]})
    except CallError as error:
        refused = str(error).startswith("INVALID_ARGUMENT")
        findings.add("refuses NaN", refused, f"sound with NaN: {error}")
    else:
        findings.add("refuses NaN", False, "sound with NaN was answered")


def _measure(
    caller: Caller,
    bare: BareModel,
    tracks: Sequence[Track],
    settings: ServingCheckSettings,
    findings: Findings,
) -> None:
    """Times served and bare calls in turn, so that both meet the same machine."""
    inputs = [{"audio": track.audio[np.newaxis]} for track in tracks]
    for sound in {sound["audio"].shape: sound for sound in inputs}.values():
        bare.call(_TIMED_SIGNATURE, sound)  # the first call of a length prepares it
    end = time.monotonic() + settings.seconds
    for number in range(settings.pairs):
        if number >= len(inputs) and time.monotonic() > end:
            break
        sound = inputs[number % len(inputs)]
        findings.bare_seconds.append(_seconds(bare.call, sound))
        findings.served_seconds.append(_seconds(caller.call, sound))
        findings.requests += 1


def _check_latency(findings: Findings, settings: ServingCheckSettings) -> None:
    report = findings.report()
    served, ratio = report["latency_ms"]["p95"], report["ratio_p95"]
    if served is None or ratio is None:
        findings.add("latency", False, "no time was measured, because a check before it failed")
        return
    count = len(findings.served_seconds)
    limit = settings.max_latency_ratio
    findings.add(
        "latency ratio",
        limit is None or ratio <= limit,
        f"the served call's 95th percentile is {ratio:.2f} times the bare call's ({count} calls)",
        figure=ratio,
        threshold=limit,
    )
    limit = settings.max_latency_seconds
    findings.add(
        "latency",
        limit is None or served / 1000 <= limit,
        f"95 % of {count} served calls took at most {served:.0f} ms",
        figure=served / 1000,
        threshold=limit,
    )


def _check_memory(
    server: CandidateServer, findings: Findings, settings: ServingCheckSettings
) -> None:
    findings.memory_bytes = server.peak_memory_bytes()
    limit = settings.max_memory_mib
    if findings.memory_bytes is None:
        text = "this system does not say how much memory the server took"
        findings.add("memory", limit is None, text, threshold=limit)
        return
    taken = findings.memory_bytes / (1 << 20)
    text = f"the server took {taken:.0f} MiB at most"
    findings.add("memory", limit is None or taken <= limit, text, figure=taken, threshold=limit)


def _seconds(call: Callable[[str, Arrays], Arrays], inputs: Arrays) -> float:
    start = time.perf_counter()
    call(_TIMED_SIGNATURE, inputs)
    return time.perf_counter() - start


def _difference(served: np.ndarray | None, expected: np.ndarray) -> float:
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
