"""Scores for "this is BCC, SCC or healthy skin and nothing else", in plain NumPy.

Each is a frozen dataclass with a ``fit`` and a call: answers in, one number an image out, the
higher the likelier in scope. What is an array in it has to travel with the model. The fitting
may lean on scikit-learn, the call may not: a phone makes it. ``scope.py`` compares them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from lesionlens.confidence import softmax
from lesionlens.labels import IN_SCOPE, Label
from lesionlens.train.export import spread

#: Neighbours that count, as in "the distance to the tenth".
N_NEIGHBOURS = 10
#: Directions kept by the reduced variants, and images of each class in the small bank.
N_DIRECTIONS = 64
N_BANK_PER_CLASS = 64
#: The cancers, of which this share is to be kept.
CANCERS, KEPT = (Label.BCC, Label.SCC), 0.95
#: Share of held-out images of the three that a gate turns away.
GATE_LOSES = 0.01
_BELOW_ALL = 1e3  # log odds of a float32 softmax stay within a tenth of that
_N_IN_SCOPE = len(IN_SCOPE)


@dataclass(frozen=True)
class Answers:
    """What a network gives for N images, and what they are."""

    logits: np.ndarray  # (N, K); BCC, SCC and Normal are the first three columns
    features: np.ndarray  # (N, C) pooled
    labels: np.ndarray  # (N,) Label

    @property
    def is_in_scope(self) -> np.ndarray:
        """Whether each image shows one of the three, (N,) bool."""
        return np.isin(self.labels, IN_SCOPE)

    def __getitem__(self, rows: np.ndarray) -> Answers:
        return Answers(self.logits[rows], self.features[rows], self.labels[rows])


#: A fitted score: logits (N, K) and features (N, C) to (N,).
Score = Callable[[np.ndarray, np.ndarray], np.ndarray]


def n_bytes(score: object) -> int:
    """Return the bytes that a fitted score adds to a bundle, its arrays stored as float16."""
    if isinstance(score, np.ndarray):
        return 2 * score.size
    if dataclasses.is_dataclass(score):
        return sum(n_bytes(getattr(score, f.name)) for f in dataclasses.fields(score))
    return sum(n_bytes(part) for part in score) if isinstance(score, tuple) else 0


# ---------------------------------------------------------------- from the logits


def log_sum_exp(logits: np.ndarray) -> np.ndarray:
    """Return log(sum(exp)) of rows: (N, K) to (N,)."""
    top = logits.max(axis=1)
    total: np.ndarray = top + np.log(np.exp(logits - top[:, None]).sum(axis=1))
    return total


def explicit(logits: np.ndarray, features: np.ndarray) -> np.ndarray:
    """Log odds of the three classes' joint probability mass against the other outputs'.

    The same number as the energy of the three less that of the others (Liu 2020, two energies):
    log(sum(p_in) / sum(p_out)) = logsumexp(in) - logsumexp(out).
    """
    del features
    return log_sum_exp(logits[:, :_N_IN_SCOPE]) - log_sum_exp(logits[:, _N_IN_SCOPE:])


def largest_joint(logits: np.ndarray, features: np.ndarray) -> np.ndarray:
    """Largest of the three classes' joint probabilities."""
    del features
    return softmax(logits)[:, :_N_IN_SCOPE].max(axis=1)


def largest_softmax(logits: np.ndarray, features: np.ndarray) -> np.ndarray:
    """Largest probability among the three alone (Hendrycks and Gimpel 2017, 1610.02136)."""
    del features
    return softmax(logits[:, :_N_IN_SCOPE]).max(axis=1)


def energy_in_scope(logits: np.ndarray, features: np.ndarray) -> np.ndarray:
    """Energy, sign turned, of the three logits (Liu et al. 2020, 2010.03759)."""
    del features
    return log_sum_exp(logits[:, :_N_IN_SCOPE])


def energy_of_all(logits: np.ndarray, features: np.ndarray) -> np.ndarray:
    """Energy, sign turned, of all logits: anything known, in scope or not."""
    del features
    return log_sum_exp(logits)


