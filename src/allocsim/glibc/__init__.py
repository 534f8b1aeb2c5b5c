"""The exact model of glibc's malloc."""

from allocsim.glibc.glibc import BrkOnly, Glibc, MmapOnly

__all__ = ["BrkOnly", "Glibc", "MmapOnly"]
