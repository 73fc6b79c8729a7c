"""Pages as a browser shows them: chromium, without a network."""
