"""allocsim: what would this program cost, in memory and CPU, under another allocator policy?"""

__version__ = "0.1.0"
