"""Matrix factorisation trained by gradient: cross-entropy or BPR."""

from typing import Literal

from jaxforget._settings import checked
from jaxforget.gradient import losses, model
from jaxforget.types import Model

TRACED = ("reg", "init_scale")  # may be arguments of a compiled program
ADDED = ("nu",)  # after the first cells: at its default it is no part of their ids


@checked
def build(
    *,
    dim: int,
    loss: Literal["bce", "bpr"] = "bce",
    reg: float = 0.0,
    nu: float = 0.0,
    init_scale: float,
    optimiser: Literal["minibatch", "lbfgs", "adam"] = "minibatch",
    lr: float | None = None,
    batch_size: int | None = None,
    n_epochs: int,
    patience: int | None = None,
    tol: float | None = None,
) -> Model:
    """Builds MF without biases: ``score = p_u . q_i``.

    By default nothing is held out and no validation data are looked at: training takes
    ``n_epochs`` epochs. The published recipe stops early on the validation AUC: with ``patience``
    the training interactions must bring theirs along (``types.watch``), as an argument like all
    other data, so that the model is still a pure function of its arguments and a method that
    re-fits meets the same rule.

    Args:
      dim: factor dimension.
      loss: ``"bce"`` takes labels in [0, 1]; ``"bpr"`` ranks positives above drawn items.
      reg: ridge on every row; the sum over interactions carries it once. The paper has 0.
      nu: power of the number of a row's interactions in its ridge, ``reg * count^nu``. BPR as
        published penalises the rows of each draw: 1 with half its coefficient.
      init_scale: standard deviation of the start.
      optimiser: ``"minibatch"`` Adam as published; ``"lbfgs"`` or ``"adam"`` on all data.
      n_epochs: epochs of ``"minibatch"``, steps of the others, at most.
      tol: the others stop where the gradient of the *mean* loss has this norm; 0 if None.
      lr: of Adam; not read by L-BFGS.
      batch_size: interactions per step of ``"minibatch"``; 2,048 if None.
      patience: epochs without a better validation AUC before ``"minibatch"`` stops; None: never.

    Raises:
      ValueError: a setting is out of range or missing, or the optimiser would not read it.

    Source: settings of IFRU, arXiv 2307.02147; patience 10 is its
      "counter > 10".
    """
    return model.build(
        losses.build(loss, reg=reg, n_layers=0, nu=nu),
        dim=dim,
        init_scale=init_scale,
        optimiser=optimiser,
        lr=lr,
        batch_size=batch_size,
        n_epochs=n_epochs,
        patience=patience,
        tol=tol,
    )


TOY = {"dim": 4, "init_scale": 0.1, "reg": 0.1, "lr": 0.05, "batch_size": 16, "n_epochs": 20}
