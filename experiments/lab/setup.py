"""Opens a laboratory: the folder of the data sets, the device, and the three parts of it."""

import os
from typing import TYPE_CHECKING, NamedTuple

from ..config.fields import Experiment
from ..errors import PROGRAM, Refused

if TYPE_CHECKING:  # they load jax, whose device must be chosen first
    from .judging import Judging
    from .materials import Materials
    from .programs import Programs


class Laboratory(NamedTuple):
    """What computes the cells of one experiment."""

    materials: "Materials"
    programs: "Programs"
    judging: "Judging"


def root(given: str | None) -> str:
    """Folder of the data sets: the option, else JAXFORGET_DATA, else the user's cache folder."""
    if given or os.environ.get("JAXFORGET_DATA"):
        return given or os.environ["JAXFORGET_DATA"]
    import pooch

    return str(pooch.os_cache("jaxforget"))


def configure(device: str | None, dtype: str) -> None:
    """Chooses device and precision, before any array exists."""
    import jax

    if device:
        jax.config.update("jax_platforms", {"gpu": "cuda"}.get(device, device))
    jax.config.update("jax_enable_x64", dtype == "float64")
    try:
        jax.devices()
    except (RuntimeError, AssertionError) as error:  # jax asserts that some platform is there
        why = (str(error).splitlines() or ["jax finds none on this machine"])[0]
        where = f"--device {device}" if device else "JAX_PLATFORMS"
        raise Refused(f"{where}: {why}; see what there is: {PROGRAM} doctor") from None


def laboratory(experiment: Experiment, device: str | None, folder: str | None) -> Laboratory:
    """The parts that compute an experiment's cells, on this device, from data under this folder."""
    configure(device, experiment.dtype)
    from .judging import Judging
    from .materials import Materials
    from .programs import Programs

    programs = Programs(experiment.repeats)
    materials = Materials(root(folder), experiment.request.path, programs)
    return Laboratory(materials, programs, Judging(materials, programs, experiment.ks))
