"""``python -m xmpp_e2ee``: the command line without its script.

Rule: one call.
"""

from xmpp_e2ee.cli import main

__all__: list[str] = []

if __name__ == "__main__":
    main(prog_name="xmpp-e2ee")
