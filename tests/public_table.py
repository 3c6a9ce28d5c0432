"""How every public function of the traced library is called, by its name; and why some are not.

``CASES``: what is called with arrays alone, everything else closed over. A case is walked by
``test_public_functions.py``: compiled, mapped over its first argument and differentiated in it.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxforget import models
from jaxforget.als import (
    chunking,
    confidence,
    local,
    objectives,
    passes,
    proximal,
    row,
    row_chunks,
    row_steps,
    rows,
    spectral,
    woodbury,
)
from jaxforget.als.certificate import bound, dual, dual_point, guarantees, lanczos, proving
from jaxforget.gradient import descent, graph, guard, losses, vectors
from jaxforget.gradient.influence import (
    curvature,
    damping,
    flow,
    importance,
    linear,
    precondition,
    problem,
    pull,
    region,
    released,
    replay,
    single,
    steps,
)
from jaxforget.gradient.influence.cg import cg
from jaxforget.metrics import (
    canaries,
    candidates,
    counting,
    distance,
    ensembles,
    evaluation,
    exposure,
    hardness,
    labels,
    rank_measures,
    ranking,
    reconstruction,
    stable,
    top,
)
from jaxforget.models.ease import ItemItem
from jaxforget.prepare import forget
from jaxforget.shards import assignment, attention, partition, training
from jaxforget.sparse import (
    arithmetic,
    bodies,
    compact,
    degrees,
    dense,
    draws,
    kernels,
    layout,
    search,
    serving,
)
from jaxforget.types import Factors, ForgetSet, Split, watch

U, I, D, N = 5, 4, 2, 11
LOOP = "Reverse-mode differentiation does not work for lax.while_loop"  # what jax says
WHOLE = "discrete"  # the result does not change smoothly with the argument, or is no number
RNG = np.random.default_rng(7)


class Case(NamedTuple):
    """One function as a function of arrays; the first argument is mapped and differentiated."""

    call: Callable[..., Any]
    args: tuple[Any, ...]
    slope: bool | str = True  # or the words of the error, or WHOLE
    plain: bool = True  # also with jit disabled


def draw(*shape):
    return jnp.asarray(RNG.uniform(0.2, 0.9, shape))


def spd(n=D):
    half = draw(n, n)
    return half @ half.T + jnp.eye(n)


CELLS = np.array([(u, i) for u in range(U) for i in range(I) if (u + 2 * i) % 7 not in (3, 5, 6)])
CELLS = CELLS[np.argsort(RNG.random(len(CELLS)))[:N]]
TRAIN = layout.build(*CELLS.T, RNG.permutation(np.arange(N) % 3 != 0) * 1.0, n_users=U, n_items=I)
HELD = layout.build([0, 1, 2], [1, 0, 3], [1.0, 1.0, 0.0], n_users=U, n_items=I)
KEY, W, F = jax.random.key(0), draw(N), Factors(draw(U, D), draw(I, D))
KEPT = jnp.where(W > 0.5, W, 0)
PLANTED = TRAIN.users[:3], TRAIN.items[:3]
F2 = Factors(draw(U, D), draw(I, D))
ASKED = ForgetSet(jnp.ones(N), jnp.ones(N).at[jnp.array([1, 4])].set(0))
TERMS = objectives.implicit(TRAIN, W, reg=1.0, alpha=2.0, nu=0.5)
EVEN = objectives.implicit(TRAIN, W, reg=1.0, alpha=2.0)
GRAM, RIDGE = F.items.T @ F.items, TERMS.ridge_users
PARTS = Factors(draw(2, U, D), draw(2, I, D))
POINT = spectral.spectral(KEY, F, TERMS, width=3)
STATE = proximal.start(POINT, TRAIN, TERMS)
SHARED = woodbury.decompose(GRAM, RIDGE)
MATRIX, VECTOR = spd(), draw(D)
SQUARE, served = draw(I, I), functools.partial(ItemItem, TRAIN, W)
MF = models.load("mf")(dim=D, init_scale=0.1, lr=0.1, n_epochs=1, reg=0.1)
GCN = models.load("lightgcn")(dim=D, init_scale=0.1, lr=0.1, n_epochs=1, reg=0.1)
LOSS = losses.build("bce", reg=0.1, n_layers=1)
SCALE = damping.degree_scale(TRAIN, W, power=0.5)
IMPORTANCE = importance.reach(TRAIN, ASKED, hops=1)
ROWS = importance.top(IMPORTANCE, n_users=2, n_items=2)
NEAR = region.of_request(TRAIN, ASKED)
STATED, _ = problem.with_pull(problem.state(MF, F, TRAIN, ASKED))
RANKED = ranking.Ranked(
    jnp.array([[0, 2], [1, 3]]), jnp.ones((2, 2), bool), jnp.array([4, 4]), jnp.array([[1, 0]] * 2)
)
SCALED = dual.Gradient(TRAIN, W / 3, F.users / 2, F.items / 2)
BASES = dual.triplets(F.users / 2, F.items / 2)
DUAL, _ = dual_point.build(SCALED, BASES, jnp.asarray(0.4), jnp.asarray(1.0))
HIDDEN = [(TRAIN, jnp.ones(N))]
USERS, ITEMS = jnp.asarray(TRAIN.users), jnp.asarray(TRAIN.items)
SHARDS = jnp.arange(N, dtype=jnp.int32) % 2
CERTAIN = {"steps": 2, "width": 2, "deflate": 1}


def valued(values):
    return dataclasses.replace(TRAIN, values=values)


def of_loss(params):
    return MF.loss(params, TRAIN, W, W)


def quadratic(params):
    return sum(jnp.sum((x - 1) ** 2) for x in jax.tree.leaves(params))


def problem_of(factors):
    return proving._problem(factors, TRAIN, EVEN)[0]


def hist(rows, offset):
    return chunking.read_histories(TRAIN.by_user, F.items, rows, offset, [W])


def body(function, **more):
    return lambda *args: function(*args, *kernels.indices(TRAIN), shape=(U, I), **more)


def twice(function, **more):
    """A body on two equal matrices at once."""

    def call(*args):
        several = [jnp.stack([x, x]) for x in (*args, *kernels.indices(TRAIN))]
        return bodies.block_diagonal(function, several, shape=(U, I), **more)

    return call


def asked(function, **more):
    """A constructor of requests, over its key."""
    return Case(lambda key: function(key, TRAIN, 0.3, **more)[1], (KEY,), WHOLE)


def at_k(measure):
    return Case(lambda ranks: measure(RANKED._replace(ranks=ranks), k=3), (RANKED.ranks,), WHOLE)


def stepped(build, **settings):
    """A way to take a step, at parameters."""
    take = build("walk", MF, damping_power=0.5, **settings)

    def call(params):
        return take(problem.with_pull(problem.state(MF, params, TRAIN, ASKED))[0])[0]

    return Case(call, (F,), LOOP)


SYSTEM = linear.System("gauss_newton", 5, 1e-3, "diagonal")
ALS = {
    "objectives.implicit": Case(
        lambda v: objectives.implicit(valued(v), W, reg=1.0, alpha=2.0), (draw(N),)
    ),
    "objectives.explicit": Case(lambda w: objectives.explicit(TRAIN, w, reg=1.0), (W,)),
    "objectives.objective": Case(
        lambda f: objectives.objective(f, TRAIN, W, reg=1.0, alpha=2.0), (F,)
    ),
    "objectives.residual": Case(
        lambda f: objectives.residual(f, TRAIN, W, reg=1.0, alpha=2.0), (F,)
    ),
    "objectives.cost": Case(lambda f: objectives.cost(f, TRAIN, TERMS), (F,)),
    "objectives.optimality": Case(lambda f: objectives.optimality(f, TRAIN, TERMS), (F,)),
    "objectives.gaps": Case(lambda f: objectives.gaps(f, TRAIN, TERMS), (F,)),
    "objectives.gap": Case(lambda f: objectives.gap(f, TRAIN, TERMS, by="item"), (F,)),
    "local.repair": Case(
        lambda f: local.repair(f, TRAIN, TERMS, ASKED, F, max_rounds=2)[0], (F,), LOOP
    ),
    "row_chunks.normal_matrices": Case(
        lambda c: row_chunks.normal_matrices(
            c, jnp.ones(U), GRAM, TRAIN.by_user, F.items, jnp.arange(2), 4
        ),
        (W,),
        LOOP,
    ),
    "objectives.squares": Case(objectives.squares, (F,)),
    "objectives.gram": Case(objectives.gram, (F.users,)),
    "passes.solve_rows": Case(
        lambda x: passes.solve_rows(x, TRAIN, W, by="user", reg=1.0, alpha=2.0), (F.items,)
    ),
    "passes.half_sweep": Case(lambda x: passes.half_sweep(x, TRAIN, TERMS, by="item"), (F.users,)),
    "passes.sweep": Case(lambda f: passes.sweep(f, TRAIN, W, reg=1.0, alpha=2.0), (F,)),
    "passes.run": Case(
        lambda f: passes.run(f, TRAIN, W, n_sweeps=2, reg=1.0, alpha=2.0)[0], (F,), LOOP
    ),
    "passes.descend": Case(
        lambda f: passes.descend(f, TRAIN, TERMS, max_sweeps=2, cg_steps=2)[0], (F,), LOOP
    ),
    "passes.alternate": Case(lambda f: passes.alternate(f, TRAIN, TERMS, cg_steps=2), (F,)),
    "proximal.start": Case(
        lambda sizes: proximal.start(POINT._replace(sizes=sizes), TRAIN, TERMS).now,
        (POINT.sizes,),
    ),
    "proximal.descend": Case(
        lambda s: (
            proximal.descend(
                proximal.start(POINT._replace(sizes=s), TRAIN, TERMS),
                TRAIN,
                TERMS,
                dim=D,
                max_steps=2,
                tol=0.0,
            ).scores
        ),
        (POINT.sizes,),
        LOOP,
    ),
    "proximal.step": Case(
        lambda scores: proximal.step(STATE._replace(scores=scores), TRAIN, TERMS, dim=D).scores,
        (STATE.scores,),
    ),
    "proximal.conditioning": Case(
        lambda x: proximal.conditioning(TERMS._replace(ridge_users=x)), (RIDGE,)
    ),
    "row.solve_row": Case(
        lambda y, w: row.solve_row(y, y.T @ y, jnp.array([0, 2]), w, 1 + w, 1.0),
        (F.items, draw(2)),
    ),
    "row.downdate_row": Case(
        row.downdate_row, (jnp.linalg.inv(MATRIX), VECTOR, draw(1, D), draw(1), draw(1))
    ),
    "row_chunks.zeros": Case(row_chunks.zeros, (RIDGE, GRAM)),
    "row_chunks.on_accelerator": Case(
        lambda x: row_chunks.on_accelerator(x, F.users, RIDGE, GRAM, TRAIN.by_user, F.items),
        (W,),
        WHOLE,
    ),
    "row_chunks.on_cpu": Case(
        lambda x: row_chunks.on_cpu(x, W, F.users, RIDGE, GRAM, TRAIN.by_user, F.items, 1),
        (W,),
        WHOLE,
    ),
    "row_steps.conjugate_gradients": Case(
        lambda x: row_steps.conjugate_gradients(
            W, W, RIDGE, GRAM, TRAIN, F.items, x, by="user", n_steps=2
        ),
        (F.users,),
    ),
    "rows.solve_exactly": Case(
        lambda x: rows.solve_exactly(x, W, RIDGE, GRAM, TRAIN, F.items, by="user"), (W,)
    ),
    "spectral.spectral": Case(lambda f: spectral.spectral(KEY, f, TERMS, width=2).sizes, (F,)),
    "spectral.serve": Case(
        lambda p: spectral.serve(p, TERMS, dim=2), (POINT._replace(sizes=draw(3)),)
    ),
    "spectral.scales": Case(lambda x: spectral.scales(TERMS._replace(ridge_users=x)), (RIDGE,)),
    "spectral.scores_of": Case(lambda p: spectral.scores_of(p, TRAIN, TERMS), (POINT,)),
    "spectral.inner": Case(spectral.inner, (POINT, POINT._replace(sizes=draw(3)))),
    "spectral.distance": Case(spectral.distance, (POINT, POINT._replace(sizes=draw(3)))),
    "woodbury.decompose": Case(lambda x: woodbury.decompose(x + x.T, RIDGE).level, (MATRIX,)),
    "woodbury.solve_short_rows": Case(
        woodbury.solve_short_rows, (draw(3, 2, D), draw(3, 2), draw(3, 2), draw(3, D))
    ),
    "woodbury.scales": Case(lambda x: woodbury.scales(SHARED, x), (RIDGE,)),
    "woodbury.eliminate": Case(
        lambda x, b: woodbury.eliminate(x + 2 * jnp.eye(3)[:, :, None], b),
        (draw(3, 3, 2), draw(3, 2)),
    ),
    "confidence.bm25": Case(lambda w: confidence.bm25(TRAIN, w, b=0.5, k1=1.2), (W,)),
    "chunking.read_histories": Case(
        lambda x: chunking.read_histories(
            TRAIN.by_user, x, jnp.array([[0], [5]], jnp.int32), jnp.array([[0, 1]], jnp.int32), [W]
        )[0],
        (F.items,),
    ),
    "chunking.clip": Case(lambda x: chunking.clip(x, jnp.array([0, 9])), (W,)),
}
CERTIFICATE = {
    "bound.duality_gap": Case(
        lambda f: bound.duality_gap(f, TRAIN, W, reg=9.0, alpha=2.0, key=KEY, **CERTAIN).bound,
        (F,),
        WHOLE,
        plain=False,
    ),
    "bound.certify": Case(
        lambda f: (
            bound.certify(
                f, TRAIN, EVEN, key=KEY, directions=jnp.eye(I, 1), proof="cholesky", **CERTAIN
            ).bound
        ),
        (F,),
        LOOP,
        plain=False,
    ),
    "bound.people": Case(
        lambda f: bound.people(f, TRAIN, EVEN, key=KEY, **CERTAIN), (F,), WHOLE, plain=False
    ),
    "proving.prove": Case(
        lambda f: (
            proving.prove(
                KEY, f, TRAIN, EVEN, jnp.eye(I, 1), proof="lanczos", failure=1e-3, **CERTAIN
            )[0].gap
        ),
        (F,),
        WHOLE,
        plain=False,
    ),
    "dual.triplets": Case(lambda x: dual.triplets(x, F.items).sizes, (F.users,)),
    "dual.drop_loose": Case(
        lambda x: dual.drop_loose(SCALED, BASES._replace(sizes=x), jnp.asarray(0.1)), (BASES.sizes,)
    ),
    "dual.search": Case(
        lambda v: dual.search(KEY, SCALED._replace(values=v), BASES, steps=1, width=2, n=1),
        (W,),
        WHOLE,
    ),
    "dual.deflate": Case(
        lambda v: dual.deflate(SCALED._replace(values=v), BASES, jnp.eye(I, 1)), (3 * W,), WHOLE
    ),
    "dual.drop_zeros": Case(
        lambda x: dual.drop_zeros(BASES._replace(sizes=x), 1).sizes, (BASES.sizes,)
    ),
    "dual.project": Case(dual.project, (BASES.left, draw(U, 1))),
    "dual.remainder": Case(lambda x: dual.remainder(SCALED, BASES)(x), (draw(I, 1),)),
    "dual.cholesky_bound": Case(
        lambda v: dual.cholesky_bound(KEY, SCALED._replace(values=v), BASES), (W,), WHOLE
    ),
    "dual_point.build": Case(
        lambda v: dual_point.build(
            SCALED._replace(values=v), BASES, jnp.asarray(0.4), jnp.asarray(1.0)
        )[1],
        (W,),
    ),
    "dual.triplet_error": Case(
        lambda x: dual.triplet_error(x, F.items, dual.triplets(*F)), (draw(U, D),)
    ),
    "dual_point.difference": Case(
        lambda f: dual_point.difference(problem_of(f), DUAL).at_pairs, (F,)
    ),
    "guarantees.local": Case(
        lambda f: guarantees.local(KEY, f, TRAIN, TERMS, steps=2).gradient, (F,), plain=False
    ),
    "lanczos.krylov": Case(
        lambda x: lanczos.krylov(lambda b: MATRIX @ b, x, steps=2)[1], (draw(D, 1),)
    ),
    "lanczos.extension": Case(lambda x: lanczos.extension(x, BASES.right[:, :1]), (draw(I, 1),)),
    "lanczos.top_eigenvalue": Case(
        lambda x: lanczos.top_eigenvalue(KEY, lambda b: x @ b, D, steps=1, width=1, failure=0.1),
        (MATRIX,),
    ),
}
SPARSE = {
    "arithmetic.ratio": Case(lambda a, b: arithmetic.ratio(a, b, otherwise=0.0), (W, W)),
    "arithmetic.times": Case(arithmetic.times, (MATRIX, MATRIX)),
    "arithmetic.gather": Case(lambda x: arithmetic.gather(x, jnp.array([1, 0])), (W,)),
    "bodies.spmm_csr": Case(body(bodies.spmm_csr, by="item"), (W, F.users)),
    "bodies.spmm_segment": Case(body(bodies.spmm_segment, by="item"), (W, F.users)),
    "bodies.sddmm_chunked": Case(body(bodies.sddmm_chunked), (F.users, F.items), WHOLE),
    "bodies.sddmm_gathered": Case(body(bodies.sddmm_gathered), (F.users, F.items)),
    "bodies.sddmm_in_blocks": Case(body(bodies.sddmm_in_blocks), (F.users, F.items)),
    "bodies.block_diagonal": Case(twice(bodies.spmm_segment, by="item"), (W, F.users)),
    "compact.compact": Case(lambda m: compact.compact(TRAIN, m), (W > 0.5,), WHOLE),
    "compact.shorten": Case(lambda v: compact.shorten(valued(v), 3), (W,), WHOLE),
    "degrees.degrees": Case(lambda w: degrees.degrees(TRAIN, w), (W,)),
    "degrees.ridge": Case(lambda n: degrees.ridge(n, reg=0.3, nu=0.5), (W,)),
    "degrees.clear_emptied": Case(lambda f: degrees.clear_emptied(f, TRAIN, ASKED), (F,)),
    "degrees.clear_rows": Case(
        lambda f: degrees.clear_rows(f, (jnp.ones(U), jnp.ones(I)), (W[:U], jnp.zeros(I))), (F,)
    ),
    "degrees.exchange": Case(lambda f: degrees.exchange(TRAIN, W, f), (F,)),
    "dense.solve_spd": Case(lambda a, b: dense.solve_spd(a + a.T, b), (MATRIX, VECTOR)),
    "dense.inverse_root": Case(lambda a: dense.inverse_root(a + a.T), (MATRIX,)),
    "dense.inverse": Case(lambda a: dense.inverse(a + a.T), (MATRIX,)),
    "dense.subtract": Case(lambda a, b: dense.subtract(a, b[:, None], b[None]), (MATRIX, VECTOR)),
    "dense.mirror": Case(dense.mirror, (MATRIX,)),
    "dense.eigh": Case(lambda a: dense.eigh(a + a.T)[1], (MATRIX,)),
    "dense.loop_on_cpu": Case(
        lambda a: dense.loop_on_cpu(lambda x: x @ x)(a),
        (MATRIX,),
        "does not support reverse-mode",
    ),
    "draws.pair_bits": Case(lambda k: draws.pair_bits(k, TRAIN), (KEY,), WHOLE),
    "kernels.spmm": Case(lambda v: kernels.spmm(TRAIN, v, F.items, by="user"), (W,)),
    "kernels.sddmm": Case(lambda x: kernels.sddmm(TRAIN, x, F.items), (F.users,)),
    "kernels.indices": Case(lambda v: kernels.indices(valued(v)), (W,), WHOLE),
    "serving.tables": Case(lambda x: serving.tables(served(x)), (SQUARE,), WHOLE),
    "serving.scores": Case(
        lambda x: serving.scores(served(x), jnp.array([2, 0], jnp.int32)), (SQUARE,), WHOLE
    ),
    "serving.scores_of": Case(lambda x: serving.scores_of(served(x), HELD), (SQUARE,), WHOLE),
    "serving.sum_over_users": Case(
        lambda x: serving.sum_over_users(lambda u: jnp.sum(x[:, u], axis=1), F), (F.users.T,), WHOLE
    ),
    "serving.largest": Case(lambda x: serving.largest(served(x)), (SQUARE,), WHOLE),
    "serving.spans": Case(lambda v: serving.spans(valued(v), jnp.arange(U)), (W,), WHOLE),
    "serving.histories": Case(
        lambda u: serving.histories(TRAIN, u, 3), (jnp.array([1, 0], jnp.int32),), WHOLE
    ),
    "layout.rank": Case(
        lambda p: layout.rank(jnp, p, TRAIN.by_user.widths), (TRAIN.by_user.indptr,), WHOLE
    ),
    "layout.members": Case(
        lambda n: layout.members(TRAIN.by_user, n, n + 2, 3), (jnp.asarray(1, jnp.int32),), WHOLE
    ),
    "layout.part": Case(
        lambda n: layout.part(ITEMS, n, n + 2, 3), (jnp.asarray(1, jnp.int32),), WHOLE
    ),
    "search.inside": Case(lambda u: search.inside(u, 3), (USERS,), WHOLE),
    "search.position": Case(
        lambda u: search.position(TRAIN, u, ITEMS, after=True), (USERS,), WHOLE
    ),
}
GRADIENT = {
    "descent.adam": Case(lambda x: descent.adam(0.1).init(x), (W,), WHOLE),
    "descent.lenient": Case(
        lambda x: descent.lenient(optax.sgd(0.1)).update(x, optax.sgd(0.1).init(x), x)[0], (W,)
    ),
    "descent.minibatch": Case(
        lambda f: descent.minibatch(KEY, MF.margins, f, TRAIN, W, lr=0.1, batch_size=4, n_epochs=1)[
            0
        ],
        (F,),
        LOOP,
    ),
    "descent.shuffled": Case(lambda k: descent.shuffled(k, TRAIN, W), (KEY,), WHOLE),
    "descent.full": Case(
        lambda f: descent.full(of_loss, f, tol=0.0, max_steps=2, lr=0.1)[0], (F,), LOOP
    ),
    "graph.propagate": Case(lambda w: graph.propagate(F, TRAIN, w, n_layers=1), (W,)),
    "graph.normalise": Case(lambda w: graph.normalise(TRAIN, w), (W,)),
    "graph.links": Case(lambda w: graph.links(TRAIN, w).values, (W,)),
    "graph.spread": Case(lambda f: graph.spread(f, graph.links(TRAIN, W), n_layers=2), (F,)),
    "guard.ceiling": Case(lambda f: guard.ceiling(of_loss, f), (F,)),
    "guard.kept": Case(lambda f: guard.kept(of_loss, F2, f), (F,)),
    "guard.climb": Case(
        lambda f: guard.climb(lambda p: jax.tree.map(lambda x: 1.1 * x, p), of_loss, f, n_steps=2),
        (F,),
    ),
    "losses.softplus": Case(losses.softplus, (W - 0.5,)),
    "losses.forgotten": Case(lambda f: losses.forgotten(GCN.loss, TRAIN, ASKED)(f), (F,)),
    "vectors.dot": Case(lambda f: vectors.dot(f, F2, scale=SCALE), (F,)),
    "vectors.norm": Case(vectors.norm, (F,)),
    "vectors.add": Case(vectors.add, (F, F2)),
    "vectors.axpy": Case(lambda f: vectors.axpy(0.5, f, F2), (F,)),
}
INFLUENCE = {
    "cg.cg": Case(lambda b: cg(lambda x: MATRIX @ x, b, n_steps=2).x, (VECTOR,), LOOP),
    "curvature.hvp": Case(lambda f: curvature.hvp(of_loss, f, F2), (F,)),
    "curvature.hessian": Case(lambda f: curvature.hessian(of_loss, f)(F2), (F,)),
    "curvature.gauss_newton": Case(
        lambda f: curvature.gauss_newton(MF.margins, f, TRAIN, W, W)(F2), (F,)
    ),
    "curvature.curvature": Case(
        lambda f: curvature.curvature(GCN, f, TRAIN, W, W, kind="full")(F2), (F,)
    ),
    "single.predicted_change": Case(
        lambda f: single.predicted_change(MF, f, TRAIN, W), (F,), WHOLE, plain=False
    ),
    "damping.degree_scale": Case(lambda w: damping.degree_scale(TRAIN, 3 * w, power=0.5), (W,)),
    "damping.implied_ridge": Case(
        lambda s: damping.implied_ridge(s, F, SCALE), (jnp.asarray(-0.5),)
    ),
    "damping.settle": Case(
        lambda f: damping.settle(MF, f, TRAIN, ASKED, damping="auto", power=0.5), (F,)
    ),
    "damping.solve_damped": Case(
        lambda b: (
            damping.solve_damped(
                lambda x: MATRIX @ x, b, damping=0.1, scale=jnp.ones(D), n_steps=2, tol=0.0
            )[0].x
        ),
        (VECTOR,),
        LOOP,
    ),
    "flow.duration": Case(flow.duration, (jnp.asarray(0.5), jnp.asarray(1.0))),
    "flow.largest_curvature": Case(
        lambda x: flow.largest_curvature(lambda v: MATRIX @ v, scale=jnp.ones(D), start=x),
        (VECTOR,),
    ),
    "flow.run": Case(
        lambda b: flow.run(
            lambda v: MATRIX @ v, b, scale=jnp.ones(D), start=VECTOR, duration=1.0, n_steps=5
        )[0],
        (VECTOR,),
        LOOP,
    ),
    "importance.reach": Case(
        lambda w: importance.reach(TRAIN, ForgetSet(W, w), hops=1), (KEPT,), WHOLE
    ),
    "importance.once": Case(lambda w: importance.once(TRAIN, w), (W,)),
    "importance.select": Case(
        lambda s: importance.select(IMPORTANCE._replace(users=s), keep=0.5),
        (IMPORTANCE.users,),
        WHOLE,
    ),
    "importance.top": Case(
        lambda s: importance.top(IMPORTANCE._replace(users=s), n_users=2, n_items=1),
        (IMPORTANCE.users,),
        WHOLE,
    ),
    "importance.take": Case(lambda f: importance.take(f, ROWS), (F,)),
    "importance.put": Case(lambda f: importance.put(f, ROWS, importance.take(F2, ROWS)), (F,)),
    "importance.meeting": Case(
        lambda m: importance.meeting(TRAIN, m, jnp.zeros(I, bool)), (jnp.arange(U) < 2,), WHOLE
    ),
    "linear.solve": Case(
        lambda f: linear.solve(SYSTEM, STATED, f, STATED.pull, jnp.asarray(0.1), SCALE)[0],
        (F,),
        LOOP,
    ),
    "linear.pull_at": Case(lambda f: linear.pull_at(STATED, f, jnp.asarray(0.1), SCALE), (F,)),
    "precondition.preconditioner": Case(
        lambda f: precondition.preconditioner("diagonal", LOSS, f, TRAIN, W, W)(SCALE)(F2), (F,)
    ),
    "problem.state": Case(lambda f: problem.state(MF, f, TRAIN, ASKED, region=NEAR).params, (F,)),
    "problem.with_pull": Case(
        lambda f: problem.with_pull(problem.state(GCN, f, TRAIN, ASKED))[0].pull, (F,)
    ),
    "problem.pull_of": Case(
        lambda f: problem.pull_of(problem.state(MF, f, TRAIN, ASKED), "retained"), (F,)
    ),
    "problem.move": Case(lambda f: problem.move(STATED, f, clearing=True), (F,)),
    "pull.forget_gradient": Case(lambda f: pull.forget_gradient(GCN.loss, f, TRAIN, ASKED), (F,)),
    "region.maps": Case(lambda f: region.maps(NEAR)[0](f), (F,)),
    "region.of_request": Case(
        lambda w: region.of_request(TRAIN, ForgetSet(W, w))[:2], (KEPT,), WHOLE
    ),
    "region.near": Case(lambda w: region.near(MF, TRAIN, ForgetSet(W, w), NEAR), (KEPT,), WHOLE),
    "region.clear": Case(lambda f: region.clear(MF, f, F2, TRAIN, ASKED, NEAR), (F,)),
    "released.changed": Case(lambda w: released.changed(TRAIN, ForgetSet(W, w)), (KEPT,), WHOLE),
    "released.by_adam": Case(
        lambda b: released.by_adam(
            lambda f: f, b, NEAR, lr=0.1, n_steps=2, patience=None, score=quadratic
        )[0],
        (F,),
        LOOP,
    ),
    "released.validation_auc": Case(
        lambda f: released.validation_auc(MF, f, watch(TRAIN, HELD), W, W), (F,), WHOLE
    ),
    "replay.run": Case(
        lambda f: replay.run(
            jax.grad(quadratic), jax.grad(of_loss), f, scale=SCALE, top=4.0, origin=0.1, n_steps=3
        )[0],
        (F,),
        LOOP,
    ),
    "steps.newton": stepped(
        steps.newton, damping="auto", hessian="full", n_steps=3, tol=0.1, precondition="none"
    ),
    "steps.flow": stepped(steps.flow, damping="auto", hessian="full", max_products=20),
    "steps.replay": stepped(steps.replay, n_steps=3, origin=0.1),
}
SHARDED = {
    "assignment.count": Case(lambda s: assignment.count(s, 2), (SHARDS,), WHOLE),
    "assignment.assign": Case(
        lambda d: assignment.assign(d.astype(jnp.float32), W > 0.3, jnp.asarray(6, jnp.int32)),
        (draw(N, 2),),
        WHOLE,
        plain=False,
    ),
    "attention.start": Case(lambda k: attention.start(k, 2, D, W.dtype), (KEY,), WHOLE),
    "attention.apply": Case(
        lambda f: attention.apply(attention.start(KEY, 2, D, W.dtype), f), (PARTS,)
    ),
    "attention.fit": Case(
        lambda f: attention.fit(KEY, f, quadratic, lr=0.1, n_steps=2)[0], (PARTS,), LOOP
    ),
    "partition.random": Case(lambda k: partition.random(k, TRAIN, n_shards=2), (KEY,), WHOLE),
    "partition.member": Case(lambda w: partition.member(SHARDS, w, n_shards=2), (W,)),
    "partition.balanced": Case(
        lambda f: partition.balanced(KEY, TRAIN, W, f, by="user", n_shards=2, n_rounds=2),
        (F,),
        WHOLE,
        plain=False,
    ),
    "training.slices_of": Case(lambda k: training.slices_of(k, TRAIN, 2), (KEY,), WHOLE),
    "training.first_changed": Case(
        lambda s: training.first_changed(s, s, ASKED, SHARDS, 2, 2), (SHARDS,), WHOLE
    ),
}
METRICS = {
    "distance.prediction_distance": Case(distance.prediction_distance, (F, F2)),
    "distance.mean_square": Case(distance.mean_square, (F,)),
    "distance.of_scores": Case(
        lambda x: distance.of_scores(x, KEPT, W, jnp.asarray(1.0)), (0.5 * W,), WHOLE
    ),
    "distance.distance_on": Case(lambda f: distance.distance_on(f, F2, TRAIN, W), (F,)),
    "ensembles.gaussian_klom": Case(
        lambda x: ensembles.gaussian_klom(x, 0.5 + x[::-1]), (draw(5, 3),)
    ),
    "ensembles.likelihood_ratios": Case(
        lambda x: ensembles.likelihood_ratios(x, 0.5 + x[::-1]), (draw(6, 3),), WHOLE
    ),
    "ensembles.klom": Case(lambda x: ensembles.klom(x, x[::-1] + 0.1), (draw(4, 3),), WHOLE),
    "ensembles.membership": Case(
        lambda x: ensembles.membership(x, 2 * x[::-1]), (draw(4, 3),), WHOLE
    ),
    "evaluation.evaluate": Case(
        lambda f: evaluation.evaluate(f, Split(TRAIN, HELD, HELD), ASKED, ks=(2,), reference=F2)[
            "rmse"
        ],
        (F,),
        plain=False,
    ),
    "labels.tpr_at_fpr": Case(
        lambda x: labels.tpr_at_fpr(x, jnp.array([1, 0, 1, 0, 0]), fpr=0.3), (draw(5),), WHOLE
    ),
    "labels.auc": Case(lambda s: labels.auc(s, TRAIN.values, W > 0), (W,), WHOLE),
    "labels.auc_between": Case(
        lambda x: labels.auc_between(x, W > 0, x[:3], KEPT[:3] > 0), (draw(len(W)),), WHOLE
    ),
    "labels.label_auc": Case(lambda f: labels.label_auc(f, TRAIN), (F,), WHOLE),
    "labels.remembered": Case(lambda w: labels.remembered(HELD, TRAIN, w), (W,), WHOLE),
    "labels.touched": Case(lambda w: labels.touched(TRAIN, ForgetSet(W, w)), (KEPT,), WHOLE),
    "labels.rmse": Case(lambda s: labels.rmse(s, TRAIN.values, W > 0), (W,)),
    "rank_measures.recall": at_k(rank_measures.recall),
    "rank_measures.precision": at_k(rank_measures.precision),
    "rank_measures.hit": at_k(rank_measures.hit),
    "rank_measures.mrr": at_k(rank_measures.mrr),
    "rank_measures.ndcg": at_k(rank_measures.ndcg),
    "rank_measures.auc_unseen": Case(
        lambda r: rank_measures.auc_unseen(RANKED._replace(ranks=r)), (RANKED.ranks,), WHOLE
    ),
    "ranking.over_users": Case(
        lambda f: ranking.over_users(
            lambda r: {"recall": rank_measures.recall(r, k=2)}, f, HELD, HIDDEN
        ),
        (F,),
        WHOLE,
        plain=False,
    ),
    "counting.above_and_upto": Case(
        lambda s: counting.above_and_upto(s, s[:, :2], jnp.full(len(s), 2, jnp.int32))[1],
        (F.users,),
        WHOLE,
    ),
    "top.in_common": Case(lambda s: top.in_common(s, 2 - s, s > -1, (1, 2))[1], (F.users,), WHOLE),
    "top.chances": Case(lambda s: top.chances(s, s > -1, (1, 2))[1], (F.users,), WHOLE),
    "ranking.overlap": Case(lambda f: ranking.overlap(f, F2, HIDDEN, ks=(2,)), (F,), WHOLE),
    "ranking.exposure": Case(
        lambda f: ranking.exposure(
            f, jnp.asarray(0, jnp.int32), jnp.ones(U, bool), HIDDEN, ks=(2,)
        ),
        (F,),
        WHOLE,
    ),
    "canaries.rank_exposure": Case(
        lambda f: canaries.rank_exposure(f, *PLANTED, jnp.ones(I, bool), TRAIN, W), (F,), WHOLE
    ),
    "exposure.of_items": Case(
        lambda f: exposure.of_items(f, jnp.arange(I) < 2, jnp.ones(U, bool), HIDDEN, ks=(2,)),
        (F,),
        WHOLE,
    ),
    "exposure.of_pairs": Case(
        lambda f: exposure.of_pairs(f, HELD, HELD.values > 0, HIDDEN, ks=(2,)), (F,), WHOLE
    ),
    "ranking.hide": Case(
        lambda w: ranking.hide([(TRAIN, w)], jnp.arange(U, dtype=jnp.int32), I), (W,), WHOLE
    ),
    "hardness.memorisation": Case(
        lambda x: hardness.memorisation(x, jnp.array([[True] * N, [False] * N])),
        (jnp.stack([W, KEPT]),),
        WHOLE,
    ),
    "hardness.entanglement": Case(lambda f: hardness.entanglement(f, TRAIN, KEPT), (F,), WHOLE),
    "candidates.over_candidates": Case(
        lambda f: candidates.over_candidates(
            lambda r: {"mrr": rank_measures.mrr(r, k=2)},
            f,
            jnp.arange(2, dtype=jnp.int32),
            jnp.array([[0, 1, 2], [3, 2, 0]], jnp.int32),
        ),
        (F,),
        WHOLE,
    ),
    "reconstruction.moved_rows": Case(
        lambda x: reconstruction.moved_rows(F.items, x), (2 * F2.items,), WHOLE
    ),
    "reconstruction.moved_counts": Case(
        lambda x: reconstruction.moved_counts(0.1 * SQUARE, 0.1 * x), (SQUARE.T,), WHOLE
    ),
    "reconstruction.r_precision": Case(
        lambda x: reconstruction.r_precision(x, jnp.arange(N) < 4), (W,), WHOLE
    ),
    "reconstruction.recovered": Case(
        lambda x: reconstruction.recovered(x, jnp.arange(N) < 4)[1], (W,), WHOLE
    ),
    "stable.stable_items": Case(
        lambda f: stable.stable_items(f, TRAIN, W, jnp.asarray(0.1), k=1), (F,), WHOLE
    ),
}
PREPARE = {
    "forget.random": asked(forget.random),
    "forget.users": asked(forget.users),
    "forget.items": asked(forget.items),
    "forget.active": asked(forget.active),
    "forget.inactive": asked(forget.inactive),
    "forget.popular": asked(forget.popular),
    "forget.flipped": asked(forget.flipped),
    "forget.pairs": Case(lambda u: forget.pairs(TRAIN, u, ITEMS)[1], (USERS,), WHOLE),
    "forget.listed": Case(lambda u: forget.listed(TRAIN, users=u)[1], (USERS,), WHOLE),
}
CASES = {
    f"{package}.{name}": case
    for package, cases in (
        ("als", ALS),
        ("als.certificate", CERTIFICATE),
        ("sparse", SPARSE),
        ("gradient", GRADIENT),
        ("gradient.influence", INFLUENCE),
        ("shards", SHARDED),
        ("metrics", METRICS),
        ("prepare", PREPARE),
    )
    for name, case in cases.items()
}

SLOW = {  # long to compile, or many small programs: in test-all
    "als.certificate.bound.certify",
    "als.certificate.bound.duality_gap",
    "als.certificate.bound.people",
    "als.certificate.dual.cholesky_bound",
    "als.certificate.dual.search",
    "als.certificate.guarantees.local",
    "als.certificate.lanczos.top_eigenvalue",
    "als.certificate.proving.prove",
    "als.passes.alternate",
    "als.passes.descend",
    "als.passes.half_sweep",
    "als.passes.run",
    "als.passes.sweep",
    "als.proximal.descend",
    "als.proximal.step",
    "gradient.descent.full",
    "gradient.descent.minibatch",
    "gradient.influence.linear.solve",
    "gradient.influence.steps.flow",
    "gradient.influence.steps.newton",
    "gradient.influence.steps.replay",
    "metrics.evaluation.evaluate",
    "shards.attention.fit",
    "sparse.compact.compact",
    "shards.partition.balanced",
}

HOST = "host: reads files, texts or concrete arrays; "
SETTINGS = "checks settings or builds functions on the host; "
EXEMPT = {  # a function, or a module of them, and why it is not walked
    "als.certificate.digests": HOST + "tests/test_receipts.py",
    "als.certificate.evidence": HOST + "tests/test_receipts.py",
    "als.certificate.fields": HOST + "tests/test_receipts.py",
    "als.certificate.receipt": HOST + "tests/test_receipts.py",
    "als.certificate.signing": HOST + "tests/test_receipts.py",
    "als.certificate.verifying": HOST + "tests/test_receipts.py",
    "als.certificate.lanczos.shortfall": "arithmetic of Python numbers; tests/test_certificate.py",
    "als.certificate.proving.check_settings": SETTINGS + "tests/test_settings.py",
    "als.chunking.bands": "arithmetic of Python numbers; tests/test_als.py",
    "als.dealing": HOST + "tests/test_mesh.py",
    "als.mesh": "programs of several devices; tests/test_mesh.py",
    "als.mesh_users": "programs of several devices; tests/test_mesh.py",
    "als.confidence.require_counts": SETTINGS + "tests/test_values.py",
    "sparse.arithmetic.widened": "the dtype of ``wide``",
    "sparse.arithmetic.wide": "a dtype",
    "sparse.kernels.shape_of": "two Python numbers",
    "sparse.serving.sizes": "two Python numbers",
    "sparse.serving.precision": "a dtype",
    "sparse.serving.users_at_once": "a Python number",
    "sparse.aligned.layouts": HOST + "tests/test_layout.py",
    "sparse.layout.build": HOST + "tests/test_layout.py",
    "sparse.layout.widths_of": HOST + "tests/test_layout.py",
    "gradient.losses.build": SETTINGS + "tests/test_influence.py",
    "gradient.model.build": SETTINGS + "tests/test_model_transformations.py",
    "gradient.influence.curvature.margins_of": SETTINGS + "tests/test_influence_methods.py",
    "gradient.influence.linear.listed": "asks what kind of region there is; no array",
    "gradient.influence.region.chooser": SETTINGS + "tests/test_importance.py",
    "shards.attention.trainer": SETTINGS + "tests/test_receraser.py",
    "shards.partition.check_balance": SETTINGS + "tests/test_settings.py",
    "shards.sharded.method": SETTINGS + "tests/test_sisa.py",
    "shards.training.shard_size": "arithmetic of Python numbers",
    "shards.training.train_shards": "whole trainings; tests/test_sisa.py, tests/test_contracts.py",
    "metrics.audit": HOST + "tests/test_audit.py",
    "metrics.claims": HOST + "tests/test_audit.py",
    "metrics.differences": HOST + "tests/test_audit.py",
    "metrics.variations": HOST + "tests/test_audit.py",
    "metrics.ensembles.ensemble": "whole trainings; tests/test_ensembles.py",
    "prepare.interop": HOST + "tests/test_interop.py",
    "prepare.planted": HOST + "tests/test_planted.py",
    "prepare.preprocess": HOST + "tests/test_preprocess.py",
    "prepare.published": HOST + "tests/test_listed.py",
    "prepare.requests": HOST + "tests/test_forget_pairs.py",
    "prepare.shilling": HOST + "tests/test_shilling.py",
    "prepare.split": HOST + "tests/test_split.py",
}
