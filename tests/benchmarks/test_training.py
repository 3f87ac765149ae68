from benchmarks import training


def test_input_is_timed_beside_training(capsys):
    training.main(["--model", "lstm", "--tracks", "8", "--steps", "3"])
    printed = capsys.readouterr().out
    assert "waiting for input" in printed
    found = training.measure("ann", tracks=8, steps=3)
    assert 0.0 <= found["waiting"] < 1.0
    assert found["streamed"] > 0 and found["in_memory"] > 0
