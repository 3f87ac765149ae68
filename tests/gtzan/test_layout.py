import unicodedata

import pytest

from components.gtzan import layout
from components.gtzan.genres import GENRES
from components.gtzan.layout import GenreError


@pytest.mark.parametrize("folder", ["hiphop", "Hip-Hop", "hip hop", "HIP_HOP", "hip.hop"])
def test_a_genre_is_found_however_its_folder_is_written(folder):
    assert layout.genre_of_folder(folder, GENRES) == "hiphop"


@pytest.mark.parametrize("folder", ["polka", "", "images_original", "bluesrock", "!!!", "pop!"])
def test_other_folders_are_not_genres(folder):
    assert layout.genre_of_folder(folder, GENRES) is None


# Names that lose what tells them apart where only letters and digits are looked at.
OTHERS = (
    "R&B",
    "RnB",
    "RB",
    "!!!",
    "???",
    "C",
    "C#",
    "新 音",
    "新 曲",
    "हिंदी",
    "हंद",
    "Žižkov",
    "😀",
)


@pytest.mark.parametrize("name", OTHERS)
def test_names_of_any_alphabet_are_told_apart(name):
    assert layout.genre_of_folder(name, OTHERS) == name
    assert layout.genre_of_folder(name, [one for one in OTHERS if one != name]) is None
    layout.check_names(OTHERS)


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_unicode_s_normal_forms_make_no_difference(form):
    assert layout.genre_of_folder(unicodedata.normalize(form, "MÄRZ Müsik"), ["märz müsik"])
    assert layout.track_id("a", unicodedata.normalize(form, "Öl.mp3")) == "a.\u00d6l"


@pytest.mark.parametrize(
    ("genre", "path", "track_id"),
    [
        ("blues", "blues.00000.wav", "blues.00000"),
        ("blues", "01.mp3", "blues.01"),
        ("rock", "01.mp3", "rock.01"),
        ("rock", "Band/Album 1/01.mp3", "rock.Band/Album 1/01"),
        ("rock", "Band/Album 2/01.mp3", "rock.Band/Album 2/01"),
        ("rock", "rock.1/01.mp3", "rock.1/01"),
    ],
)
def test_equal_file_names_in_two_genres_or_albums_are_two_tracks(genre, path, track_id):
    assert layout.track_id(genre, path) == track_id


@pytest.mark.parametrize(
    "line", ["blues/blues.00012.wav", r"blues\blues.00012.au", "blues.00012.wav"]
)
def test_published_lists_and_folders_name_a_track_alike(line):
    assert layout.listed_track_id(line) == layout.track_id("blues", "blues.00012.wav")
    assert layout.listed_track_id(line, GENRES) == layout.track_id("blues", "blues.00012.wav")


@pytest.mark.parametrize("line", ["Hip-Hop/Album/01.mp3", "genres_original/hip hop/Album/01.mp3"])
def test_a_list_names_tracks_in_albums_too(line):
    assert layout.listed_track_id(line, GENRES) == layout.track_id("hiphop", "Album/01.mp3")


def test_files_of_the_operating_system_are_hidden():
    assert layout.is_hidden("blues/._blues.00000.wav") and layout.is_hidden(".cache/a.wav")
    assert not layout.is_hidden("blues/blues.00000.wav")


def test_a_name_that_is_not_utf8_can_be_printed():
    path = b"blues/caf\xe9\n.wav".decode("utf-8", "surrogateescape")
    assert not layout.is_text(path)
    assert layout.printable(path) == r"blues/caf\xe9\n.wav"
    assert layout.printable("köln/新 [live].mp3") == "köln/新 [live].mp3"


@pytest.mark.parametrize(
    "root",
    ["", "genres_original", "genres", "Data/genres_original", "archive/Data/genres_original"],
)
def test_the_known_places_of_the_genre_folders_are_found(root):
    paths = [f"{root}/{genre}/a/{n}.wav".lstrip("/") for genre in ("jazz", "pop") for n in range(3)]
    assert layout.find_root(paths, GENRES) == root
    assert layout.find_root(paths, ["polka"]) is None
    assert layout.genres_in([*paths, "top.wav"]) == ("jazz", "pop")


def test_auto_takes_the_folders_with_audio_files_in_order():
    names = ["März [2] (live)", "R&B", "新 音", "a b"]
    paths = [f"{name}/x/y/{number}.mp3" for name in names for number in range(3)]
    decomposed = [unicodedata.normalize("NFD", path) for path in paths]
    expected = ("M\u00e4rz [2] (live)", "R&B", "a b", "新 音")
    assert layout.genres_in(paths) == layout.genres_in(decomposed) == expected
    layout.check_genres(paths, expected)
    layout.check_genres(decomposed, expected)


def three(*names: str) -> list[str]:
    return [f"{name}/{number}.wav" for name in names for number in range(3)]


@pytest.mark.parametrize(
    ("paths", "says"),
    [
        (three("Rock", "rock", "pop"), r"the folders 'Rock' and 'rock' differ in spelling only"),
        (three("Köln", "Ko\u0308ln", "pop"), r"'Ko\\u0308ln'.*'K\\xf6ln'.*spelling only"),
        (three("rock"), r"at least 2 genres.*Received: rock"),
        ([], r"at least 2 genres.*Received: none"),
        ([*three("rock", "jazz"), "pop/1.wav"], r"at least 3 tracks.*Received: pop with 1"),
        (three("rock", "caf\udce9"), r"not UTF-8; rename it: caf\\xe9"),
        (three("rock", "a\nb"), r"one line of printable text. Received: 'a\\\\nb'"),
    ],
)
def test_folders_that_cannot_be_genres_are_refused_by_name(paths, says):
    with pytest.raises(GenreError, match=says):
        layout.genres_in(paths)


@pytest.mark.parametrize(
    ("genres", "says"),
    [
        (("rock", "polka", "ska"), r"files for polka, ska; .*--genres auto.* \(jazz, rock\)"),
        (("rock", "jaz"), "'jazz': did you mean jaz"),
        (("rock", "Rock"), "'rock' and 'Rock' name the same folder"),
        (("rock",), "at least 2 genres.*Received: rock"),
        (("rock", " "), "printable text"),
    ],
)
def test_names_that_do_not_fit_the_folders_are_refused(genres, says):
    with pytest.raises(GenreError, match=says):
        layout.check_genres(three("jazz", "rock"), genres)
