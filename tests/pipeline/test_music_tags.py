"""`gatefold classify --tags`: what a published network hears, over time."""

import json

import numpy as np
import pytest

import gatefold
from pipeline import music_tags


@pytest.mark.parametrize("network", music_tags.NETWORKS)
def test_every_published_variable_is_used(network):
    tagger = music_tags.Tagger(network)
    assert tagger.model.count_params() > 700_000
    heard = tagger.hear(np.zeros(7 * 22_050, np.float32))
    assert heard.shape == (2, 50) and ((heard >= 0) & (heard <= 1)).all()


def test_real_jazz_is_heard_as_jazz_and_a_broken_file_is_named(real_music, tmp_path, capsys):
    (tmp_path / "broken.wav").write_text("no sound")
    song = str(real_music / "genres_original" / "jazz" / "jazz.00000.wav")
    with pytest.raises(SystemExit) as end:
        gatefold.main(["classify", "--tags", str(tmp_path / "broken.wav"), song, "--json"])
    screen = capsys.readouterr()
    answer = json.loads(screen.out)
    assert "jazz" in [*answer["tags"]][:4]
    assert len(answer["over_time"]["jazz"]) == 10
    assert "broken.wav" in screen.err and end.value.code == 1
