"""Files for CI systems: JUnit XML and the Markdown of a step summary."""
