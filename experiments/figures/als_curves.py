"""What Unlearn-ALS reports, against its passes: AUC (explicit values: RMSE), loss, membership.

And the distance to retraining, which the paper does not have. Lines and marks are those of
``pass_curves``.
"""

import pandas as pd
from matplotlib.figure import Figure

from . import pass_curves
from ._tables import Tables

ACCURACY = {  # the first that the tables have: a ranking is made of likes alone
    "auc_unseen": ("test", "test AUC, unseen items"),
    "rmse": ("test", "test RMSE"),
}
MEMBERSHIP = {"membership": ("forgotten", "P(forgotten > test pair)")}


def draw(tables: Tables) -> tuple[Figure, pd.DataFrame]:
    """Draws one row of panels per data set, model and amount whose passes were swept."""
    defined = set(tables.metrics.dropna(subset=["value"])["metric"])
    name = next((name for name in ACCURACY if name in defined), "rmse")
    others = {key: pass_curves.QUANTITIES[key] for key in ("loss", "distance")}
    return pass_curves.curves(tables, {name: ACCURACY[name], **others, **MEMBERSHIP})
