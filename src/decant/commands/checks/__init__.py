"""What `decant doctor` checks: one module for each kind of problem, each with a function `check`."""
