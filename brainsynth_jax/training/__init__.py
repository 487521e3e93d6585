"""State, update rules, loop, checkpoints and logs."""
