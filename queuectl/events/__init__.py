"""What can happen, how it is written down, and what a log promises; knows nothing above itself."""
