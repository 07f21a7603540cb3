"""What machines and buildings draw, where nobody has measured: what an operator's declaration starts from.

Watts are the makers' thermal design power (total board power of graphics cards), from their data sheets: what a device
draws at full load, near enough. Names are as drivers and `lscpu` report them; a processor is one socket. An idle device
draws about a seventh of it: guess, not measured; cards for the desk draw less, servers' more.
"""

from __future__ import annotations

from typing import Final, Literal

Building = Literal["hyperscale", "average", "small"]

# Power usage effectiveness: what the building draws for each watt of its machines.
PUE_PERMILLE: Final[dict[Building, int]] = {
    "hyperscale": 1090,  # Google's fleet, 2024
    "average": 1560,  # Uptime Institute's survey, 2024
    "small": 1200,  # a machine in a room with little cooling: guess, small sites reach 1800
}

IDLE_PERMILLE: Final = 150

TDP_W: Final[dict[str, int]] = {
    "Tesla P100-PCIE-16GB": 250,
    "Tesla V100-PCIE-16GB": 250,
    "Tesla V100-SXM2-16GB": 300,
    "Tesla V100-SXM2-32GB": 300,
    "Tesla T4": 70,
    "NVIDIA A10": 150,
    "NVIDIA A30": 165,
    "NVIDIA A40": 300,
    "NVIDIA A100-PCIE-40GB": 250,
    "NVIDIA A100 80GB PCIe": 300,
    "NVIDIA A100-SXM4-40GB": 400,
    "NVIDIA A100-SXM4-80GB": 400,
    "NVIDIA H100 PCIe": 350,
    "NVIDIA H100 80GB HBM3": 700,
    "NVIDIA H200": 700,
    "NVIDIA B200": 1000,
    "NVIDIA L4": 72,
    "NVIDIA L40": 300,
    "NVIDIA L40S": 350,
    "NVIDIA RTX A6000": 300,
    "NVIDIA RTX 6000 Ada Generation": 300,
    "NVIDIA GeForce RTX 2080 Ti": 250,
    "NVIDIA GeForce RTX 3080": 320,
    "NVIDIA GeForce RTX 3090": 350,
    "NVIDIA GeForce RTX 4080": 320,
    "NVIDIA GeForce RTX 4090": 450,
    "NVIDIA GeForce RTX 5090": 575,
    "AMD Instinct MI210": 300,
    "AMD Instinct MI250X": 560,
    "AMD Instinct MI300X": 750,
    "AMD EPYC 7742 64-Core Processor": 225,
    "AMD EPYC 7763 64-Core Processor": 280,
    "AMD EPYC 9654 96-Core Processor": 360,
    "AMD Ryzen 9 7950X 16-Core Processor": 170,
    "Intel(R) Xeon(R) Gold 6248 CPU @ 2.50GHz": 150,
    "Intel(R) Xeon(R) Platinum 8380 CPU @ 2.30GHz": 270,
    "Intel(R) Xeon(R) Platinum 8480+": 350,
}


def idle_w(peak_w: int) -> int:
    """A guess at what a device draws that waits, from what it draws at full load; below it."""
    return peak_w * IDLE_PERMILLE // 1000
