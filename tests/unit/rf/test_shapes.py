"""Every public function of ``rf`` runs once under jaxtyping and beartype, in a fresh interpreter: the hook must come before the import."""

import subprocess
import sys

CHECKED = """
from jaxtyping import install_import_hook
install_import_hook("heimdall.rf", "beartype.beartype")
import numpy as np
import jaxtyping
from heimdall.domain.datasets import SyntheticDatasetConfig
from heimdall.rf.accuracy import horizontal_errors, summarize_errors
from heimdall.rf.network import load_default_network
from heimdall.rf.observations import gather_observations
from heimdall.rf.solvers import Centroid, LogDistanceMl, NearestNeighbours
from heimdall.rf.synthetic import SyntheticGenerator

network = load_default_network()
block = SyntheticGenerator(SyntheticDatasetConfig(name="s", num_examples=100), network).block(0)
size = len(block.heard)
seen = gather_observations(
    rssi_dbm=block.rssi_dbm, heard=block.heard, present=np.ones_like(block.heard), receiver_index=np.tile(np.arange(7), (size, 1)),
    receiver_m=np.tile(network.position_m, (size, 1, 1)), is_moving=np.arange(7) == 2)
for solver in (Centroid, NearestNeighbours, LogDistanceMl):
    found = solver.fit(seen, block.transmitter_m).predict(seen)
    print(solver.__name__, summarize_errors(horizontal_errors(found, block.transmitter_m[:, :2])).median_m)
try:
    horizontal_errors(found, block.transmitter_m)
except jaxtyping.TypeCheckError:
    print("a wrong shape is refused")
"""


def test_shapes_in_the_annotations_are_true():
    run = subprocess.run([sys.executable, "-c", CHECKED], capture_output=True, text=True, timeout=120, check=False)
    assert run.returncode == 0, run.stderr
    assert run.stdout.splitlines()[-1] == "a wrong shape is refused"
