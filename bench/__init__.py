"""How fast queuectl is, each figure against a named reference measured in the same run."""
