"""What every localizer has that is given samples beside the tokens.

Legend: B examples, R receiver tokens, F features a token, T samples, P numbers of a pair.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor

from heimdall.training.architectures.iq_front import IqFront, Views
from heimdall.training.architectures.localizer import Localizer


class SampledLocalizer(Localizer):
    """A localizer with a front that makes of the samples what its network sees; stands before the class that it adds this to.

    Parameters
    ----------
    parts, named
        Of the next class.
    front
        Makes of the samples what the network sees.
    """

    def __init__(self, *parts: Any, front: IqFront, **named: Any) -> None:  # noqa: ANN401  (they are the next class's)
        super().__init__(*parts, **named)
        self.front = front

    def look(self, features_BRF: Tensor, mask_BR: Tensor, iq_BRT2: Tensor | None, pairs_BRRP: Tensor | None) -> Views | None:
        """Return the views of int8 samples [B, R, T, 2], None without samples; pairs that are not known are computed here."""
        return None if iq_BRT2 is None else self.front(iq_BRT2, features_BRF, mask_BR, pairs_BRRP)
