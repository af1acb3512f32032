"""What runs jobs: the only floor with processes and signals; knows not how events are stored."""
