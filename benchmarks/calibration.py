"""Which calibration, and which prediction sets? Each fitted on four folds and judged on the fifth.

    python benchmarks/calibration.py runs/lens --into docs/verdicts.md

Prints three tables of the held-out logits of a cross-validated run: calibrations of the answer
among BCC, SCC and Normal; calibrations of ``scope``, the probability that it is one of the three,
with the other lesions weighing as much as the three; and ways of making prediction sets.
Intervals draw whole lesions or patients; differences are of the same draws. Needs no TensorFlow;
a run of 11,500 images takes half a minute of one core.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from folds import Pooled, load_folds, put_into, table
from lesionlens import scoring
from lesionlens.confidence import fit_temperature, softmax
from lesionlens.intervals import Metric, Scores, bootstrap
from lesionlens.labels import IN_SCOPE, Label

BEGIN = "<!-- benchmarks/calibration.py -->"
N_BOOTSTRAP = 2000
#: Adopted; what the others are compared with.
TEMPERATURE = "temperature, of the three (ships)"
#: Strength of the pull of Dirichlet calibration towards a temperature; set once, not tuned.
RIDGE = 3e-3

#: From held-out rows to a function of fresh logits (N, K) to probabilities.
Fit = Callable[[Pooled], Callable[[np.ndarray], np.ndarray]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path, help="folder of a cross-validated run")
    parser.add_argument("--coverage", type=float, default=0.9, help="of the sets")
    parser.add_argument("--into", type=Path, help="page whose tables between marks to replace")
    args = parser.parse_args()
    pooled = load_folds(args.run)
    n_closed = int(pooled.is_in_scope.sum())
    # Photos of other things are no lesions: they would flatter the calibration of scope.
    lesions = pooled.rows(pooled.y_true != Label.NOT_SKIN)
    text = (
        f"{n_closed:,} images of BCC, SCC and healthy skin among {len(lesions.y_true):,} of skin, "
        f"{pooled.views} views, {pooled.fold_of.max() + 1} folds.\n\n"
        f"The answer among the three:\n\n{closed_table(pooled)}\n"
        f"`scope`, other lesions weighing as much as the three:\n\n{scope_table(lesions)}\n"
        f"Sets of {args.coverage:.0%} coverage:\n\n{sets_table(lesions, args.coverage)}\n"
    )
    print(text)
    if args.into is not None:
        put_into(args.into, BEGIN, text)


def cross_fitted(fit: Fit, pooled: Pooled, width: int) -> np.ndarray:
    """Return the probabilities (N, width) that a fit on the other folds gives to each fold."""
    found = np.empty((len(pooled.y_true), width))
    for fold in np.unique(pooled.fold_of):
        own = pooled.fold_of == fold
        found[own] = fit(pooled.rows(~own))(pooled.logits[own]).reshape(-1, width)
    return found


# ---------------------------------------------------------------- the answer among the three


def closed_table(pooled: Pooled) -> str:
    closed = pooled.rows(pooled.is_in_scope)
    truth = truth_of(closed)
    one_hot = np.eye(len(IN_SCOPE))[truth]
    rows = np.arange(len(truth))
    found = {name: cross_fitted(fit, closed, len(IN_SCOPE)) for name, fit in CLOSED.items()}
    bins = {name: scoring.calibration_bin_of(values.max(1)) for name, values in found.items()}

    def scores(weights: np.ndarray) -> dict[str, Scores]:
        return {
            name: {
                "log loss": scoring.log_losses(weights, values[rows, truth]),
                "Brier": scoring.brier_scores(weights, values, one_hot),
                "ECE": scoring.calibration_errors(
                    weights, values.max(1), values.argmax(1) == truth, bins[name]
                ),
            }
            for name, values in found.items()
        }

    return compare(scores, closed.group_of, more={
        name: f"{(values.argmax(1) == truth).mean():.3f}" for name, values in found.items()
    }, heading="accuracy")  # fmt: skip


def truth_of(pooled: Pooled) -> np.ndarray:
    return np.array([IN_SCOPE.index(label) for label in pooled.y_true])


def uncalibrated(pooled: Pooled) -> Callable[[np.ndarray], np.ndarray]:
    columns = pooled.columns
    return lambda logits: softmax(logits[:, columns])


def by_temperature(pooled: Pooled) -> Callable[[np.ndarray], np.ndarray]:
    columns = pooled.columns
    found = fit_temperature(pooled.logits[:, columns], truth_of(pooled))
    return lambda logits: softmax(logits[:, columns] / found)


def by_vector(pooled: Pooled) -> Callable[[np.ndarray], np.ndarray]:
    """Scale and shift each logit (Guo and others 2017).

    The logits as they come: of log probabilities, a class that is nearly never mistaken gets a
    factor without bound, and its one mistake then costs more than all the others.
    """
    return by_affine(pooled, is_diagonal=True)


def by_matrix(pooled: Pooled) -> Callable[[np.ndarray], np.ndarray]:
    """Map log probabilities linearly, held near a temperature: Dirichlet calibration with ODIR.

    Kull and others 2019, https://arxiv.org/abs/1910.12656.
    """
    return by_affine(pooled, is_diagonal=False)


def by_affine(pooled: Pooled, *, is_diagonal: bool) -> Callable[[np.ndarray], np.ndarray]:
    from scipy.optimize import minimize

    columns, truth = pooled.columns, truth_of(pooled)

    def inputs(logits: np.ndarray) -> np.ndarray:
        return logits[:, columns] if is_diagonal else np.log(softmax(logits[:, columns]))

    values = inputs(pooled.logits)
    n, k = values.shape
    one_hot, eye = np.eye(k)[truth], np.eye(k)
    allowed = eye if is_diagonal else np.ones((k, k))

    def loss(parameters: np.ndarray) -> tuple[float, np.ndarray]:
        weights, shift = parameters[: k * k].reshape(k, k) * allowed, parameters[k * k :]
        probability = softmax(values @ weights.T + shift)
        off = weights * (1 - eye)
        pull = 0.0 if is_diagonal else RIDGE
        value = -np.log(probability[np.arange(n), truth].clip(1e-300)).mean()
        error = (probability - one_hot) / n
        slope = error.T @ values + 2 * pull * off
        slope_shift = error.sum(axis=0) + 2 * pull * shift
        value += pull * ((off**2).sum() + (shift**2).sum())
        return value, np.concatenate([(slope * allowed).ravel(), slope_shift])

    start = np.concatenate([eye.ravel() / fit_temperature(values, truth), np.zeros(k)])
    best = minimize(loss, start, jac=True, method="L-BFGS-B").x
    weights, shift = best[: k * k].reshape(k, k) * allowed, best[k * k :]
    return lambda logits: softmax(inputs(logits) @ weights.T + shift)


def one_against_rest(
    fit: Callable[[np.ndarray, np.ndarray, np.ndarray], Callable[[np.ndarray], np.ndarray]],
) -> Fit:
    """Calibrate each class's probability alone, and make them sum to 1 again."""

    def of_pooled(pooled: Pooled) -> Callable[[np.ndarray], np.ndarray]:
        base, truth = by_temperature(pooled), truth_of(pooled)
        values = base(pooled.logits)
        even = np.ones(len(truth))
        maps = [fit(values[:, k], truth == k, even) for k in range(len(IN_SCOPE))]

        def of_logits(logits: np.ndarray) -> np.ndarray:
            columns = [maps[k](values) for k, values in enumerate(base(logits).T)]
            # A hair, so that no truth is called impossible.
            found = np.column_stack(columns).clip(1e-4, 1)
            normalised: np.ndarray = found / found.sum(axis=1, keepdims=True)
            return normalised

        return of_logits

    return of_pooled


