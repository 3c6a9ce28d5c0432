"""Opens a laboratory: the folder of the data sets, the device, and the three parts of it."""

import contextlib
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from ..config import schema
from ..config.fields import Experiment
from ..errors import PROGRAM, Refused
from . import compilation

if TYPE_CHECKING:  # they load jax, whose device must be chosen first
    from .batches import Batches
    from .jobs import Singly
    from .judging import Judging
    from .materials import Materials
    from .programs import Programs


class Laboratory(NamedTuple):
    """What computes the cells of one experiment."""

    materials: "Materials"
    programs: "Programs"
    judging: "Judging"
    singly: "Singly"
    batches: "Batches | None"  # None: every cell is computed alone


def root(given: str | None) -> str:
    """Folder of the data sets: the option, else JAXFORGET_DATA, else the user's cache folder."""
    if given or os.environ.get("JAXFORGET_DATA"):
        return given or os.environ["JAXFORGET_DATA"]
    import pooch

    return str(pooch.os_cache("jaxforget"))


def configure(
    device: str | None,
    dtype: str,
    n_cpus: int | None = None,
    join: Callable[[], None] | None = None,
) -> None:
    """Chooses device and precision, before any array exists.

    Args:
      device: a platform; None leaves the choice to JAX.
      dtype: of the values.
      n_cpus: as how many devices the CPU shows itself; None leaves it at one.
      join: joins other processes, which must come before the first look at the devices.
    """
    import jax

    if n_cpus is not None and "device_count" not in os.environ.get("XLA_FLAGS", ""):
        with contextlib.suppress(RuntimeError):  # jax is up: then as many as there are
            jax.config.update("jax_num_cpu_devices", n_cpus)

    if device:
        jax.config.update("jax_platforms", {"gpu": "cuda"}.get(device, device))
    jax.config.update("jax_enable_x64", dtype == "float64")
    compilation.keep()
    if join is not None:
        join()
    try:
        jax.devices()
    except (RuntimeError, AssertionError) as error:  # jax asserts that some platform is there
        why = (str(error).splitlines() or ["jax finds none on this machine"])[0]
        where = f"--device {device}" if device else "JAX_PLATFORMS"
        raise Refused(f"{where}: {why}; see what there is: {PROGRAM} doctor") from None


def laboratory(
    experiment: Experiment,
    device: str | None,
    folder: str | None,
    batch: str = "off",
    n_devices: int | None = None,
) -> Laboratory:
    """The parts that compute an experiment's cells.

    Args:
      experiment: what is to be computed.
      device: a platform; None leaves the choice to JAX.
      folder: of the data sets; None as ``root`` says.
      batch: ``"off"``, ``"auto"`` (cells are computed together on accelerators, unless somebody
        draws their seconds) or how many of them at most.
      n_devices: to how many devices a batch is dealt; None: all that there are, on a CPU one for
        each core.
    """
    many = batch not in ("auto", "off")
    configure(device, experiment.dtype, (n_devices or os.cpu_count()) if many else None)
    from .batches import Batches
    from .jobs import Shelf, Singly
    from .judging import Judging
    from .materials import Materials
    from .programs import Programs

    programs, shelf = Programs(experiment.repeats), Shelf()
    materials = Materials(root(folder), experiment.request.path, programs)
    judging = Judging(materials, programs, experiment.ks)
    devices = _devices(n_devices)
    if batch == "auto":
        many = devices[0].platform != "cpu" and not draws_seconds(experiment)
    together = Batches(shelf, devices, int(batch) if batch.isdecimal() else None) if many else None
    return Laboratory(materials, programs, judging, Singly(shelf), together)


def _devices(wanted: int | None) -> list:
    """The devices that this process sees, the first few of them if it is said how many."""
    import jax

    there = jax.local_devices()
    if wanted is not None and not 1 <= wanted <= len(there):
        raise Refused(
            f"--devices {wanted}: this process sees {len(there)}; see which: {PROGRAM} doctor"
        )
    return there[:wanted]


def check_batch(experiment: Experiment, batch: str, devices: int | None) -> None:
    """Refuses what cannot be meant, before jax is loaded."""
    if batch not in ("auto", "off") and not (batch.isdecimal() and int(batch)):
        raise Refused(f"--batch {batch}: expected auto, off or how many cells at most, such as 64")
    if devices is not None and devices < 1:
        raise Refused(f"--devices {devices}: expected at least 1")
    if devices is not None and batch == "off":
        raise Refused(f"--devices {devices}: without batches one device computes; see --batch")
    why = draws_seconds(experiment)
    if batch.isdecimal() and why:
        raise Refused(f"--batch {batch}: {why}, which a batch has not: use --batch off")


def draws_seconds(experiment: Experiment) -> str | None:
    """Why the seconds of single cells are wanted, if they are: they are not known of a batch."""
    if experiment.repeats > 1:
        return f"repeats = {experiment.repeats} times single cells"
    for name in experiment.figures:
        if schema.draws_seconds(name):
            return f"the figure {name} draws the seconds of single cells"
    return None
