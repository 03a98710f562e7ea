"""The radio map as a layer without weights: constant tables, matrix products and a softmax, so that it leaves inside the ONNX graph.

The same formulas as ``rf.radio_map`` and ``rf.place_posterior``, on tensors; a test holds the two together.
Legend: B examples, R receiver tokens, F features a token, S fixed and M moving receivers of the map, K strength steps and silence,
G grid points, D distance steps, P numbers of an estimate.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import torch
from torch import Tensor, nn

from heimdall.datasets.storage import DatasetArrays
from heimdall.rf.place_posterior import NUM_SHIFTS, REFINE_STEPS
from heimdall.rf.radio_map import DISTANCE_STEPS, STRENGTH_STEPS_DB, TEMPER, RadioMap
from heimdall.rf.strength import MIN_DISTANCE_M

NUM_ESTIMATE: Final = 8
"""Most probable place (2), Cholesky factor of the covariance about it (3), mean minus that place (2), share of the probability there;
metres, and a share."""

_M_PER_KM: Final = 1000.0
_FAR: Final = 1e6


class RadioMapLayer(nn.Module):
    """Tokens in, place and covariance out. Its tables are fitted anew from the training rows at each start and lie in no checkpoint.

    Parameters
    ----------
    radio_map
        Fitted on training rows.
    arrays
        The data set, for the columns of its features.
    """

    receiver_S: Tensor
    floor_S: Tensor
    lower_K: Tensor
    upper_K: Tensor
    step_K: Tensor
    log_prior_G: Tensor
    place_table_KG: Tensor
    distance_table_MKD: Tensor
    points_G3: Tensor
    along_east_EE: Tensor
    along_north_NN: Tensor

    def __init__(self, radio_map: RadioMap, arrays: DatasetArrays) -> None:
        super().__init__()
        grid = radio_map.grid
        self.num_east, self.num_north = grid.num_east, grid.num_north
        self.width_m = REFINE_STEPS * grid.step_m
        self.cell_variance_m2 = grid.step_m**2 / 12
        self.columns = {name: arrays.feature_index(name) for name in arrays.feature_names}
        steps = STRENGTH_STEPS_DB
        receivers = np.concatenate([radio_map.fixed, radio_map.moving])
        self.num_fixed = len(radio_map.fixed)
        self._keep("receiver_S", receivers, torch.int64)
        self._keep("floor_S", radio_map.law.floor_dbm[receivers])
        self._keep("lower_K", np.concatenate([[steps[0] - _FAR], steps[:-1]]))
        self._keep("upper_K", np.concatenate([steps[1:], [steps[-1] + _FAR]]))
        self._keep("step_K", steps)
        self._keep("log_prior_G", radio_map.log_prior)
        self._keep("place_table_KG", TEMPER * radio_map.place_table.reshape(-1, len(grid.points_m)))
        self._keep("distance_table_MKD", TEMPER * radio_map.distance_table)
        self._keep("points_G3", grid.points_m)
        for name, window in zip(("along_east_EE", "along_north_NN"), grid.blur(), strict=True):
            self._keep(name, window)

    def _keep(self, name: str, values: object, dtype: torch.dtype = torch.float32) -> None:
        self.register_buffer(name, torch.as_tensor(np.asarray(values)).to(dtype), persistent=False)

    def forward(self, features_BRF: Tensor, mask_BR: Tensor, receiver_BR: Tensor) -> Tensor:
        """Return estimates [B, P] from features in physical units."""
        here_BSR = ((receiver_BR.unsqueeze(-1) == self.receiver_S) & mask_BR.unsqueeze(-1)).to(features_BRF.dtype).transpose(1, 2)
        slots_BSF = here_BSR @ (features_BRF * mask_BR.unsqueeze(-1).to(features_BRF.dtype))
        present_BS = here_BSR.sum(dim=-1)
        weight_BSK = self._weigh(slots_BSF, present_BS)
        fixed_BK = weight_BSK[:, : self.num_fixed].flatten(1)
        score_BG = fixed_BK @ self.place_table_KG + self.log_prior_G
        if len(self.distance_table_MKD):
            score_BG = score_BG + self._add_moving(slots_BSF[:, self.num_fixed :], weight_BSK[:, self.num_fixed :])
        return self._locate(score_BG.softmax(dim=1))

    def _weigh(self, slots_BSF: Tensor, present_BS: Tensor) -> Tensor:
        """Return each report as shares of the two nearest strength steps; silence last; all zeros where absent."""
        heard_BS = slots_BSF[..., self.columns["heard"]] if "heard" in self.columns else present_BS
        above_BS = (slots_BSF[..., self.columns["rssi_dbm"]] - self.floor_S).clamp(STRENGTH_STEPS_DB[0], STRENGTH_STEPS_DB[-1])
        rising_BSK = (above_BS.unsqueeze(-1) - self.lower_K) / (self.step_K - self.lower_K)
        falling_BSK = (self.upper_K - above_BS.unsqueeze(-1)) / (self.upper_K - self.step_K)
        # Only the first and last step keep a far neighbour, and the clamp above keeps strengths off that side.
        share_BSK = torch.minimum(rising_BSK, falling_BSK).clamp(0, 1)
        silent_BS = present_BS - heard_BS
        return torch.cat([share_BSK * heard_BS.unsqueeze(-1), silent_BS.unsqueeze(-1)], dim=-1)

    def _add_moving(self, slots_BMF: Tensor, weight_BMK: Tensor) -> Tensor:
        by_distance_BMD = (weight_BMK.unsqueeze(-2) @ self.distance_table_MKD).squeeze(-2)
        square_BMG = torch.zeros((), dtype=slots_BMF.dtype, device=slots_BMF.device)
        for axis, name in enumerate(("rx_east_km", "rx_north_km", "rx_up_km")):
            if name in self.columns:
                at_BM1 = slots_BMF[..., self.columns[name], None] * _M_PER_KM
                square_BMG = square_BMG + (at_BM1 - self.points_G3[:, axis]).square()
        decades_BMG = 0.5 * (square_BMG.clamp_min(MIN_DISTANCE_M**2) / _M_PER_KM**2).log10()
        place_BMG = ((decades_BMG - DISTANCE_STEPS[0]) / (DISTANCE_STEPS[1] - DISTANCE_STEPS[0])).clamp(0, len(DISTANCE_STEPS) - 1.001)
        lower_BMG = place_BMG.floor()
        share_BMG = place_BMG - lower_BMG
        index_BMG = lower_BMG.long()
        below_BMG, above_BMG = by_distance_BMD.gather(2, index_BMG), by_distance_BMD.gather(2, index_BMG + 1)
        score_BG: Tensor = ((1 - share_BMG) * below_BMG + share_BMG * above_BMG).sum(dim=1)
        return score_BG

    def _locate(self, weight_BG: Tensor) -> Tensor:
        east_G, north_G = self.points_G3[:, 0], self.points_G3[:, 1]
        gathered_BEN = self.along_east_EE @ weight_BG.reshape(-1, self.num_east, self.num_north) @ self.along_north_NN
        place_B2 = self.points_G3[gathered_BEN.flatten(1).argmax(dim=1), :2]
        for _ in range(NUM_SHIFTS):
            square_BG = (east_G - place_B2[:, :1]).square() + (north_G - place_B2[:, 1:]).square()
            near_BG = weight_BG * (-0.5 * square_BG / self.width_m**2).exp()
            place_B2 = near_BG @ self.points_G3[:, :2] / near_BG.sum(dim=1, keepdim=True)
        off_east_BG, off_north_BG = east_G - place_B2[:, :1], north_G - place_B2[:, 1:]
        square_BG = off_east_BG.square() + off_north_BG.square()
        mean_B2 = torch.stack([(weight_BG * off_east_BG).sum(dim=1), (weight_BG * off_north_BG).sum(dim=1)], dim=1)
        east_B = (weight_BG * off_east_BG.square()).sum(dim=1) + self.cell_variance_m2
        both_B = (weight_BG * off_east_BG * off_north_BG).sum(dim=1)
        north_B = (weight_BG * off_north_BG.square()).sum(dim=1) + self.cell_variance_m2
        l11_B = east_B.sqrt()
        l21_B = both_B / l11_B
        l22_B = (north_B - l21_B.square()).clamp_min(self.cell_variance_m2).sqrt()
        peak_B1 = (weight_BG * (-0.5 * square_BG / self.width_m**2).exp()).sum(dim=1, keepdim=True)
        return torch.cat([place_B2, torch.stack([l11_B, l21_B, l22_B], dim=1), mean_B2, peak_B1], dim=1)
