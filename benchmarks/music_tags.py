"""How often a published tagger's highest genre tag is the track's genre; nothing is trained.

    python -m benchmarks.music_tags genres_original [--network MTT_musicnn]

Among the tags that are genres of the data; tracks of a genre without a tag are left out and named.
The networks have surely heard some of GTZAN's songs in their own training.
"""

import argparse
from pathlib import Path

from components.common.metrics import share_interval
from components.gtzan import layout, listing
from pipeline.music_tags import NETWORKS, Tagger, read


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path, help="folder of genre folders")
    parser.add_argument("--network", choices=NETWORKS, default=NETWORKS[0])
    parsed = parser.parse_args()
    files = [file.path for file in listing.local_files(parsed.folder)]
    genres = layout.genres_in(files)
    tagger = Tagger(parsed.network)
    columns = {
        genre: column
        for column, tag in enumerate(tagger.tags)
        if (genre := layout.genre_of_folder(tag, genres))
    }
    print(f"{parsed.network} has no tag for: {', '.join(sorted({*genres} - {*columns})) or '-'}")
    right: dict[str, list[bool]] = {genre: [] for genre in sorted(columns)}
    for file in files:
        genre = layout.genre_of_folder(file.partition("/")[0], genres)
        if genre not in columns:
            continue
        means = tagger.hear(read(parsed.folder / file)).mean(axis=0)
        right[genre].append(max(columns, key=lambda name: means[columns[name]]) == genre)
    for genre, answers in right.items():
        print(f"{genre:10} {sum(answers):3} of {len(answers)}")
    everything = [answer for answers in right.values() for answer in answers]
    low, high = share_interval(sum(everything), len(everything))
    share = sum(everything) / len(everything)
    counted = f"{sum(everything)} of {len(everything)}"
    print(f"all: {counted}, {share:.2f} ({low:.2f}-{high:.2f})")


if __name__ == "__main__":
    main()
