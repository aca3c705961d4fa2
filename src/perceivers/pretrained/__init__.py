"""Weights: saving, loading and the names that other libraries give them."""