def isotonic(
    probability: np.ndarray, is_true: np.ndarray, weights: np.ndarray
) -> Callable[[np.ndarray], np.ndarray]:
    """Any rising map (Zadrozny and Elkan 2002)."""
    from sklearn.isotonic import IsotonicRegression

    model = IsotonicRegression(y_min=0, y_max=1, out_of_bounds="clip")
    model.fit(probability, is_true, sample_weight=weights)
    return lambda values: np.asarray(model.predict(values)).clip(1e-4, 1 - 1e-4)


def beta(
    probability: np.ndarray, is_true: np.ndarray, weights: np.ndarray
) -> Callable[[np.ndarray], np.ndarray]:
    """Logistic regression on ln p and -ln(1 - p) (Kull, Silva Filho and Flach 2017)."""
    return logistic(
        lambda p: np.column_stack([np.log(p), -np.log1p(-p)]), probability, is_true, weights
    )


def platt(
    probability: np.ndarray, is_true: np.ndarray, weights: np.ndarray
) -> Callable[[np.ndarray], np.ndarray]:
    """Logistic regression on the log odds (Platt 1999)."""
    return logistic(
        lambda p: (np.log(p) - np.log1p(-p))[:, np.newaxis], probability, is_true, weights
    )


def logistic(
    features: Callable[[np.ndarray], np.ndarray],
    probability: np.ndarray,
    is_true: np.ndarray,
    weights: np.ndarray,
) -> Callable[[np.ndarray], np.ndarray]:
    from sklearn.linear_model import LogisticRegression

    def inside(values: np.ndarray) -> np.ndarray:
        return features(values.clip(1e-9, 1 - 1e-9))

    model = LogisticRegression(C=1e6, max_iter=1000)
    model.fit(inside(probability), is_true, sample_weight=weights)
    return lambda values: np.asarray(model.predict_proba(inside(values))[:, 1])


