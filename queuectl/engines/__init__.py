"""Where a log is kept: each engine stores what happened and knows not what a job is."""
