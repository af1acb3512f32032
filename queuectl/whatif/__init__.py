"""What would have happened: recorded jobs scheduled anew, by the same rules, in virtual time."""