@dataclass(frozen=True)
class ConformalP:
    """Largest class-conditional p-value of the joint probabilities.

    How usual the probability of a class is among held-out images of that class; a prediction
    set at coverage c is empty where this is at most 1 - c (lesionlens.conformal). Ties are
    broken by the probability itself, which changes no set.
    """

    held_out: tuple[np.ndarray, ...]  # ascending joint probabilities of the true class, by class

    @classmethod
    def fit(cls, validation: Answers) -> ConformalP:
        joint = softmax(validation.logits)
        return cls(
            tuple(
                np.sort(joint[validation.labels == label, column])
                for column, label in enumerate(IN_SCOPE)
            )
        )

    def __call__(self, logits: np.ndarray, features: np.ndarray) -> np.ndarray:
        del features
        joint = softmax(logits)[:, :_N_IN_SCOPE]
        p_values = [
            (1 + np.searchsorted(scores, joint[:, column], side="right")) / (len(scores) + 1)
            for column, scores in enumerate(self.held_out)
        ]
        smallest_step = 1 / (max(map(len, self.held_out)) + 1)
        largest: np.ndarray = np.max(p_values, axis=0) + 0.1 * smallest_step * joint.max(axis=1)
        return largest


# ---------------------------------------------------------------- from the features


@dataclass(frozen=True)
class Gaussians:
    """Distances to class means in a space where the classes' shared spread is a unit ball."""

    whitening: np.ndarray  # (C, D)
    centres: np.ndarray  # (classes, D): means times whitening

    @classmethod
    def fit(
        cls, known: Answers, classes: Sequence[Sequence[Label]], n_directions: int | None = None
    ) -> Gaussians:
        """Fit one mean for each of ``classes`` and one covariance, shrunk by Ledoit and Wolf.

        Args:
            known: images the network was trained on.
            classes: labels that make up each class.
            n_directions: keep the first principal components only.
        """
        from sklearn.covariance import ledoit_wolf

        members = [known.features[np.isin(known.labels, labels)] for labels in classes]
        means = np.stack([rows.mean(axis=0) for rows in members]).astype(np.float64)
        centred = np.concatenate([r - m for r, m in zip(members, means, strict=True)])
        scale = 1 / np.maximum(centred.std(axis=0), 1e-6)
        directions = np.diag(scale)
        if n_directions is not None:
            everything = (np.concatenate(members) - means.mean(axis=0)) * scale
            values, vectors = np.linalg.eigh(everything.T @ everything)
            directions = directions @ vectors[:, np.argsort(values)[::-1][:n_directions]]
        covariance, _ = ledoit_wolf(centred @ directions, assume_centered=True)
        values, vectors = np.linalg.eigh(covariance)
        whitening = directions @ (vectors / np.sqrt(np.maximum(values, 1e-9)))
        return cls(whitening.astype(np.float32), (means @ whitening).astype(np.float32))

    def squared_distances(self, features: np.ndarray) -> np.ndarray:
        """Return the squared Mahalanobis distance to each centre, (N, classes)."""
        white = features @ self.whitening
        # A loop over a handful of centres keeps the differences exact and the memory small.
        return np.stack([((white - centre) ** 2).sum(axis=1) for centre in self.centres], axis=1)


@dataclass(frozen=True)
class Mahalanobis:
    """Nearness to the nearest of the three classes (Lee et al. 2018, 1807.03888)."""

    gaussians: Gaussians

    @classmethod
    def fit(cls, known: Answers, n_directions: int | None = None) -> Mahalanobis:
        return cls(Gaussians.fit(known, [(label,) for label in IN_SCOPE], n_directions))

    def __call__(self, logits: np.ndarray, features: np.ndarray) -> np.ndarray:
        del logits
        nearness: np.ndarray = -np.sqrt(self.gaussians.squared_distances(features).min(axis=1))
        return nearness


