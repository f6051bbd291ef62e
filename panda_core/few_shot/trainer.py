"""Training on seen classes: batches of normal and abnormal images, references drawn anew for every batch."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from panda_core.errors import PandaError
from panda_core.events import Computing, Stepped
from panda_core.few_shot.constraintor import hypersphere_loss, shell_loss
from panda_core.few_shot.estimating import Boundary, boundary_loss, chunks, likelihood_loss, two_center_loss
from panda_core.few_shot.model import ResidualModel
from panda_core.few_shot.residuals import References

WEIGHT_DECAY = 5e-4
DROPS = (0.7, 0.9)  # shares of all steps after which the learning rate falls to a tenth, as at epochs 70 and 90 of 100
MEASURED = 48  # seen normal images from which the size of residuals is measured
NORMALS_FIRST = 0.1  # share of the steps that see normal images alone: 10 epochs of 100


@dataclasses.dataclass(frozen=True)
class Seen:
    """Images of the classes that are trained on.

    levels: (N, h, w, C) for each level, float16 or float32. owner: (N,), the number of each image's class.
    abnormal: (N, h, w), bool, for each level, which positions show a defect. normal: (N,), bool, whole images.
    """

    levels: Sequence[np.ndarray]
    owner: np.ndarray
    abnormal: Sequence[np.ndarray]
    normal: np.ndarray

    def batch(self, level: int, rows: np.ndarray, device: torch.device) -> Tensor:
        """Return features (B, h, w, C) of some images."""
        return torch.from_numpy(self.levels[level][rows].astype(np.float32)).to(device)


class ResidualTrainer:
    """Trains a `ResidualModel` on what is seen, one batch a step."""

    def __init__(self, model: ResidualModel, seen: Seen, *, steps: int, batch_size: int, lr: float, seed: int) -> None:
        self.model, self.seen, self.steps, self.batch_size, self.lr = model, seen, steps, batch_size, lr
        self._rng = np.random.default_rng([seed, 6])
        self._boundaries = [Boundary() for _ in model.levels]
        self._optimisers = [
            torch.optim.Adam(part.parameters(), lr=lr, weight_decay=WEIGHT_DECAY)
            for part in (model.constraintors, model.flows)
        ]
        self._queue: list[int] = []
        self._normals_only = True

    def run(self) -> Computing[None]:
        """Make all steps, and yield each after it was made. A loss that is not finite raises `PandaError`."""
        self.model.set_training(True)
        images_seen = 0
        for step in range(self.steps):
            for optimiser in self._optimisers:
                for group in optimiser.param_groups:
                    group["lr"] = self.lr * 0.1 ** sum(step >= share * self.steps for share in DROPS)
            normals_only = step < NORMALS_FIRST * self.steps
            if normals_only != self._normals_only:
                self._normals_only, self._queue = normals_only, []
            rows = self._next_rows()
            loss = self._step(rows, normals_only)
            if not np.isfinite(loss):
                raise PandaError(
                    f"The loss is no number at step {step + 1}. Set a smaller `--lr`, for instance 0.0003."
                )
            images_seen += len(rows)
            yield Stepped(step=step + 1, images_seen=images_seen, loss=loss)
        self.model.set_training(False)

    def _next_rows(self) -> np.ndarray:
        """Return the images of a batch: every one is seen before any is seen again."""
        eligible = np.nonzero(self.seen.normal)[0] if self._normals_only else np.arange(len(self.seen.normal))
        while len(self._queue) < min(self.batch_size, len(eligible)):
            self._queue += self._rng.permutation(eligible).tolist()
        rows, self._queue = self._queue[: self.batch_size], self._queue[self.batch_size :]
        return np.sort(np.array(rows))

    def _step(self, rows: np.ndarray, normals_only: bool) -> float:
        references = self.draw_references(rows)
        total = 0.0
        for level in range(len(self.model.levels)):
            features = self.seen.batch(level, rows, self.model.device)
            abnormal = torch.from_numpy(self.seen.abnormal[level][rows]).to(self.model.device)
            owners = [references[int(owner)] for owner in self.seen.owner[rows]]
            with torch.no_grad():
                before = self.model.scaled(level, self.model.residuals_to(level, features, owners))
            total += self._update(level, before, abnormal.flatten(), normals_only)
        return total

    def _update(self, level: int, before: Tensor, abnormal: Tensor, normals_only: bool) -> float:
        """Make one step of a level's constraintor and one of its flow for each chunk of positions.

        before: scaled residuals (B, h, w, C). abnormal: (B h w,).
        """
        model, (constraining, estimating) = self.model, self._optimisers
        constrained = model.constrained(level, before).flatten(0, 2)
        loss_of = shell_loss if model.kind == "squared" else hypersphere_loss
        loss = loss_of(constrained, before.flatten(0, 2), abnormal)
        constraining.zero_grad(set_to_none=True)
        loss.backward()
        constraining.step()
        total, positions = float(loss.detach()), constrained.detach()
        code = model.codes(level, len(before))
        order = torch.from_numpy(self._rng.permutation(len(positions))).to(positions.device)
        for part in chunks(len(positions), model.chunk):
            chosen = order[part]
            normal, other = model.likelihoods(level, positions[chosen], code[chosen])
            which = abnormal[chosen]
            loss = likelihood_loss(normal[~which])
            boundary = self._boundaries[level].update(normal[~which])
            if not normals_only and which.any():
                loss = loss + boundary_loss(normal, which, boundary)
                if model.kind == "squared":
                    loss = loss + two_center_loss(normal, other, which)
            estimating.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.flows.parameters(), 10.0)
            estimating.step()
            total += float(loss.detach()) * len(chosen) / len(positions)
        return total

    def measure_residuals(self) -> None:
        """Take the size of residuals of some normal images, to references of their classes, as the unit."""
        (normals,) = np.nonzero(self.seen.normal)
        rows = np.sort(self._rng.choice(normals, min(MEASURED, len(normals) // 2 + 1), replace=False))
        references = self.draw_references(rows)
        owners = [references[int(owner)] for owner in self.seen.owner[rows]]
        for level in range(len(self.model.levels)):
            with torch.no_grad():
                residuals = self.model.residuals_to(level, self.seen.batch(level, rows, self.model.device), owners)
                self.model.fit_scales(level, residuals.flatten(0, 2))

    def references_of_all(self, owners: np.ndarray) -> list[References]:
        """Return references, of seen normal images, for images of the classes `owners` (N,) that are not among them."""
        known: dict[int, References] = {}
        for owner in np.unique(owners):
            (rows,) = np.nonzero(self.seen.normal & (self.seen.owner == owner))
            known |= self._drawn(int(owner), rows)
        return [known[int(owner)] for owner in owners]

    def draw_references(self, rows: np.ndarray) -> dict[int, References]:
        """Return references for each class of the images `rows`, drawn anew among its normals outside of the batch.

        The released code draws with replacement and may draw the image itself, whose residual is then zero everywhere.
        """
        references: dict[int, References] = {}
        for owner in np.unique(self.seen.owner[rows]):
            (pool,) = np.nonzero(self.seen.normal & (self.seen.owner == owner))
            others = np.setdiff1d(pool, rows)
            # Of a class with fewer normals than a batch: better itself than none.
            references |= self._drawn(int(owner), others if len(others) else pool)
        return references

    def _drawn(self, owner: int, pool: np.ndarray) -> dict[int, References]:
        rows = np.sort(self._rng.choice(pool, min(self.model.count, len(pool)), replace=False))
        levels = range(len(self.model.levels))
        return {owner: References([self.seen.batch(level, rows, self.model.device) for level in levels])}
