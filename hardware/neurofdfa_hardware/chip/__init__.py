"""The chip in integers: programs, their ranges, the reference that runs them, and the cores they take."""
