"""The exact model of glibc 2.36's malloc."""

from allocsim.glibc.glibc import BrkOnly, Glibc, MmapOnly

__all__ = ["BrkOnly", "Glibc", "MmapOnly"]
