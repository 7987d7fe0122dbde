"""What ``spec_vectors/generate.py`` is made of: the cases of each kind, written down by hand.

Rule: an expected outcome is written here by a person who read the specification, never computed by
the library that is tested.
"""
