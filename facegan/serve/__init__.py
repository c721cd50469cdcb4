"""Faces over HTTP and in a browser."""
