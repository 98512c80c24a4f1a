"""A private git worktree for each experiment: the user's files are read, and changed in one step at the end."""
