"""What a run came to, as a sentence."""

import pytest

from components.run_recorder.outcome import Outcome


@pytest.mark.parametrize(
    ("outcome", "sentence"),
    [
        (
            Outcome("cnn", "/serving/7", version="7"),
            "cnn was pushed and is in production, as version 7.",
        ),
        (
            Outcome("cnn", "/serving/7", version="7", written=False),
            "cnn was in production already, as version 7, and stays.",
        ),
        (
            Outcome("cnn", "none", reason="as good as production", production="5", kept=True),
            "cnn is as good as production: production keeps version 5.",
        ),
        (Outcome("none", "none"), "Nothing was pushed: production keeps what it has."),
        (
            Outcome("none", "none", production="5"),
            "Nothing was pushed: production keeps version 5.",
        ),
        (
            Outcome("cnn", "none", reason="it was withdrawn by a rollback.", production="5"),
            "cnn was not pushed (it was withdrawn by a rollback): production keeps version 5.",
        ),
    ],
)
def test_the_sentence_says_what_happened_to_production(outcome, sentence):
    assert outcome.sentence() == sentence
