"""From a NIR graph to Loihi's fixed point: quantise, simulate bit for bit, run on Intel Lava."""
