"""Host: a model that is being served, and requests to it one after another."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxforget import _checks, als
from jaxforget._settings import checked
from jaxforget.als import local
from jaxforget.als.objectives import squares
from jaxforget.erase import _before
from jaxforget.prepare import forget
from jaxforget.sparse.arithmetic import ratio
from jaxforget.sparse.degrees import clear_emptied, exchange
from jaxforget.types import Factors, ForgetSet, Interactions, Model, Terms


class Session:
    """A served ALS model, what it may know, and the requests that it is asked to meet.

    A request is met as ``methods.local_als`` meets it, with the gaps ``rest`` of the model as it
    was when the session began: so requests in turn solve the same equations as all of them at
    once, and end near each other. One compiled program serves all requests. The
    state is ``factors``, ``weights`` (``[N]``, 0 = forgotten), ``rest`` and ``rhs``; it changes
    only when a request has been met whole. Not for several threads at once.

    Example:
      >>> from jaxforget import models
      >>> from jaxforget.sparse import layout
      >>> train = layout.build([0, 0, 1, 2], [0, 1, 0, 1], [1.0, 1.0, 1.0, 1.0])
      >>> model = models.load("ials")(dim=2, reg=1.0, alpha=4.0)
      >>> served, _ = model.fit(jax.random.key(0), train, jnp.ones(4))
      >>> session = Session(model, served, train)
      >>> session.erase(users=[1])["interactions"], session.factors.users[1].tolist()
      (1, [0.0, 0.0])
    """

    @checked
    def __init__(
        self,
        model: Model,
        factors: Factors,
        train: Interactions,
        *,
        weights: Array | None = None,
        rest: Factors | None = None,
        rhs: Factors | None = None,
        tol: float = 0.1,
        max_rounds: int = 1,
        trust: bool = False,
    ):
        """Begins, or goes on with, a session.

        Args:
          model: trained by alternating least squares, with the settings of the served one.
          factors: the served model.
          train: the interactions that it was trained on.
          weights: ``[N]`` what it may know; None: all of it.
          rest, rhs: of an earlier session, to go on with that one; None begins one.
          tol, max_rounds: of ``als.local.repair``.
          trust: that a row of zeros whose interactions want another is of nobody who was erased.

        Raises:
          ValueError: the model is not trained by ALS; factors of other shapes than the
            interactions, or that are not finite; or, without ``trust``, the interactions of who
            was erased before, whom the session would bring back.
        """
        if model.terms is None:
            raise ValueError("a session needs a model trained by ALS (ials, explicit_als)")
        sizes = tuple(len(side) for side in factors)
        if sizes != (train.n_users, train.n_items):
            raise ValueError(
                f"a session: factors of {sizes[0]} users and {sizes[1]} items, but interactions of "
                f"{train.n_users} and {train.n_items}"
            )
        if not all(np.isfinite(side).all() for side in factors):
            raise ValueError("a session: the factors are not finite: train again")
        self.model, self.train, self.tol, self.max_rounds = model, train, tol, max_rounds
        self.factors = Factors(*(jnp.asarray(side, train.values.dtype) for side in factors))
        ones = jnp.ones_like(train.values)
        if weights is not None:
            _checks.weights("a session: weights", weights, len(ones))
        self.weights = ones if weights is None else jnp.asarray(weights, ones.dtype)
        terms_of: Any = model.terms
        self._terms, self._meet = jax.jit(terms_of), jax.jit(self._repaired)
        terms = self._terms(train, self.weights)
        pulls = exchange(train, terms.target, self.factors)
        if not trust:
            _refuse_erased(self.factors, pulls)
        if rest is None or rhs is None:
            rest, rhs = als.objectives.gaps(self.factors, train, terms), pulls
        self.rest, self.rhs = jax.tree.map(jnp.asarray, (rest, rhs))

    def erase(self, *, users: Any = None, items: Any = None) -> dict[str, Any]:
        """Meets one request: whole users, whole items, or with both the listed pairs.

        What was forgotten before is forgotten still: a request may name it again.

        Args:
          users: ``[P]`` numbers.
          items: ``[P]`` numbers.

        Returns:
          ``interactions``, how many were forgotten, and the info of ``als.local.repair``.

        Raises:
          ValueError: as ``forget.listed``; the request names every interaction that is left; or
            the equations gave what is no number, and the session is as it was.
        """
        _, request = forget.listed(self.train, users=users, items=items, before=self.weights)
        if not np.asarray(request.after).any():
            raise ValueError(
                "a session: the request names every interaction: there is nothing to serve then"
            )
        factors, rest, lost, info = self._meet(
            self.factors, self.train, request, self.rest, self.rhs
        )
        if not np.isfinite(np.asarray(info["disturbance"])):
            raise ValueError("a session: the update is not finite: retrain the model")
        if lost:
            self.factors, self.weights, self.rest = factors, request.after, rest
        return {"interactions": int(lost)} | {name: x.item() for name, x in info.items()}

    def drift(self) -> dict[str, float]:
        """How far the model is from where the session should have it, and from an optimum.

        Returns:
          ``drift``, ``|A x - b - rest| / |b|``: what the requests so far have left undone; and
          ``residual``, ``|A x - b| / |b|``, all of what is left, the unfinished training too.
        """
        drift, residual = _left(
            self.factors, self.train, self._terms(self.train, self.weights), self.rest
        )
        return {"drift": float(drift), "residual": float(residual)}

    def retrain(self, key: Array) -> dict[str, float]:
        """Trains anew on what may be known, and begins the session again from there.

        Args:
          key: typed JAX key; consumed.

        Returns:
          the info of training.

        Raises:
          ValueError: what came out is not finite.
        """
        factors, info = jax.jit(self.model.fit)(key, self.train, self.weights)
        if not all(np.isfinite(side).all() for side in factors):
            raise ValueError("a session: training did not end in numbers; the model is as it was")
        terms = self._terms(self.train, self.weights)
        rest = als.objectives.gaps(factors, self.train, terms)
        rhs = exchange(self.train, terms.target, factors)
        self.factors, self.rest, self.rhs = factors, rest, rhs
        return {name: float(x) for name, x in info.items()}

    def _repaired(
        self,
        factors: Factors,
        train: Interactions,
        request: ForgetSet,
        rest: Factors,
        rhs: Factors,
    ) -> tuple[Factors, Factors, Array, dict[str, Array]]:
        terms = self._terms(train, request.after)
        how = {"tol": self.tol, "max_rounds": self.max_rounds}
        new, info = local.repair(factors, train, terms, request, rest, rhs, **how)
        lost = jnp.sum(request.before > request.after, dtype=jnp.int32)
        # what has no data left keeps no gap either, or later requests would bring it back
        return new, clear_emptied(rest, train, request), lost, info


def _refuse_erased(factors: Factors, pulls: Factors) -> None:
    """Refuses interactions of who was erased before: the session would bring the person back."""
    for name, gone in zip(("users", "items"), _before.erased(factors, pulls), strict=True):
        if gone.any():
            ids = np.flatnonzero(gone).tolist()
            some = ", ".join(map(str, ids[:3])) + (", ..." if len(ids) > 3 else "")
            raise ValueError(
                f"a session: train has interactions of {len(ids)} {name} whose rows are 0 ({some}):"
                " if they were erased before, take their interactions out, or give weights that "
                "are 0 there, or they come back; if not, give trust=True"
            )


@jax.jit
def _left(
    factors: Factors, train: Interactions, terms: Terms, rest: Factors
) -> tuple[Array, Array]:
    """The norms of the gaps beyond ``rest`` and of all gaps, relative to the right-hand sides."""
    gaps = als.objectives.gaps(factors, train, terms)
    size = squares(exchange(train, terms.target, factors))
    beyond = squares(jax.tree.map(jnp.subtract, gaps, rest))
    return jnp.sqrt(ratio(beyond, size)), jnp.sqrt(ratio(squares(gaps), size))
