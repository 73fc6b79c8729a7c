"""Charts as data: columns of numbers and labels made from a series, drawn by the script of the page."""
