"""LightGCN: factors averaged over the graph of positive interactions, trained by gradient."""

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
    n_layers: int = 1,
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
    """Builds LightGCN: ``score = z_u . z_i``, ``Z = mean_{l <= n_layers} A^l E``.

    The graph holds the positive interactions (``values > 0``) that are remembered; cross-entropy
    also takes the negative ones. Early stopping as in ``mf``: none by default; with ``patience``
    the training interactions bring validation data along (``types.watch``).

    Args:
      dim: factor dimension.
      n_layers: of propagation; the paper has 1, and 0 is matrix factorisation.
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

    Source: He et al., SIGIR 2020; settings of IFRU, arXiv 2307.02147; patience 10 is its
      "counter > 10".
    """
    return model.build(
        losses.build(loss, reg=reg, n_layers=n_layers, nu=nu),
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
