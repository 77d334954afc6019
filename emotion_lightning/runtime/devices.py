"""How many devices a trainer would take, asked of Lightning before there is one."""

from typing import Any

from lightning.pytorch.accelerators import (
    Accelerator,
    CPUAccelerator,
    CUDAAccelerator,
    MPSAccelerator,
    XLAAccelerator,
)

NAMED: dict[str, tuple[type[Accelerator], ...]] = {
    "cpu": (CPUAccelerator,),
    "cuda": (CUDAAccelerator,),
    "mps": (MPSAccelerator,),
    "gpu": (MPSAccelerator, CUDAAccelerator),
    "auto": (XLAAccelerator, MPSAccelerator, CUDAAccelerator, CPUAccelerator),
}
"""Accelerators that a name may stand for; a trainer takes the first that the machine has."""


def ddp_processes(accelerator: object, devices: Any, num_nodes: int = 1) -> int:
    """Processes in which a trainer would train by DDP; 1 where it would not, or refuses the options.

    Args:
        accelerator: As the trainer takes it, as the others.
        devices: Number of devices, or which.
        num_nodes: Machines.

    Raises:
        MisconfigurationException: There are no such devices.
    """
    named = NAMED.get(accelerator, ()) if isinstance(accelerator, str) else (type(accelerator),)
    chosen = next((kind for kind in named if issubclass(kind, Accelerator) and kind.is_available()), None)
    if chosen in (None, XLAAccelerator, MPSAccelerator):  # TPUs have a way of their own, a Mac has one GPU
        return 1
    wanted = chosen.auto_device_count() if devices == "auto" else devices
    return len(chosen.get_parallel_devices(chosen.parse_devices(wanted))) * num_nodes
