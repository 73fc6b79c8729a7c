"""Throwaway network namespaces: nameless, so nothing is left when the last process in them ends."""
