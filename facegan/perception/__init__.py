"""Networks that look at pictures: features to measure with."""
