"""What is served has one owner: reloads, the watcher and failed loads do not step on each other."""

import os
import pathlib
import resource
import shutil
import threading
import time

import pytest

from serving.protocol import message
from serving.server import versions as versions_module
from serving.server.loading import LoadedVersion
from serving.server.registry import Registry, parse_config
from serving.server.status import ServingError
from tests.serving.core_in_process import one_model

NOTHING = "model_config_list {}"


def spec(name: str = "genre", **fields):
    return message("ModelSpec")(name=name, **fields)


def base_with(tmp_path: pathlib.Path, name: str, **numbered: pathlib.Path) -> pathlib.Path:
    """A base path with versions: `v1=folder` links version 1 to it."""
    base = tmp_path / name
    base.mkdir()
    for number, folder in numbered.items():
        (base / number[1:]).symlink_to(folder)
    return base


class SlowVersion(LoadedVersion):
    """A version whose loading waits for `go`, as that of a large model does."""

    entered = threading.Event()
    go = threading.Event()
    loaded: list["SlowVersion"]

    def __init__(self, *arguments, **options) -> None:
        type(self).entered.set()
        assert type(self).go.wait(30)
        super().__init__(*arguments, **options)
        type(self).loaded.append(self)


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> type[SlowVersion]:
    SlowVersion.entered, SlowVersion.go = threading.Event(), threading.Event()
    SlowVersion.loaded = []
    monkeypatch.setattr(versions_module, "LoadedVersion", SlowVersion)
    return SlowVersion


def test_model_removed_while_it_loads_is_closed(
    tmp_path: pathlib.Path, versions: dict[str, pathlib.Path], slow: type[SlowVersion]
) -> None:
    base = base_with(tmp_path, "genre", v1=versions["right"])
    registry = Registry(parse_config(one_model(base)), poll_seconds=60)
    [model] = registry.models()
    watcher = threading.Thread(target=registry.poll)
    watcher.start()
    assert slow.entered.wait(30)
    reload = threading.Thread(target=registry.reload, args=(parse_config(NOTHING),))
    reload.start()
    slow.go.set()
    watcher.join(60)
    reload.join(60)
    assert registry.models() == []
    assert model.numbers() == []
    assert [version.closed for version in slow.loaded] == [True]


def test_calls_are_answered_while_a_reload_loads(
    tmp_path: pathlib.Path, versions: dict[str, pathlib.Path], slow: type[SlowVersion]
) -> None:
    base = base_with(tmp_path, "genre", v1=versions["right"])
    config = parse_config(one_model(base))
    registry = Registry(config, poll_seconds=60)
    slow.go.set()
    registry.poll()
    slow.go.clear()
    slow.entered.clear()
    other = base_with(tmp_path, "other", v1=versions["shifted"])
    wanted = parse_config(one_model(base))
    wanted.model_config_list.config.add(name="other", base_path=str(other))
    wanted.model_config_list.config[0].version_labels["stable"] = 1
    reload = threading.Thread(target=registry.reload, args=(wanted,))
    reload.start()
    assert slow.entered.wait(30)
    version = registry.acquire(spec(version_label="stable"))
    assert (version.model, version.number) == ("genre", 1)
    version.release()
    with pytest.raises(ServingError, match="Servable not found"):
        registry.acquire(spec("other"))
    slow.go.set()
    reload.join(60)
    registry.acquire(spec("other")).release()
    registry.reload(parse_config(NOTHING))


def test_changed_base_path_serves_the_old_versions_until_a_new_one_is_up(
    tmp_path: pathlib.Path, versions: dict[str, pathlib.Path]
) -> None:
    old = base_with(tmp_path, "old", v4=versions["right"])
    new = base_with(tmp_path, "new")
    registry = Registry(parse_config(one_model(old)), poll_seconds=60)
    registry.poll()
    held = registry.acquire(spec())
    with pytest.raises(ServingError, match="no version could be loaded of: genre"):
        registry.reload(parse_config(one_model(new)))
    again = registry.acquire(spec())
    assert again is held
    again.release()

    (new / "1").symlink_to(versions["shifted"])  # a smaller number: it is another model's
    registry.poll()
    successor = registry.acquire(spec())
    assert successor.number == 1
    successor.release()
    assert not held.closed  # its caller is still at work
    held.release()
    assert held.closed
    registry.reload(parse_config(NOTHING))


def test_reload_back_to_the_old_base_path_forgets_the_successor(
    tmp_path: pathlib.Path, versions: dict[str, pathlib.Path]
) -> None:
    old = base_with(tmp_path, "old", v4=versions["right"])
    new = base_with(tmp_path, "new")
    registry = Registry(parse_config(one_model(old)), poll_seconds=60)
    registry.poll()
    with pytest.raises(ServingError):
        registry.reload(parse_config(one_model(new)))
    registry.reload(parse_config(one_model(old)))
    (new / "9").symlink_to(versions["shifted"])
    registry.poll()
    version = registry.acquire(spec())
    assert version.number == 4
    version.release()
    registry.reload(parse_config(NOTHING))


class FewFiles:
    """Leaves this process one file descriptor: folders can be listed, a model cannot be read."""

    def __enter__(self) -> "FewFiles":
        self._limits = resource.getrlimit(resource.RLIMIT_NOFILE)
        self._taken = [os.open(os.devnull, os.O_RDONLY)]
        highest = max(int(name) for name in os.listdir("/proc/self/fd"))  # noqa: PTH208
        while self._taken[-1] < highest:  # fill the gaps below
            self._taken.append(os.dup(self._taken[0]))
        resource.setrlimit(resource.RLIMIT_NOFILE, (self._taken[-1] + 2, self._limits[1]))
        return self

    def __exit__(self, *_) -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, self._limits)
        for descriptor in self._taken:
            os.close(descriptor)


def test_load_that_failed_for_a_passing_reason_is_tried_again(
    tmp_path: pathlib.Path, versions: dict[str, pathlib.Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(versions_module, "_FIRST_RETRY_SECONDS", 3600.0)
    base = base_with(tmp_path, "genre", v1=versions["right"])
    registry = Registry(parse_config(one_model(base)), poll_seconds=60)
    [model] = registry.models()
    with FewFiles():
        registry.poll()
    assert model.numbers() == []
    assert "open files" in model.states()[1].text
    registry.poll()  # too early
    assert model.numbers() == []
    now = time.monotonic
    monkeypatch.setattr(time, "monotonic", lambda: now() + 3601)
    registry.poll()
    assert model.numbers() == [1]
    assert model.states()[1].text == ""
    registry.reload(parse_config(NOTHING))


def test_broken_model_is_not_loaded_again_before_it_changes(
    tmp_path: pathlib.Path, versions: dict[str, pathlib.Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(versions_module, "_FIRST_RETRY_SECONDS", 0.0)
    base = tmp_path / "genre"
    shutil.copytree(versions["right"], base / "1")
    (base / "1" / "saved_model.pb").write_bytes(b"not a model")
    registry = Registry(parse_config(one_model(base)), poll_seconds=60)
    [model] = registry.models()
    registry.poll()
    failed = model.states()[1]
    assert failed.text
    registry.poll()
    assert model.states()[1] is failed  # a second try would have made a state of its own
    shutil.copy(versions["right"] / "saved_model.pb", base / "1" / "saved_model.pb")
    registry.poll()
    assert model.numbers() == [1]
    registry.reload(parse_config(NOTHING))
