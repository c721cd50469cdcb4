"""Invented people: a head that can be shaped, and a renderer that draws it (MakeHuman data under CC0)."""
