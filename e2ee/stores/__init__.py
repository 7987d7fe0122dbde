"""Where state lives: the implementations of ``storage.Store``, one a module.

Rule: nothing is gathered here, so that a store loads only what it needs itself.
"""

__all__: list[str] = []
