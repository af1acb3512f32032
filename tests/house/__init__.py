"""What holds for the house as a whole: its floors, its sizes, its docs."""
