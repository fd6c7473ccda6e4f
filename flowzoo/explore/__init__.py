"""The explorer: a page in the browser that draws from a model, bends its latents and measures images.

    flowzoo explore glow-mnist

The page is served by this machine for this machine; everything that it needs is in the package, and
neither it nor the server asks anything of another.
"""

from flowzoo.explore.server import serve

__all__ = ["serve"]
