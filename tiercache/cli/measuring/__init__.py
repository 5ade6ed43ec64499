"""What `tiercache bench` measures: operations on each tier and on the chain, with time, CPU and requests."""

from .runs import Row, measure

__all__ = ["Row", "measure"]
