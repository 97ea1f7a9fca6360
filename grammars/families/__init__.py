"""The built-in crash families, one or a few related ones a file."""
