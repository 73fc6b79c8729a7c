"""A run's series for other tools: tables with named columns and units, and one writer for each format."""
