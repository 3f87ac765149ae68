"""The page's parts without a browser: pictures, the player, bars, text, and its flags."""

import io
import json
import pathlib

import librosa
import numpy as np
import pytest
import soundfile
from PIL import Image
from streamlit.testing.v1 import AppTest

from components.audio import codec
from serving.app import build_parser
from serving.client.colours import genre_colours
from serving.page.song_view import genre_bars, player_html
from serving.page.sound import SoundPicture, draw_sound, note_heights, playable
from tests.serving.test_tables import prediction
from tests.serving.tone_model import SETTINGS, tone

GENRES = ("Schlager für Zwölf", "[b]K-Pop[/b] </script>", "a & b", "D")


def test_picture_shows_a_tone_where_it_is_and_has_no_seams() -> None:
    sound = np.concatenate([tone("disco", seconds=40), 0.5 * tone("jazz", seconds=40)])
    picture = draw_sound(codec.encode_wav(sound, SETTINGS.sample_rate_hz), "a.wav", SETTINGS)
    assert picture.duration_seconds == 80
    frequencies = librosa.mel_frequencies(n_mels=SETTINGS.mel_bins, fmax=11_025, htk=True)
    image = np.asarray(Image.open(io.BytesIO(picture.spectrogram_png)))
    brightest = SETTINGS.mel_bins - 1 - image.argmax(axis=0)
    middle = len(brightest) // 2
    for bands, hertz in ((brightest[2 : middle - 3], 2800), (brightest[middle + 3 : -3], 4400)):
        assert frequencies[bands.min() - 2] < hertz < frequencies[bands.max() + 2]
        assert bands.max() - bands.min() <= 1
    # A clip's edge is a click where frames do not see beyond it: energy in the highest bands.
    assert not (image[:40, 2 : middle - 3] > 0).any()
    np.testing.assert_allclose(picture.peaks, np.repeat([1.0, 0.5], 400), atol=0.02)


def test_notes_of_the_axis_keep_apart_and_stand_where_they_sound() -> None:
    notes = note_heights(SETTINGS)
    assert len(notes) >= 5
    assert np.diff([height for _, height in notes]).min() >= 0.085  # 17 pixels; a label is 14 high
    frequencies = librosa.mel_frequencies(n_mels=SETTINGS.mel_bins, fmax=11_025, htk=True)
    for name, height in notes:
        row = height * SETTINGS.mel_bins - 0.5
        hertz = np.interp(row, np.arange(SETTINGS.mel_bins), frequencies)
        assert hertz == pytest.approx(librosa.note_to_hz(name), rel=0.01)


def test_browser_gets_a_format_that_it_plays() -> None:
    samples = tone("pop")
    assert playable(b"ID3", "a.MP3", SETTINGS) == (b"ID3", "audio/mpeg")
    file = io.BytesIO()
    soundfile.write(file, np.stack([samples, samples], 1), 22_050, format="AU", subtype="PCM_16")
    encoded, kind = playable(file.getvalue(), "a.au", SETTINGS)
    assert kind == "audio/flac"
    decoded, rate = soundfile.read(io.BytesIO(encoded))
    assert rate == 22_050
    np.testing.assert_allclose(decoded, samples, atol=2e-4)


def test_player_carries_any_name_safely() -> None:
    made = prediction(GENRES, [0.1, 0.6, 0.2, 0.1], name="</script><!-- x.wav")
    picture = SoundPicture(12.0, (0.5, 1.0), b"png")
    page = player_html("media/x.wav", picture, made, genre_colours(GENRES), SETTINGS)
    text = page.split("const data = ")[1].split(";\nconst sound")[0]
    assert "<" not in text and page.count("</script>") == 1
    data = json.loads(text)
    assert {window["genre"] for window in data["windows"]} == {GENRES[1]}
    assert data["order"][:2] == [GENRES[1], GENRES[2]]
    assert set(data["windows"][0]["all"]) == set(data["colours"]) == set(GENRES)


def test_bars_show_any_genres_likeliest_on_top() -> None:
    many = [f"genre number {index} with a name that does not end" for index in range(40)]
    figure = genre_bars(prediction(many, np.linspace(0, 0.05, 40)), genre_colours(many))
    assert len(figure.data[0].x) == 12
    assert figure.data[0].customdata[-1] == many[39]
    figure = genre_bars(prediction(GENRES, [0.1, 0.6, 0.2, 0.1]), genre_colours(GENRES))
    assert figure.layout.yaxis.ticktext[-1] == "[b]K-Pop[/b] &lt;/script&gt;"
    assert figure.layout.yaxis.ticktext[-2] == "a &amp; b"


@pytest.mark.parametrize(
    ("host", "kind"),
    [("localhost", "text_input"), ("::", "selectbox")],
)
def test_visitors_from_a_network_may_only_choose_among_the_servers_named_at_the_start(
    host: str, kind: str
) -> None:
    def page(flags: list[str]) -> None:
        from serving.app import build_parser
        from serving.page.models import choose_model

        choose_model(build_parser().parse_args(flags))

    flags = ["--host", host, "--server", "localhost:1", "localhost:2"]
    shown = AppTest.from_function(page, kwargs={"flags": flags}, default_timeout=60).run()
    assert not shown.exception and len(shown.error) == 1  # none answers
    (server,) = (widget for widget in shown.get(kind) if widget.label == "Server")
    assert server.value == "localhost:1"
    assert getattr(server, "options", None) in (None, ["localhost:1", "localhost:2"])
    other = {"text_input", "selectbox"} - {kind}
    assert "Server" not in [widget.label for name in other for widget in shown.get(name)]


def test_flags_say_where_the_page_listens() -> None:
    parsed = build_parser().parse_args(["--host", "0.0.0.0", "--port", "9000", "--tls-ca", "x.pem"])
    assert (parsed.host, parsed.port, parsed.tls_ca) == ("0.0.0.0", 9000, pathlib.Path("x.pem"))
    assert build_parser().parse_args([]).host == "127.0.0.1"
    with pytest.raises(SystemExit):
        build_parser().parse_args(["--port", "0"])
