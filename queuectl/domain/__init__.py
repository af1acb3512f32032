"""The rules of a job queue as pure functions; knows no files, no clock, no chance, no engine."""
