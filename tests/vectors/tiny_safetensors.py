"""Writes tiny.safetensors with the reference library: one tensor of every common dtype, no randomness.

Needs: torch, safetensors.  Run in this folder: python tiny_safetensors.py
"""
import torch
from safetensors.torch import save_file

ramp = torch.tensor([((i * 37) % 101 - 50) / 8 for i in range(60)], dtype=torch.float32)
save_file({
    "f32": ramp.reshape(3, 4, 5).clone(),
    "f16": ramp.reshape(60).to(torch.float16),
    "bf16": ramp.reshape(6, 10).to(torch.bfloat16),
    "f64": ramp.reshape(60, 1).to(torch.float64),
    "i64": torch.arange(-2, 5, dtype=torch.int64),
    "i32": torch.arange(-2, 5, dtype=torch.int32),
    "u8": torch.arange(250, 255, dtype=torch.uint8),
    "bool": torch.tensor([True, False, True]),
    "scalar": torch.tensor(0.3, dtype=torch.float32),
    "empty": torch.zeros(0, 4),
    "na\u00efve \"name\"": torch.tensor([1.5, -2.5]),
}, "tiny.safetensors", metadata={"format": "pt", "note": "made by tiny_safetensors.py"})
