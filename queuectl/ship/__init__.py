"""Shipping: what the log says goes elsewhere, all of it and in order; started by the CLI."""