CLOSED: dict[str, Fit] = {
    TEMPERATURE: by_temperature,
    "none": uncalibrated,
    "vector scaling": by_vector,
    "Dirichlet": by_matrix,
    "beta, one against the rest": one_against_rest(beta),
    "isotonic, one against the rest": one_against_rest(isotonic),
}


# ---------------------------------------------------------------- scope


def scope_table(pooled: Pooled) -> str:
    is_inside = pooled.is_in_scope
    even = half_and_half(is_inside)
    found = {name: cross_fitted(fit, pooled, 1)[:, 0] for name, fit in SCOPE.items()}
    bins = {name: weighted_bins(values, even) for name, values in found.items()}

    def scores(weights: np.ndarray) -> dict[str, Scores]:
        counted = weights * even
        return {
            name: {
                "log loss": scoring.log_losses(counted, np.where(is_inside, values, 1 - values)),
                "Brier": scoring.ratio(counted @ (values - is_inside) ** 2, counted.sum(axis=1)),
                "ECE": scoring.calibration_errors(counted, values, is_inside, bins[name]),
            }
            for name, values in found.items()
        }

    return compare(scores, pooled.group_of, heading="mean of the three, of others", more={
        name: f"{values[is_inside].mean():.2f}, {values[~is_inside].mean():.2f}"
        for name, values in found.items()
    })  # fmt: skip


def half_and_half(is_inside: np.ndarray) -> np.ndarray:
    """Return weights with which images of the three and of others count alike."""
    return np.where(is_inside, 0.5 / is_inside.mean(), 0.5 / (~is_inside).mean())


