"""Episodes and the one-time data that are made of them."""
