"""The errors that this project raises on purpose, each with the sentence that a person reads; `base` explains them."""
