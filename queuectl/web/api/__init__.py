"""The API under /api/v1: a module for each thing that can be asked about."""
