"""Several augmentations in order."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

from decant.augment import Augment, Step
from decant.core.errors import UserError

if TYPE_CHECKING:
    from decant.dataset.modality import Batch, Encoder


class Chain(Augment):
    """Applies `steps` one after the other; their extra terms come together.

    Raises:
        UserError: no steps, something else than an augmentation, text and image steps together, or pixels that
            would change after rows were mixed (the shares would no longer hold).
    """

    def __init__(self, steps: list[Augment]) -> None:
        super().__init__()
        if not steps or not all(isinstance(s, Augment) for s in steps):
            raise UserError(f"steps is {steps}, expected a list of augmentations, each with its _target_")
        kinds = {s.modality for s in steps if s.modality}
        if len(kinds) > 1:
            raise UserError(f"steps are for {' and '.join(sorted(kinds))}, expected one of them; drop the others")
        mixing = [i for i, s in enumerate(steps) if s.mixes]
        if mixing and any(s.modality for s in steps[mixing[0] + 1 :]):
            raise UserError(f"step {mixing[0] + 1} mixes rows and pixels change after it; mix once, as the last step")
        self.steps = nn.ModuleList(steps)
        self.modality = next(iter(kinds), None)
        self.single_label = any(s.single_label for s in steps)
        self.drops = any(s.drops for s in steps)
        self.mixes = bool(mixing)

    def bind(self, encoder: Encoder) -> None:
        """See `Augment.bind`."""
        for step in self.steps:
            assert isinstance(step, Augment)
            step.bind(encoder)

    def forward(self, batch: Batch) -> Batch:
        """See `Augment.forward`."""
        batch = dict(batch)
        for step in self.steps:
            batch = step(batch)
        return batch

    def extra(self, step: Step, batch: Batch, logits: torch.Tensor, loss: torch.Tensor) -> dict[str, torch.Tensor]:
        """The terms of all steps.

        Raises:
            UserError: two steps add a term of the same name.
        """
        terms: dict[str, torch.Tensor] = {}
        for piece in self.steps:
            assert isinstance(piece, Augment)
            more = piece.extra(step, batch, logits, loss)
            if twice := sorted(terms.keys() & more.keys()):
                raise UserError(f"two steps of the chain add the loss term {', '.join(twice)}; keep one of them")
            terms |= more
        return terms
