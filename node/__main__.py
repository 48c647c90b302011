"""`python -m node` is the command `hazlink`."""

from node.cli import main

__all__ = ["main"]

if __name__ == "__main__":
    main()
