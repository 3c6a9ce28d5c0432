"""Models trained in parts: how interactions are assigned to shards, trained, and aggregated."""

from jaxforget.shards import attention, partition, training
from jaxforget.shards.sharded import Aggregation, Sharded, method

__all__ = ["Aggregation", "Sharded", "attention", "method", "partition", "training"]
