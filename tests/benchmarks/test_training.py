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


def test_whole_steps_are_measured_beside_keras_on_ready_arrays(capsys):
    training.main(["--models", "lstm,musicvgg", "--tracks", "8", "--steps", "2"])
    lines = capsys.readouterr().out.splitlines()
    rows = {line.split()[0]: line for line in lines}
    assert set(rows) == {"model", "lstm", "musicvgg"}
    for name in ("lstm", "musicvgg"):
        step, _, ours, ready, ratio = rows[name].split()[1:6]
        assert all(float(figure) > 0 for figure in (ours, ready, ratio))
        assert float(step) >= 0
    assert rows["musicvgg"].endswith("the head, on tracks")


def test_a_rate_is_that_of_whole_epochs():
    from benchmarks.training_rates import Rates, _Watch

    seconds = iter([0.0, 4.0, 10.0, 12.0])
    watch = _Watch(64, clock=lambda: next(seconds))
    for epoch in range(2):
        watch.on_epoch_begin(epoch)
        watch.on_epoch_end(epoch)
    assert watch.rates == [16.0, 32.0]
    rates = Rates(ours=[10.0, 30.0, 20.0], ready=[40.0, 40.0], batch_size=32, whole_model=True)
    assert rates.ratio == 0.5
    assert rates.step_ms == 1600.0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--models", "lstm,cnnn"], "--models must be of ann, cnn"),
        (["--precision", "on"], "--precision has no effect without --models"),
    ],
)
def test_wrong_arguments_are_named(arguments, message, capsys):
    with pytest.raises(SystemExit):
        training.parse_arguments(arguments)
    assert message in capsys.readouterr().err
