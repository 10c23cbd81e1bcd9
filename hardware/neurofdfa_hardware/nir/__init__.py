"""NIR graphs as networks in discrete time."""
