"""How fast allocsim is, beside the real C library on the same traces: `make bench`."""
