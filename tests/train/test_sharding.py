"""What sharing weights out does not go with is said before anything is trained."""

from dataclasses import replace
from typing import Any

import pytest

from perceivers.train import OptimizerConfig, TrainConfig
from perceivers.train.sharding import check_sharding

FSDP = TrainConfig(fsdp=True)


def test_one_process_has_nobody_to_share_with() -> None:
    with pytest.raises(ValueError, match=r"fsdp.*torchrun"):
        check_sharding(FSDP, 1)
    check_sharding(FSDP, 2)
    check_sharding(TrainConfig(), 1)


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"optimizer": OptimizerConfig(name="lamb")}, "'lamb'"),
        ({"optimizer": OptimizerConfig(name="muon")}, "'muon'"),
        ({"mixed_precision": "fp16"}, "'fp16'"),
        ({"compile": True}, "compile"),
        ({"trainable": "lora"}, "'lora'"),
    ],
)
def test_what_does_not_go_with_it(changes: dict[str, Any], name: str) -> None:
    with pytest.raises(ValueError, match=rf"fsdp does not go with .*{name}"):
        check_sharding(replace(FSDP, **changes), 2)


def test_the_launchers_own_way_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    with pytest.raises(ValueError, match=r"--use_fsdp.*--fsdp"):
        check_sharding(TrainConfig(), 2)
