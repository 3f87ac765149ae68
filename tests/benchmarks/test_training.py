import re

import pytest

from benchmarks import training


def test_input_and_memory_are_measured_beside_training(capsys):
    training.main(["--model", "lstm", "--tracks", "8", "--steps", "3"])
    printed = capsys.readouterr().out
    assert "waiting for input" in printed
    assert float(re.search(r"peak memory ([\d.]+) GiB", printed)[1]) > 0.1
    assert "over the cache limit" not in printed


def test_a_split_over_the_cache_limit_is_measured_with_one_window_a_read_too(capsys):
    training.main(["--model", "lstm", "--tracks", "8", "--steps", "3", "--cache-megabytes", "0"])
    assert re.search(r"over the cache limit: \d+ windows/s", capsys.readouterr().out)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--model", "cnnn"], "invalid choice: 'cnnn'"),
        (["--model", "cnn", "--weights", "imagenet"], "cnn is trained from scratch"),
        (["--tracks", "0"], "--tracks must be at least 1"),
    ],
)
def test_wrong_arguments_are_named(arguments, message, capsys):
    with pytest.raises(SystemExit):
        training.parse_arguments(arguments)
    assert message in capsys.readouterr().err