def weighted_bins(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return bins of equal weight, (N,) int; rows of one value share one."""
    order = np.argsort(values, kind="stable")
    before = np.cumsum(weights[order]) - weights[order]
    _, first, of_row = np.unique(values, return_index=True, return_inverse=True)
    place = np.empty(len(values))
    place[order] = before
    # Of rows of one value the earliest place; argsort is stable, so that it is the first's.
    share = place[first][of_row] / weights.sum()
    return np.minimum((share * scoring.CALIBRATION_BINS).astype(int), scoring.CALIBRATION_BINS - 1)


def mass(pooled: Pooled, temperature: float) -> Callable[[np.ndarray], np.ndarray]:
    columns = pooled.columns
    # Not above 1 by a rounding error.
    return lambda logits: softmax(logits / temperature)[:, columns].sum(axis=1).clip(0, 1)


def scope_by_temperature(pooled: Pooled) -> Callable[[np.ndarray], np.ndarray]:
    closed = pooled.rows(pooled.is_in_scope)
    return mass(pooled, fit_temperature(closed.logits[:, closed.columns], truth_of(closed)))


def scope_by_own_temperature(pooled: Pooled) -> Callable[[np.ndarray], np.ndarray]:
    """One temperature for all outputs, fitted on which of them it is; unnamed lesions are out."""
    known = np.isin(pooled.y_true, np.array(pooled.labels, dtype=object))
    truth = np.array([pooled.labels.index(label) for label in pooled.y_true[known]])
    return mass(pooled, fit_temperature(pooled.logits[known], truth))


def after_temperature(
    fit: Callable[[np.ndarray, np.ndarray, np.ndarray], Callable[[np.ndarray], np.ndarray]],
) -> Fit:
    def of_pooled(pooled: Pooled) -> Callable[[np.ndarray], np.ndarray]:
        base = scope_by_temperature(pooled)
        is_inside = pooled.is_in_scope
        calibrated = fit(base(pooled.logits), is_inside, half_and_half(is_inside))
        return lambda logits: calibrated(base(logits))

    return of_pooled


SCOPE: dict[str, Fit] = {
    TEMPERATURE: scope_by_temperature,
    "none": lambda pooled: mass(pooled, 1.0),
    "temperature, of all outputs": scope_by_own_temperature,
    "Platt": after_temperature(platt),
    "beta": after_temperature(beta),
    "isotonic": after_temperature(isotonic),
}


def compare(
    scores: Callable[[np.ndarray], Mapping[str, Scores]],
    group_of: np.ndarray,
    *,
    more: Mapping[str, str],
    heading: str,
) -> str:
    """Return a table: a row a method, each figure with its interval, and its log loss beside
    that of the temperature."""

    def flat(weights: np.ndarray) -> Scores:
        found = scores(weights)
        values = {
            f"{name}|{key}": value for name, row in found.items() for key, value in row.items()
        }
        for name, row in found.items():
            values[f"{name}|gain"] = row["log loss"] - found[TEMPERATURE]["log loss"]
        return values

    metrics = bootstrap(flat, group_of, N_BOOTSTRAP, np.random.default_rng(0))
    figures = ("log loss", "Brier", "ECE")
    header = ["", *figures, "log loss less the first row's", heading]
    rows = [
        [
            name,
            *(cell(metrics[f"{name}|{figure}"]) for figure in figures),
            "" if name == TEMPERATURE else cell(metrics[f"{name}|gain"], sign="+"),
            more[name],
        ]
        for name in more
    ]
    return table(header, rows)


def cell(metric: Metric, *, sign: str = "", places: int = 3) -> str:
    """Return a value and its interval for a table."""
    if metric.value is None:
        return "–"
    if metric.low is None or metric.high is None:
        return f"{metric.value:{sign}.{places}f}"
    joint = " to " if sign else "–"
    low, high = (f"{end:{sign}.{places}f}" for end in (metric.low, metric.high))
    return f"{metric.value:{sign}.{places}f} ({low}{joint}{high})"


# ---------------------------------------------------------------- prediction sets


def sets_table(pooled: Pooled, coverage: float) -> str:
    is_inside = pooled.is_in_scope
    found = {
        name: cross_fitted_sets(score, pooled, coverage, by_class=by_class)
        for name, (score, by_class) in SETS.items()
    }
    own = np.array([list(IN_SCOPE).index(x) if x in IN_SCOPE else 0 for x in pooled.y_true])

    def scores(weights: np.ndarray) -> Scores:
        values: Scores = {}
        for name, sets in found.items():
            size = sets.sum(axis=1)
            holds = sets[np.arange(len(own)), own]
            for label in IN_SCOPE:
                of = weights * (pooled.y_true == label)
                values[f"{name}|{label}"] = scoring.ratio(of @ holds, of.sum(axis=1))
            for key, rows, figure in (
                ("size", is_inside, size),
                ("empty", is_inside, size == 0),
                ("others empty", ~is_inside, size == 0),
                ("others single", ~is_inside, size == 1),
            ):
                of = weights * rows
                values[f"{name}|{key}"] = scoring.ratio(of @ figure, of.sum(axis=1))
        return values

    metrics = bootstrap(scores, pooled.group_of, N_BOOTSTRAP, np.random.default_rng(0))
    keys = [*IN_SCOPE, "size", "empty", "others empty", "others single"]
    header = ["score", *(f"covered, {label}" for label in IN_SCOPE), "mean size, of the three",
              "empty, of the three", "empty, others", "one class, others"]  # fmt: skip
    return table(
        header, [[name, *(cell(metrics[f"{name}|{k}"], places=2) for k in keys)] for name in SETS]
    )


def cross_fitted_sets(
    score: Callable[[np.ndarray, list[int]], np.ndarray],
    pooled: Pooled,
    coverage: float,
    *,
    by_class: bool,
) -> np.ndarray:
    """Return which classes are in each image's set, (N, 3) bool."""
    sets = np.empty((len(pooled.y_true), len(IN_SCOPE)), bool)
    for fold in np.unique(pooled.fold_of):
        own = pooled.fold_of == fold
        others = pooled.rows(~own)
        others = others.rows(others.is_in_scope)
        truth, columns = truth_of(others), pooled.columns
        temperature = fit_temperature(others.logits[:, columns], truth)
        held_out = score(softmax(others.logits / temperature), columns)
        held_out = held_out[np.arange(len(truth)), truth]
        fresh = score(softmax(pooled.logits[own] / temperature), columns)
        for k in range(len(IN_SCOPE)):
            some = held_out[truth == k] if by_class else held_out
            rank = int(np.floor((1 - coverage) * (len(some) + 1) + 1e-9))
            sets[own, k] = fresh[:, k] >= (np.sort(some)[rank - 1] if rank else -np.inf)
    return sets


def joint_probability(joint: np.ndarray, columns: list[int]) -> np.ndarray:
    return joint[:, columns]


def conditional_probability(joint: np.ndarray, columns: list[int]) -> np.ndarray:
    inside = joint[:, columns]
    conditional: np.ndarray = inside / inside.sum(axis=1, keepdims=True).clip(1e-300)
    return conditional


def less_likely(joint: np.ndarray, columns: list[int]) -> np.ndarray:
    """Return one less the mass of all outputs at least as likely as each of the three.

    The score of adaptive prediction sets (Romano, Sesia and Candès 2020,
    https://arxiv.org/abs/2006.02544), without its random part: the higher the more usual.
    """
    inside = joint[:, columns]
    at_least = joint[:, np.newaxis, :] >= inside[:, :, np.newaxis]
    return 1 - (joint[:, np.newaxis, :] * at_least).sum(axis=2)


def less_likely_of_three(joint: np.ndarray, columns: list[int]) -> np.ndarray:
    return less_likely(conditional_probability(joint, columns), [0, 1, 2])


SETS = {
    "joint probability, by class (ships)": (joint_probability, True),
    "joint probability, one threshold for all": (joint_probability, False),
    "conditional probability, by class": (conditional_probability, True),
    "adaptive (APS) of all outputs, by class": (less_likely, True),
    "adaptive (APS) of the three, by class": (less_likely_of_three, True),
}


if __name__ == "__main__":
    main()
