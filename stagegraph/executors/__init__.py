"""Executors: the only place where a stage runs."""
