"""Folds over events: everything that can be known, derived anew at will; knows no storage."""
