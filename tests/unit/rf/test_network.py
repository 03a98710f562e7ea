import numpy as np
import pytest

from heimdall.domain.datasets import Receiver
from heimdall.rf.geodesy import enu_to_geodetic
from heimdall.rf.network import load_default_network, make_network


def test_the_seven_sites_come_with_the_package_and_lie_where_the_table_says():
    network = load_default_network()
    assert [site.id for site in network.receivers] == ["giaveno", "montanaro", "torino", "coazze", "giovi", "genova", "milano"]
    latitude, longitude, altitude = enu_to_geodetic(network.frame, network.position_m)
    assert latitude == pytest.approx([site.latitude for site in network.receivers])
    assert longitude == pytest.approx([site.longitude for site in network.receivers])
    assert altitude == pytest.approx([site.altitude_m for site in network.receivers], abs=1e-6)


def test_positions_are_read_only_because_the_network_is_shared():
    with pytest.raises(ValueError, match="read-only"):
        load_default_network().position_m[0] = np.zeros(3)


def test_a_receiver_without_coordinates_cannot_be_placed():
    with pytest.raises(ValueError, match="bus has no fixed coordinates"):
        make_network("n", (Receiver(id="bus", name="bus", is_moving=True),))
