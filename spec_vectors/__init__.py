"""Test vectors that an implementation in any language can run, and what makes them.

Rule: never part of the wheel; the README says what the files mean.
"""