@dataclass(frozen=True)
class RelativeMahalanobis:
    """The same, less the distance to one Gaussian around all that is known (Ren 2021, 2106.09022).

    All that is known includes the other lesions that the network learned.
    """

    gaussians: Gaussians
    background: Gaussians

    @classmethod
    def fit(cls, known: Answers, n_directions: int | None = None) -> RelativeMahalanobis:
        return cls(
            Gaussians.fit(known, [(label,) for label in IN_SCOPE], n_directions),
            Gaussians.fit(known, [tuple(sorted(set(known.labels)))], n_directions),
        )

    def __call__(self, logits: np.ndarray, features: np.ndarray) -> np.ndarray:
        del logits
        near = self.gaussians.squared_distances(features).min(axis=1)
        relative: np.ndarray = self.background.squared_distances(features)[:, 0] - near
        return relative


@dataclass(frozen=True)
class MahalanobisDifference:
    """Squared distance to the nearest other class less that to the nearest of the three.

    With one covariance for all of them it is linear in the features for each pair of classes:
    what a linear discriminant analysis would say.
    """

    gaussians: Gaussians  # the three first

    @classmethod
    def fit(cls, known: Answers, n_directions: int | None = None) -> MahalanobisDifference:
        others = sorted(set(known.labels) - {*IN_SCOPE, Label.UNK})
        classes = [(label,) for label in (*IN_SCOPE, *others)]
        return cls(Gaussians.fit(known, classes, n_directions))

    def __call__(self, logits: np.ndarray, features: np.ndarray) -> np.ndarray:
        del logits
        distances = self.gaussians.squared_distances(features)
        difference: np.ndarray = distances[:, _N_IN_SCOPE:].min(axis=1) - distances[
            :, :_N_IN_SCOPE
        ].min(axis=1)
        return difference


def unit_rows(features: np.ndarray) -> np.ndarray:
    """Return rows of length 1, float32."""
    length = np.linalg.norm(features, axis=1, keepdims=True)
    unit: np.ndarray = (features / np.maximum(length, 1e-12)).astype(np.float32)
    return unit


def nth_nearest(features: np.ndarray, bank: np.ndarray, n: int) -> np.ndarray:
    """Return the squared distance of unit rows to their ``n``-th nearest in a bank of unit rows."""
    similarity = features @ bank.T
    n = min(n, similarity.shape[1])
    nth: np.ndarray = 2 - 2 * np.partition(similarity, -n, axis=1)[:, -n]
    return nth


@dataclass(frozen=True)
class Neighbours:
    """Nearness to the tenth nearest known image of the three classes (Sun 2022, 2204.06507)."""

    bank: np.ndarray  # (M, C) unit rows
    n: int = N_NEIGHBOURS

    @classmethod
    def fit(cls, known: Answers, n_per_class: int | None = None) -> Neighbours:
        """Take all known images of the three, or evenly spaced ones of each class."""
        of_class = [np.flatnonzero(known.labels == label) for label in IN_SCOPE]
        if n_per_class is not None:
            of_class = [np.array(spread(list(rows), n_per_class)) for rows in of_class]
        n = N_NEIGHBOURS if n_per_class is None else N_NEIGHBOURS // 2
        return cls(unit_rows(known.features[np.concatenate(of_class)]), n)

    def __call__(self, logits: np.ndarray, features: np.ndarray) -> np.ndarray:
        del logits
        return -nth_nearest(unit_rows(features), self.bank, self.n)


@dataclass(frozen=True)
class NeighboursDifference:
    """Distance to the tenth nearest known image of another kind less that to one of the three."""

    bank: np.ndarray  # (M, C) unit rows, in scope
    others: np.ndarray  # (L, C) unit rows, not
    n: int = N_NEIGHBOURS

    @classmethod
    def fit(cls, known: Answers) -> NeighboursDifference:
        rows = unit_rows(known.features)
        return cls(rows[known.is_in_scope], rows[~known.is_in_scope])

    def __call__(self, logits: np.ndarray, features: np.ndarray) -> np.ndarray:
        del logits
        unit = unit_rows(features)
        return nth_nearest(unit, self.others, self.n) - nth_nearest(unit, self.bank, self.n)


