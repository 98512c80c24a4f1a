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
    """Applies `steps` one after the other and collects their loss terms.

    Raises:
        UserError: no steps, a step that is not an augmentation, text and image steps together, or pixels that would
            change after rows were mixed (the shares would no longer hold).
    """

    def __init__(self, steps: list[Augment]) -> None:
        super().__init__()
        if not steps or not all(isinstance(s, Augment) for s in steps):
            raise UserError(f"steps is {steps}, expected a list of augmentations, each with its _target_")
        modalities = {s.modality for s in steps if s.modality}
        if len(modalities) > 1:
            raise UserError(f"steps are for {' and '.join(sorted(modalities))}, expected one of them; drop the others")
        mixing = [i for i, s in enumerate(steps) if s.mixes_rows]
        if mixing and any(s.modality for s in steps[mixing[0] + 1 :]):
            raise UserError(f"step {mixing[0] + 1} mixes rows and pixels change after it; mix once, as the last step")
        self.steps = nn.ModuleList(steps)
        self.modality = next(iter(modalities), None)
        self.single_label = any(s.single_label for s in steps)
        self.needs_dropout = any(s.needs_dropout for s in steps)
        self.mixes_rows = bool(mixing)

    def bind(self, encoder: Encoder) -> None:
        """See `Augment.bind`."""
        for augment in self.steps:
            assert isinstance(augment, Augment)
            augment.bind(encoder)

    def forward(self, batch: Batch) -> Batch:
        """See `Augment.forward`."""
        batch = dict(batch)
        for augment in self.steps:
            batch = augment(batch)
        return batch

    def extra(self, step: Step, batch: Batch, logits: torch.Tensor, loss: torch.Tensor) -> dict[str, torch.Tensor]:
        """The terms of all steps.

        Raises:
            UserError: two steps add a term of the same name.
        """
        terms: dict[str, torch.Tensor] = {}
        for augment in self.steps:
            assert isinstance(augment, Augment)
            added = augment.extra(step, batch, logits, loss)
            if repeated := sorted(terms.keys() & added.keys()):
                raise UserError(f"two steps of the chain add the loss term {', '.join(repeated)}; keep one of them")
            terms |= added
        return terms
