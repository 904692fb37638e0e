"""Presidio's recognisers, the user's included, run as Presidio runs them and many times faster."""
