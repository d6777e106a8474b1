"""One pass over a base and its models, the sums it keeps, and the figures that follow from them."""
