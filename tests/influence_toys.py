"""What the tests of models trained by gradient and of influence methods share."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import oracles

from jaxforget import methods, models

D = 3
TIGHT = {"n_steps": 400, "tol": 1e-12, "precondition": "none"}  # solves to the last digit

factors = functools.partial(oracles.factors, dim=D, scale=0.5)


def request(train, rows=(3, 17, 40)):
    """Asks to forget the interactions ``rows``."""
    return oracles.request(train, rows)


def model(name="mf", **changed):
    """A small model trained by gradient."""
    settings = {"dim": D, "init_scale": 0.1, "reg": 0.0, "lr": 0.05, "n_epochs": 1} | changed
    return models.load(name)(**settings)


def unlearn(model, state, train, forget, *, use="ifru", **settings):
    """Builds a method on the model and takes its step: ``(method, new state, info)``."""
    method = methods.load(use)(model, **settings)
    return method, *jax.jit(method.unlearn)(jax.random.key(0), state, train, forget)


def flat(tree):
    """All numbers of a pytree in one vector."""
    return np.concatenate([np.ravel(x) for x in jax.tree.leaves(tree)])


def dense(function, like):
    """The matrix of a linear map on pytrees."""
    vector, back = jax.flatten_util.ravel_pytree(like)
    columns = jax.lax.map(
        lambda e: jax.flatten_util.ravel_pytree(function(back(e)))[0], jnp.eye(len(vector))
    )
    return np.asarray(columns).T


def hessian_of(loss, params):
    """The matrix of second derivatives of a loss of a pytree."""
    vector, back = jax.flatten_util.ravel_pytree(params)
    return np.asarray(jax.hessian(lambda v: loss(back(v)))(vector))
