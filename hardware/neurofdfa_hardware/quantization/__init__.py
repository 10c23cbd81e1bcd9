"""From a network in floating point to the chip's integers, and what changes on the way."""
