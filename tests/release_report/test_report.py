"""The report's files: what is in them, and that nothing in a name or a figure breaks them."""

import base64
import collections
import io
import json
import re

import numpy as np
import pytest
import soundfile
import yaml

from components.release_report import charts, formats, model_card, page, sounds
from components.release_report.evidence import Evidence
from components.release_report.mistakes import worst
from tests.conftest import chord
from tests.release_report.conftest import waive
from tests.release_report.world import AUDIO, GENRES, HOSTILE, MODELS, judge, make_answers

MEGABYTE = 1 << 20


def read(folder, name: str = "index.html") -> str:
    return (folder / name).read_text()


def test_the_report_is_a_page_a_json_and_a_card(released):
    assert {file.name for file in released.iterdir()} == {
        "index.html",
        "ingest.html",
        "report.json",
        "model_card.md",
    }
    content = json.loads(read(released, "report.json"))
    assert content["chosen"] == "musicnn" and content["verdict"].startswith("musicnn may go")
    assert content["models"] == json.loads(
        json.dumps(judge({"ann": ("accuracy", "calibration"), "lstm": ("baseline",)})["models"])
    )


def test_names_are_shown_as_text(released):
    text = read(released)
    assert HOSTILE not in text and "onerror=alert(1)&gt;" in text
    assert "rock &#34;n&#34; roll" in text and "drum &amp; bass" in text
    card = read(released, "model_card.md")
    assert HOSTILE not in card and r"métal\|noir" in card


def test_the_page_is_small_and_holds_no_address(released):
    text = read(released)
    assert len(text.encode()) < 3 * MEGABYTE
    assert not re.search(r"""(?:src|href|url\()\s*=?\s*["']?(?:https?:)?//""", text)
    assert "<script" not in text


def test_the_worst_mistakes_are_heard_and_seen(released):
    text = read(released)
    clean = make_answers("musicnn")
    wrong = int((clean.predictions != clean.labels).sum())
    assert wrong == 3
    sounds = re.findall(r'<audio[^>]* src="data:audio/mpeg;base64,([^"]+)"', text)
    assert len(sounds) == len(re.findall(r'<img alt="Log-mel spectrogram of ', text)) == wrong
    samples, rate = soundfile.read(io.BytesIO(base64.b64decode(sounds[0])))
    assert rate == 22_050 and len(samples) / rate == pytest.approx(12, abs=0.2)
    assert np.abs(samples).max() > 0.05


def test_six_sounds_of_a_whole_clip_leave_the_page_small():
    one = sounds.of_samples(chord(0, AUDIO), AUDIO)
    assert one.seconds == 30
    assert 6 * (len(one.mp3) + len(one.spectrogram)) < 2 * MEGABYTE


def test_the_most_confident_mistake_comes_first():
    clean = make_answers("ann")
    found = worst(clean, GENRES, most=4)
    assert len(found) == 4
    confidences = [mistake.confidence for mistake in found]
    assert confidences == sorted(confidences, reverse=True)
    wrong = clean.predictions != clean.labels
    assert confidences[0] == pytest.approx(clean.probabilities[wrong].max())
    first = found[0]
    assert first.predicted != first.actual
    assert [genre for genre, _ in first.timeline][:2] == [first.predicted, first.actual]
    assert np.mean(first.timeline[0][1]) == pytest.approx(first.confidence, rel=1e-4)


def test_a_track_without_an_answer_is_no_mistake():
    clean = make_answers("ann")
    clean.probabilities[:] = np.nan
    assert worst(clean, GENRES, most=4) == []


def test_the_card_has_front_matter_that_others_read(released):
    _, front, body = read(released, "model_card.md").split("---\n", 2)
    metadata = yaml.safe_load(front)
    assert metadata["pipeline_tag"] == "audio-classification"
    (result,) = metadata["model-index"][0]["results"]
    assert result["dataset"]["name"] == "GTZAN & more"
    accuracy = next(one for one in result["metrics"] if one["name"] == "Accuracy")
    assert accuracy["value"] == pytest.approx(9 / 12)
    for heading in ("Model details", "Model parameters", "Quantitative analysis", "Considerations"):
        assert f"\n## {heading}\n" in body
    assert "/music" not in front + body  # a card leaves this machine
    assert "**Synthetic music**: no" in body and "artist, seed 3" in body and "whole tracks" in body


def test_page_and_card_say_what_a_pretrained_network_may_have_heard(released):
    for name, sentence in (
        ("index.html", "musicnn was pretrained on the Million Song Dataset"),
        (
            "model_card.md",
            r"Pretrained on the Million Song Dataset \(weights: PyPI package",
        ),
    ):
        text = read(released, name)
        assert sentence in text and "ISC" in text and "may hold test tracks" in text
        assert "seen by no training" not in text
    scratch = Evidence(judge({}), "cnn")
    assert "pretrained" not in page.render(scratch, audio=AUDIO)
    assert "trained from random weights" in model_card.render(scratch, audio=AUDIO)


def test_a_judgement_without_figures_still_has_a_page():
    judgement = judge(dict.fromkeys(MODELS, ("accuracy",)))
    for judged in judgement["models"].values():
        empty = {"before": {}, "after": {}, "temperature": None}
        judged |= {"figures": {}, "by_genre": [], "confusion": [], "calibration": empty}
        judged |= {"slices": [], "robustness": [], "against_production": None}
        judged["latency"] = dict.fromkeys(judged["latency"])
        judged["validation"] = {"accuracy": None, "loss": None, "tracks": 0}
    judgement["baseline"] = {"validation": {"accuracy": None, "loss": None, "tracks": 0}}
    text = page.render(Evidence(judgement, None), audio=AUDIO)
    assert "No model is released" in text and "It was not computed, so it fails." in text
    assert ">nan" not in text.lower() and ">None<" not in text


