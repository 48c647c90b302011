"""The demonstration: four real nodes on this machine, and a story told through their public doors."""

from node.demo.story import run_demo

__all__ = ["run_demo"]
