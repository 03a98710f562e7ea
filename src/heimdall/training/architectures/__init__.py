"""The networks of the catalogue, each a set of receiver tokens in and one Gaussian out."""
