"""What a model leans on, what it withstands, whom it serves: the report of ``audit-model``."""
