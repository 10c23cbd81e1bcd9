"""Lava processes, alone in their folder: Lava's compiler executes every module that lies beside one."""
