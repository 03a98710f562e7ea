"""The networks on offer: data, not code, so that the API needs no torch.

``training/architectures`` builds what stands here; a test holds ``parameters_count`` against the
built network at the reference input (7 receivers, the synthetic features).
"""

from __future__ import annotations

from typing import Any, Final, Literal

from pydantic import Field

from heimdall.domain.base import Entity
from heimdall.domain.errors import NotFoundError

REFERENCE_NUM_RECEIVERS: Final = 7
REFERENCE_NUM_FEATURES: Final = 8

HOW_TO_KEEP_IQ: Final = "Generate one with signal 'captures' and keep_iq, import recordings with keep_iq, or choose another architecture."


class Architecture(Entity):
    """A network of the catalogue."""

    id: str
    name: str
    description: str
    good_for: str
    inputs: tuple[str, ...]
    parameters_count: int = Field(description="at the reference input: 7 receivers, 8 features a token")
    hyperparameters: dict[str, Any] = Field(default_factory=dict)
    components: int = Field(default=1, description="Gaussians of a prediction; of several, the answer is the one with the largest share")
    physics: Literal["radio-map", "arrival"] | None = Field(
        default=None, description="physical estimate that the network begins at, inside its graph"
    )
    needs_iq: bool = Field(default=False, description="works on samples: for data sets that keep them (keep_iq)")


_TOKENS: Final = ("receiver tokens: the data set's features, any number of receivers", "mask of the receivers present")

ARCHITECTURES: Final[tuple[Architecture, ...]] = (
    Architecture(
        id="deepsets-s",
        name="DeepSets, small",
        description="One encoder for every receiver, mean and maximum over those present, full 2x2 Gaussian head.",
        good_for="A first result in a minute, few thousand examples, receivers that come and go.",
        inputs=_TOKENS,
        parameters_count=44089,
        hyperparameters={
            "width": 64,
            "embedding": 16,
            "depth": 2,
            "heads": 4,
            "head_width": 128,
            "dropout": 0.1,
            "receiver_dropout": 0.1,
        },
    ),
    Architecture(
        id="radio-map-residual-s",
        name="Radio map and DeepSets, small",
        description="A radio map (noise floor, Gaussian-process shadowing, grid posterior) inside the graph; a DeepSets network moves and "
        "stretches its Gaussian; ellipses calibrated on groups held out of the training rows.",
        good_for="Strengths without times of arrival, a network that stays where it is, and days or places not seen in training.",
        inputs=_TOKENS,
        parameters_count=11909,
        hyperparameters={
            "width": 32,
            "embedding": 4,
            "depth": 2,
            "heads": 4,
            "head_width": 64,
            "dropout": 0.3,
            "receiver_dropout": 0.2,
        },
        physics="radio-map",
    ),
    Architecture(
        id="arrival-residual-s",
        name="Times of arrival and DeepSets, small",
        description="A robust search for the place inside the graph, with each receiver's bias and error and the air's refraction learned "
        "from the training rows; a DeepSets network moves and stretches its Gaussian; ellipses calibrated on groups held out of the "
        "training rows.",
        good_for="Synchronized receivers with times of arrival, from a few hundred examples on.",
        inputs=_TOKENS,
        parameters_count=11909,
        hyperparameters={
            "width": 32,
            "embedding": 4,
            "depth": 2,
            "heads": 4,
            "head_width": 64,
            "dropout": 0.3,
            "receiver_dropout": 0.2,
        },
        physics="arrival",
    ),
    Architecture(
        id="deepsets-mixture-s",
        name="DeepSets with mixture, small",
        description="deepsets-s with three weighted 2x2 Gaussians instead of one; the answer is the one with the largest share.",
        good_for="Strengths without times of arrival, where two or three valleys fit equally well: it says where they are.",
        inputs=_TOKENS,
        parameters_count=45766,
        hyperparameters={
            "width": 64,
            "embedding": 16,
            "depth": 2,
            "heads": 4,
            "head_width": 128,
            "dropout": 0.1,
            "receiver_dropout": 0.1,
        },
        components=3,
    ),
    Architecture(
        id="set-transformer-m",
        name="Set Transformer, medium",
        description="Receivers attend to each other before pooling by attention, full 2x2 Gaussian head.",
        good_for="Tens of thousands of examples, where the receivers' relations (time differences) carry the position.",
        inputs=_TOKENS,
        parameters_count=90361,
        hyperparameters={
            "width": 64,
            "embedding": 16,
            "depth": 2,
            "heads": 4,
            "head_width": 128,
            "dropout": 0.1,
            "receiver_dropout": 0.1,
        },
    ),
    Architecture(
        id="pair-transformer-l",
        name="Pair Transformer, large",
        description="Tokens for receivers and for every pair of them; pairs bias the receivers' attention and carry values of their own, "
        "full 2x2 Gaussian head.",
        good_for="Tens of thousands of examples with times of arrival and time to train: several times the work of set-transformer-m.",
        inputs=_TOKENS,
        parameters_count=789545,
        hyperparameters={
            "width": 128,
            "pair_width": 48,
            "embedding": 16,
            "depth": 4,
            "heads": 4,
            "head_width": 128,
            "dropout": 0.1,
            "receiver_dropout": 0.1,
        },
    ),
    Architecture(
        id="mlp-baseline",
        name="MLP baseline",
        description="All receivers in fixed order into one multilayer perceptron, full 2x2 Gaussian head.",
        good_for="A plain yardstick for a fixed network of receivers; not for receivers that move or change.",
        inputs=_TOKENS,
        parameters_count=42629,
        hyperparameters={"width": 128, "depth": 3, "dropout": 0.1},
    ),
    Architecture(
        id="iq-encoder",
        name="IQ encoder",
        description="One convolution over the samples of every receiver; delay and cross-spectrum of every pair, searched and refined "
        "inside the graph; joined with the receiver tokens and pooled by attention; full 2x2 Gaussian head.",
        good_for="Captures whose samples are kept, where what features leave out of the signal may count.",
        inputs=(*_TOKENS, "samples: the data set's IQ, 8 bits"),
        parameters_count=71018,
        hyperparameters={
            "width": 64,
            "embedding": 16,
            "heads": 4,
            "head_width": 128,
            "channels": 32,
            "dropout": 0.05,
            "receiver_dropout": 0.1,
        },
        needs_iq=True,
    ),
    Architecture(
        id="iq-residual-s",
        name="Times of arrival and IQ encoder, small",
        description="The search of arrival-residual-s inside the graph, and a network over the samples that is told by how much each "
        "pair's delay contradicts the place found; it moves and stretches its Gaussian; ellipses calibrated on groups held out of the "
        "training rows.",
        good_for="Captures of synchronized receivers whose samples are kept, from a few hundred on.",
        inputs=(*_TOKENS, "samples: the data set's IQ, 8 bits"),
        parameters_count=19358,
        hyperparameters={
            "width": 32,
            "embedding": 4,
            "heads": 4,
            "head_width": 64,
            "channels": 16,
            "dropout": 0.3,
            "receiver_dropout": 0.2,
        },
        physics="arrival",
        needs_iq=True,
    ),
)


def get_architecture(architecture_id: str) -> Architecture:
    """Return the catalogue's entry.

    Raises
    ------
    NotFoundError
        Naming the ids that exist.
    """
    for entry in ARCHITECTURES:
        if entry.id == architecture_id:
            return entry
    known = ", ".join(entry.id for entry in ARCHITECTURES)
    raise NotFoundError(f"There is no architecture '{architecture_id}'. Choose one of: {known}.", field="model_architecture")
