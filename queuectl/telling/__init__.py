"""What is said of a queue, the same by every face: documents, sentences, moments."""
