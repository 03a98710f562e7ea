"""From an entry of the catalogue to a network with weights."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final

from torch import nn

from heimdall.domain.catalogue import Architecture
from heimdall.domain.errors import NotFoundError
from heimdall.training.architectures.deepsets import DeepSets
from heimdall.training.architectures.iq_encoder import IqEncoder
from heimdall.training.architectures.localizer import NUM_OUTPUTS, Localizer, Scaling
from heimdall.training.architectures.mixture import NUM_COMPONENT_OUTPUTS, MixtureLocalizer
from heimdall.training.architectures.mlp import SlotMlp
from heimdall.training.architectures.pair_transformer import PairTransformer
from heimdall.training.architectures.radio_map_layer import NUM_ESTIMATE
from heimdall.training.architectures.set_transformer import SetTransformer

_BUILDERS: Final[dict[str, Callable[..., nn.Module]]] = {
    "deepsets-s": DeepSets,
    "deepsets-mixture-s": DeepSets,
    "set-transformer-m": SetTransformer,
    "pair-transformer-l": PairTransformer,
    "mlp-baseline": SlotMlp,
    "arrival-residual-s": partial(DeepSets, num_context=NUM_ESTIMATE),
    "iq-encoder": IqEncoder,
    "iq-residual-s": partial(IqEncoder, num_context=NUM_ESTIMATE),
    "radio-map-residual-s": partial(DeepSets, num_context=NUM_ESTIMATE),
}


def build_network(architecture: Architecture, *, num_features: int, num_receivers: int) -> nn.Module:
    """Build an untrained network; its weights come from torch's global generator.

    Parameters
    ----------
    architecture
        Entry of the catalogue; its hyperparameters are the constructor's arguments.
    num_features
        Features of a receiver token.
    num_receivers
        Receivers of the data set.

    Returns
    -------
    nn.Module
        Maps normalized tokens [B, R, F], mask [B, R] and receivers [B, R] to [B, 5], or to [B, 6 K] of K components.

    Raises
    ------
    NotFoundError
        Where the catalogue names a network that no code builds.
    """
    builder = _BUILDERS.get(architecture.id)
    if builder is None:
        raise NotFoundError(f"This version cannot build '{architecture.id}'; it builds {', '.join(_BUILDERS)}.", field="model_architecture")
    return builder(num_features, num_receivers, **architecture.hyperparameters, num_outputs=count_outputs(architecture))


def count_outputs(architecture: Architecture) -> int:
    """Return how many numbers describe a prediction of the network."""
    return NUM_OUTPUTS if architecture.components == 1 else NUM_COMPONENT_OUTPUTS * architecture.components


def place_in_frame(architecture: Architecture, network: nn.Module, scaling: Scaling) -> Localizer:
    """Return the localizer that reads the network's numbers as a Gaussian or, of several components, as a mixture."""
    if architecture.components == 1:
        return Localizer(network, scaling)
    return MixtureLocalizer(network, scaling, components=architecture.components)


def count_parameters(network: nn.Module) -> int:
    """Return the number of trainable numbers."""
    return sum(parameter.numel() for parameter in network.parameters() if parameter.requires_grad)