def results(text: str, of: str) -> list[str]:
    """The words of the rows of the page's table of gates, or of the card's."""
    if of == "page":
        table = text.partition('id="gates"')[2].partition("</table>")[0]
        return re.findall(
            r'data-label="result"><span class="mark \w+">.*?</svg>(.*?)</span>', table
        )
    rows = text.partition("### Gates\n")[2].partition("\n\n")[0].splitlines()[2:]
    return [row.split(" | ")[-1].rstrip(" |") for row in rows]


def test_a_gate_that_was_not_judged_or_waived_is_not_called_passed():
    judgement = waive(judge({}))
    rows = judgement["models"]["cnn"]["gates"]
    rows[0]["judged"], rows[2]["passed"] = False, False
    evidence = Evidence(judgement, "cnn")
    words = {"not judged": 1, "waived": 1, "failed": 1, "passed": 4}
    card = model_card.render(evidence, audio=AUDIO)
    for text, of in ((page.render(evidence, audio=AUDIO), "page"), (card, "card")):
        assert collections.Counter(results(text, of)) == words


def test_a_gate_that_was_opened_says_so():
    loosened = [
        {"gate": "min_accuracy", "value": 0.0, "default": 0.5},
        {"gate": "robustness.mp3_64k.max_drop", "value": 1.0, "default": 0.05},
    ]
    evidence = Evidence(judge({}, loosened=loosened), "cnn")
    text = page.render(evidence, audio=AUDIO)
    assert (
        "<b>Gate loosened:</b> min_accuracy is 0 (default 0.5); "
        "robustness.mp3_64k.max_drop is 1 (default 0.05)."
    ) in text.partition("<main>")[0]
    card = model_card.render(evidence, audio=AUDIO)
    assert r"**Looser than the default**: min\_accuracy is 0 \(default 0.5\)" in card


def test_production_s_own_figures_are_a_row_of_the_table_of_models(released):
    table = read(released).partition('id="models"')[2].partition("</table>")[0]
    row = table.partition("production, version 1795")[2].partition("</tr>")[0]
    accuracy = judge({})["production"]["figures"]["accuracy"]["value"]
    assert formats.percent(accuracy) in row and "it was trained on 1 more" in row


def test_failed_gates_come_first():
    text = page.render(Evidence(judge({"cnn": ("latency",)}), "cnn"), audio=AUDIO)
    table = text.partition('id="gates"')[2].partition("</table>")[0]
    assert table.index("Time of an answer") < table.index("Accuracy on the test split")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.12345, "0.123"),
        (-0.5, "−0.5"),
        (0, "0"),
        (2.4e-8, "<0.0001"),
        (-2.4e-8, ">−0.0001"),
        (4096, "4096"),
        (None, "–"),
    ],
)
def test_figures_have_three_digits_and_a_real_minus(value, text):
    assert formats.number(value) == text


def test_the_page_says_what_the_run_was_made_of(released):
    text = read(released)
    for part in ("c9e6de4a1b2c", "tensorflow", "split seed", "17 pairs", "not audio"):
        assert part in text
    made = text.partition('id="making"')[2]
    assert "--config gatefold.yaml" in made and "split: artist" in made
    assert "<dt>epochs</dt><dd>12</dd><dt>model · weights</dt><dd>msd</dd></dl>" in made
    assert 'href="ingest.html"' in text
    anchors = re.findall(r'<a href="#(\w+)"', text)
    assert {"slices", "serving"} <= set(anchors)
    assert all(f'id="{anchor}"' in text for anchor in anchors)
    assert "synthetic music" not in text


@pytest.mark.parametrize(
    ("against", "production", "expected"),
    [
        (None, {"version": None, "note": "nothing is in production yet"}, "Nothing is in pro"),
        ({"same_model": True, "tracks": 0}, {}, "cnn is, file by file, the model in"),
        ({"tracks": 0, "note": "not compared: it knows other genres"}, {}, "Not comp"),
    ],
)
def test_a_run_without_a_comparison_says_why(against, production, expected):
    judgement = judge({})
    judgement["production"] |= production
    judgement["models"]["cnn"]["against_production"] = against
    text = page.render(Evidence(judgement, "cnn"), audio=AUDIO)
    part = text.partition('id="production"')[2].partition("<h2")[0]
    assert expected in part and "McNemar" not in part


def test_synthetic_music_is_named_at_the_top():
    judgement = judge({})
    judgement["release"]["synthetic"] = True
    text = page.render(Evidence(judgement, "cnn"), audio=AUDIO)
    assert "Trained on synthetic music" in text.partition("<main>")[0]


def test_a_bar_is_as_long_as_its_figure():
    drawn = charts.bar(0.25, [0.1, 0.5], mark=0.8)
    assert 'class="bar-value" width="25.0%"' in drawn
    assert 'class="whisker" x1="10.0%" x2="50.0%"' in drawn
    assert 'class="reference" x1="80.0%"' in drawn


def test_points_of_the_reliability_diagram_are_where_their_figures_are():
    one = {"confidence": 0.5, "accuracy": 1.0, "tracks": 4}
    drawn = charts.reliability({"before": {}, "after": {"bins": [one]}}, label="x")
    assert 'class="dot-after" cx="195.0" cy="10.0"' in drawn
    assert "dot-before" not in drawn
