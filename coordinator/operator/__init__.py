"""What operators and observers ask of a running coordinator: the way there, and answers as plain values."""
