#!/usr/bin/env python3
"""Writes tests/fixtures/*.pth, PyTorch checkpoints of every layout, and truth.safetensors, what torch
says they hold.

    tools/make_pth_fixtures.py [folder]     default: tests/fixtures

Made with torch 2.11.0 and safetensors 0.8.0. The legacy files differ from run to run: torch names
their storages by their addresses.
"""

import argparse
import sys
from collections import OrderedDict
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

FLOATS = ("float64", "float32", "float16", "bfloat16")
INTEGERS = ("int64", "int32", "int16", "int8", "uint8")
NEW = ("uint16", "uint32", "uint64", "float8_e5m2", "float8_e4m3fn")  # without storage classes


def state_dict():
    random = torch.Generator().manual_seed(2021)

    def normal(*sizes):
        return torch.randn(*sizes, generator=random)

    state = OrderedDict((name, normal(3, 2).to(getattr(torch, name))) for name in FLOATS)
    for name in INTEGERS:
        state[name] = torch.randint(0, 100, (5,), generator=random).to(getattr(torch, name))
    state["bool"] = torch.tensor([True, False, True])
    shared = normal(6, 8)
    state["shared.whole"] = shared
    state["shared.transposed"] = shared.t()
    state["shared.rows"] = shared[2:4]
    state["shared.strided"] = shared[1:6:2, 2::3]
    state["expanded"] = normal(1, 3).expand(2, 3)
    state["permuted"] = normal(2, 3, 2, 2).permute(2, 0, 3, 1)
    state["channels_last"] = normal(2, 3, 2, 2).contiguous(memory_format=torch.channels_last)
    state["parameter"] = torch.nn.Parameter(normal(4))
    state["scalar"] = torch.tensor(2.5)
    state["empty"] = torch.empty(0, 4)
    return state


def prefixed(state, prefix):
    return OrderedDict((prefix + name, tensor) for name, tensor in state.items())


def training(state):
    """A checkpoint as DeiT's main.py writes it, with what is no tensor."""
    return {"model": state, "args": argparse.Namespace(lr=5e-4, model="deit_tiny_patch16_224"),
            "epoch": 299, "best": np.float64(72.2), "curve": np.arange(3), "big": 1 << 100,
            "optimizer": {"state": {0: {"step": 7, "exp_avg": torch.ones(2)}},
                          "param_groups": [{"lr": 1e-3, "params": [0]}]},
            "scaler": None, "size": torch.Size([1, 2]), "device": torch.device("cpu"),
            "dtype": torch.float16, "set": {1}, "bytes": b"\xff\0"}


def main():
    default = Path(__file__).resolve().parent.parent / "tests/fixtures"
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else default
    folder.mkdir(parents=True, exist_ok=True)

    def save(name, value, zipped=True, protocol=2):
        torch.save(value, folder / f"{name}.pth", pickle_protocol=protocol,
                   _use_new_zipfile_serialization=zipped)

    state = state_dict()
    save_file({name: tensor.detach().clone().contiguous() for name, tensor in state.items()},
              folder / "truth.safetensors")
    save("zip", state)
    save("legacy", state, zipped=False)
    for protocol in (1, 3, 4, 5):
        save(f"zip_protocol_{protocol}", training(state), protocol=protocol)
        save(f"legacy_protocol_{protocol}", training(state), zipped=False, protocol=protocol)
    save("parallel", {"state_dict": prefixed(state, "module.")})
    other = {"weight": torch.zeros(1)}
    save("ema", {"model": other, "state_dict": other, "state_dict_ema": state, "model_ema": other})
    new = {name: torch.arange(4).float().to(getattr(torch, name)) for name in NEW}
    save("new_dtypes", new)
    save_file(new, folder / "new_dtypes.safetensors")
    torch.serialization.set_crc32_options(False)
    save("without_checksums", state)
    torch.serialization.set_crc32_options(True)
    save("whole_model", {"model": torch.nn.Linear(1, 1)})
    save("quantised", {"a": torch.quantize_per_tensor(torch.ones(3), 0.1, 0, torch.qint8)})
    torch.jit.save(torch.jit.script(torch.nn.Linear(1, 1)), folder / "torchscript.pth")


if __name__ == "__main__":
    main()
