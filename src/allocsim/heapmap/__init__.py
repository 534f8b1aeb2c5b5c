"""A heap as a picture, address against time, drawn from one run: `allocsim heapmap`."""
