import pytest

from components.gtzan import layout
from components.gtzan.genres import GENRES


@pytest.mark.parametrize("folder", ["hiphop", "Hip-Hop", "hip hop", "HIP_HOP"])
def test_a_genre_is_found_however_its_folder_is_written(folder):
    assert layout.genre_of_folder(folder, GENRES) == "hiphop"


@pytest.mark.parametrize("folder", ["polka", "", "images_original", "bluesrock"])
def test_other_folders_are_no_genre(folder):
    assert layout.genre_of_folder(folder, GENRES) is None


def test_equal_file_names_in_two_genres_are_two_tracks():
    assert layout.track_id("blues", "blues.00000.wav") == "blues.00000"
    assert layout.track_id("blues", "01.mp3") == "blues.01"
    assert layout.track_id("rock", "01.mp3") == "rock.01"


@pytest.mark.parametrize(
    "line", ["blues/blues.00012.wav", r"blues\blues.00012.au", "blues.00012.wav"]
)
def test_published_lists_and_folders_name_a_track_alike(line):
    assert layout.listed_track_id(line) == layout.track_id("blues", "blues.00012.wav")


def test_files_of_the_operating_system_are_hidden():
    assert layout.is_hidden("blues/._blues.00000.wav") and layout.is_hidden(".cache/a.wav")
    assert not layout.is_hidden("blues/blues.00000.wav")
