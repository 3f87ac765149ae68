"""Ids that Kubeflow Pipelines takes."""

import pytest

from components.audio.catalog import FEATURE_NAMES
from components.common.node_ids import VALID, node_id
from components.trainer.catalog import CATALOG


def test_every_feature_and_model_has_an_id_of_its_own():
    names = [*FEATURE_NAMES, *CATALOG]
    ids = {node_id("Transform", name) for name in names}
    assert len(ids) == len(names)
    assert all(VALID.fullmatch(one) for one in ids)


@pytest.mark.parametrize("name", ["log_mel", "log__mel", "log.mel", "log mel"])
def test_what_kubeflow_refuses_becomes_a_hyphen(name):
    assert node_id("Transform", name) == "Transform-log-mel"


def test_an_id_that_is_too_long_is_refused():
    with pytest.raises(ValueError, match="must match"):
        node_id("Trainer", "x" * 121)
