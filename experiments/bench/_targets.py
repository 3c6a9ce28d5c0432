"""Accelerators that are not here, and the compilation of programs for them.

XLA compiles for a description of a device. The compilers are wheels of their own: ``make
accelerators`` lays them into a folder, which must be on the PYTHONPATH.
"""

import importlib.util
import math
import os
import re
from collections.abc import Callable
from typing import Any, NamedTuple

from ..errors import Refused

H100 = """
gpu_device_info {
  threads_per_block_limit: 1024
  threads_per_warp: 32
  shared_memory_per_block: 49152
  shared_memory_per_core: 233472
  threads_per_core_limit: 2048
  core_count: 132
  fpus_per_core: 128
  block_dim_limit_x: 2147483647
  block_dim_limit_y: 65535
  block_dim_limit_z: 65535
  memory_bandwidth: 3352320000000
  l2_cache_size: 52428800
  clock_rate_ghz: 1.98
  device_memory_size: 84978434048
  shared_memory_per_block_optin: 232448
  cuda_compute_capability { major: 9 }
  registers_per_core_limit: 65536
  registers_per_block_limit: 65536
}
platform_name: "CUDA"
dnn_version_info { major: 9 }
device_description_str: "NVIDIA H100 80GB HBM3"
"""
LOOP = re.compile(r" while\(")
# how XLA calls Python or waits for the host in the middle of a program
HOST = re.compile(r"custom_call_target=\"[^\"]*callback|\b(?:infeed|outfeed|send|recv)\(")
ARRAY = re.compile(r"\b(?:f32|f64|s32|u32|pred|bf16)\[([\d,]+)\]")


class Target(NamedTuple):
    """A device, with what its maker says of it."""

    device: str
    platform: str
    wheel: str  # module of the compiler
    flops: float  # per second, in float32
    bandwidth: float  # bytes per second
    options: dict[str, str]  # of ``topologies.get_topology_desc``


# float32 on a TPU is three products in bfloat16, of 197e12 per second
TARGETS = {
    "h100": Target(
        "NVIDIA H100 SXM",
        "cuda",
        "jax_plugins.xla_cuda12",
        67e12,
        3.35e12,
        {"topology_name": "", "target_config": H100, "topology": "1x1x1"},
    ),
    "v5e": Target("TPU v5e", "tpu", "libtpu", 66e12, 0.82e12, {"topology_name": "v5e:2x2"}),
}


class Compiled(NamedTuple):
    """What a compiled program holds."""

    loops: int
    calls_host: bool
    largest: int  # elements of its largest array
    temporaries: int  # bytes


def missing(target: Target) -> str | None:
    """Why programs cannot be compiled for a target, if they cannot."""
    try:
        there = importlib.util.find_spec(target.wheel)
    except ModuleNotFoundError:
        there = None
    if there is not None:
        return None
    return f"no compiler for {target.device}: make accelerators, then add its folder to PYTHONPATH"


def device(target: Target) -> Any:
    """A device of the target, to compile for.

    Raises:
      Refused: its compiler is not installed.
    """
    if why := missing(target):
        raise Refused(why)
    os.environ.setdefault("TPU_SKIP_MDS_QUERY", "1")  # there is no TPU to ask about
    from jax.experimental import topologies

    return topologies.get_topology_desc(platform=target.platform, **target.options).devices[0]


def compile_for(place: Any, function: Callable, args: tuple) -> Compiled:
    """Compiles ``function(*args)`` for a device that is not here."""
    import jax
    from jax.sharding import SingleDeviceSharding

    where = SingleDeviceSharding(place)
    like = jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(jax.numpy.shape(x), jax.typeof(x).dtype, sharding=where),
        args,
    )
    program = jax.jit(function).lower(*like).compile()
    text = program.as_text()
    sizes = (elements(dims) for dims in ARRAY.findall(text))
    return Compiled(
        len(LOOP.findall(text)),
        HOST.search(text) is not None,
        max(sizes, default=0),
        program.memory_analysis().temp_size_in_bytes,
    )


def elements(dims: str) -> int:
    """Elements of an array of these dimensions, written with commas."""
    return math.prod(map(int, dims.split(",")))
