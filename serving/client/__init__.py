"""A client for the served model: any song in, its genres out, without TensorFlow.

    from serving.client import GenreClient

    with GenreClient("localhost:8500") as client:
        prediction = client.classify_file("song.mp3")
        print(prediction.genre, prediction.probability)

It speaks TF Serving's gRPC API and works against TF Serving and `python -m serving.server` alike.
"""

from serving.client.connection import CallError, Tls
from serving.client.genre_client import FileResult, GenreClient
from serving.client.results import GenrePrediction

__all__ = [
    "CallError",
    "FileResult",
    "GenreClient",
    "GenrePrediction",
    "Tls",
]