# ---------------------------------------------------------------- several together


@dataclass(frozen=True)
class Combination:
    """Log odds from a logistic regression on several scores."""

    scores: tuple[Score, ...]
    middle: np.ndarray  # (S,) of each score on the validation part
    spread: np.ndarray  # (S,)
    weights: np.ndarray  # (S,)
    bias: float = field(default=0.0)

    @classmethod
    def fit(cls, scores: Sequence[Score], validation: Answers) -> Combination:
        """Fit on images the network was not trained on; each diagnosis of a side weighs alike."""
        from sklearn.linear_model import LogisticRegression

        values = _columns(scores, validation.logits, validation.features)
        inside = validation.is_in_scope
        middle, spread = values.mean(axis=0), np.maximum(values.std(axis=0), 1e-9)
        weights = np.zeros(len(inside))
        for side in (inside, ~inside):
            labels, counts = np.unique(validation.labels[side].astype(str), return_counts=True)
            for label, count in zip(labels, counts, strict=True):
                weights[side & (validation.labels == label)] = 1 / (len(labels) * count)
        model = LogisticRegression(C=1.0).fit(
            (values - middle) / spread, inside, weights * len(inside) / weights.sum()
        )
        return cls(tuple(scores), middle, spread, model.coef_[0], float(model.intercept_[0]))

    def __call__(self, logits: np.ndarray, features: np.ndarray) -> np.ndarray:
        values = _columns(self.scores, logits, features)
        odds: np.ndarray = ((values - self.middle) / self.spread) @ self.weights + self.bias
        return odds


@dataclass(frozen=True)
class Worse:
    """The worst of several scores: an image has to pass each of them.

    Each is laid on a scale on which 0 is where it would keep 95 % of the held-out cancers and 1
    their median. Nothing but images in scope is needed to fit it.
    """

    scores: tuple[Score, ...]
    zero: np.ndarray  # (S,)
    one: np.ndarray  # (S,)

    @classmethod
    def fit(cls, scores: Sequence[Score], validation: Answers) -> Worse:
        cancers = np.isin(validation.labels, CANCERS)
        values = _columns(scores, validation.logits[cancers], validation.features[cancers])
        zero, one = np.quantile(values, [1 - KEPT, 0.5], axis=0)
        return cls(tuple(scores), zero, one)

    def __call__(self, logits: np.ndarray, features: np.ndarray) -> np.ndarray:
        values = _columns(self.scores, logits, features)
        worst: np.ndarray = ((values - self.zero) / (self.one - self.zero)).min(axis=1)
        return worst


@dataclass(frozen=True)
class Gated:
    """Log odds of the explicit outputs, for what is no farther off than 99 % of the three are.

    What the gate turns away comes below all else, in the order of its log odds. Nothing but
    images in scope is needed to fit it.
    """

    gate: Score
    least: float  # of the gate's score

    @classmethod
    def fit(cls, gate: Score, validation: Answers) -> Gated:
        inside = validation[np.flatnonzero(validation.is_in_scope)]
        nearness = gate(inside.logits, inside.features)
        return cls(gate, float(np.quantile(nearness, GATE_LOSES, method="lower")))

    def __call__(self, logits: np.ndarray, features: np.ndarray) -> np.ndarray:
        is_near = self.is_near(logits, features)
        odds: np.ndarray = explicit(logits, features) - np.where(is_near, 0, _BELOW_ALL)
        return odds

    def is_near(self, logits: np.ndarray, features: np.ndarray) -> np.ndarray:
        """Return what the gate lets through, (N,) bool."""
        near: np.ndarray = self.gate(logits, features) >= self.least
        return near


def _columns(scores: Sequence[Score], logits: np.ndarray, features: np.ndarray) -> np.ndarray:
    return np.stack([score(logits, features) for score in scores], axis=1).astype(np.float64)
