"""Neurons, surrogates, synapses, losses, and the network that is composed of them."""
