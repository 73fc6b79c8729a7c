"""The dashboard, without a network."""
