"""Where a network's memory lies changes its speed, and nothing that it computes."""

from __future__ import annotations

import copy
import time

import pytest
import torch
from torch import nn

import oneway
from oneway import runtime as module
from oneway.runtime import launch, lay_out


@pytest.mark.parametrize("channels", [3, 8, 12])
def test_a_network_computes_the_same_wherever_its_memory_lies(channels: int) -> None:
    torch.manual_seed(0)
    plain = nn.Sequential(nn.Conv2d(3, channels, 3), nn.BatchNorm2d(channels), nn.ReLU(), nn.Conv2d(channels, 4, 3))
    laid_out = lay_out(copy.deepcopy(plain), torch.device("cpu"))
    pictures = torch.rand(4, 3, 12, 12)
    outputs = []
    for network in (plain, laid_out):
        outputs.append(network(pictures))
        outputs[-1].square().mean().backward()
    torch.testing.assert_close(outputs[1], outputs[0])
    for ours, theirs in zip(laid_out.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad)
    assert laid_out.state_dict().keys() == plain.state_dict().keys()


@pytest.mark.parametrize(("channels", "last"), [(12, False), (16, True)])
def test_batch_normalisation_of_odd_channels_is_handed_one_after_the_other(channels: int, last: bool) -> None:
    network = lay_out(nn.Sequential(nn.Conv2d(3, channels, 3), nn.BatchNorm2d(channels)), torch.device("cpu"))
    given = torch.rand(4, 3, 12, 12).contiguous(memory_format=torch.channels_last)
    assert network[0](given).is_contiguous(memory_format=torch.channels_last)
    assert network(given).is_contiguous(memory_format=torch.channels_last) == last


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"WORLD_SIZE": ""}, r"WORLD_SIZE is '' and must be a number of processes.*unset it"),
        ({"WORLD_SIZE": "two"}, r"WORLD_SIZE is 'two'"),
        ({"LOCAL_WORLD_SIZE": "0"}, r"LOCAL_WORLD_SIZE is '0'"),
        ({"LOCAL_WORLD_SIZE": "2", "WORLD_SIZE": "3"}, "WORLD_SIZE 3 must be a multiple of the 2 processes"),
        (
            {"SLURM_NTASKS": "4"},
            r"SLURM_NTASKS is '4', and SLURM_PROCID is not set.*unset SLURM_NTASKS, or start.*srun",
        ),
        ({"RANK": "none"}, "RANK is 'none', no rank.*unset it"),
        ({"RANK": "2", "WORLD_SIZE": "2"}, "RANK is '2', no rank below 2"),
        ({"LOCAL_RANK": "0"}, "LOCAL_RANK is '0', and WORLD_SIZE, which says of how many, is not set"),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else "",
)
def test_what_a_scheduler_left_behind_is_named(
    monkeypatch: pytest.MonkeyPatch, runtime: oneway.RuntimeConfig, variables: dict[str, str], message: str
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(oneway.InputError, match=message):
        launch(runtime)


def test_a_process_whose_others_never_come_says_for_whom_it_waits(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(module, "PATIENCE", 0.01)
    monkeypatch.setenv("MASTER_ADDR", "10.0.0.7")
    monkeypatch.setenv("MASTER_PORT", "4000")

    class Alone:
        def launch(self) -> None:
            time.sleep(0.5)
            raise torch.distributed.DistNetworkError("the client socket has timed out\nand more")

    with pytest.raises(oneway.LostError, match=r"in vain for all 3 processes.*10\.0\.0\.7, port 4000.*timed out"):
        module._meet(Alone(), 3)  # type: ignore[arg-type]
    assert "waiting for all 3 processes to meet at 10.0.0.7, port 4000" in capsys.readouterr().err
