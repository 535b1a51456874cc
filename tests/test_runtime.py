"""Where a network's memory lies changes its speed, and nothing that it computes."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

import oneway
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
        ({"RANK": "none"}, "RANK is 'none', which is no rank; unset it"),
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
