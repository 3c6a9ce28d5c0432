"""Models trained in parts: how interactions are dealt to shards, trained, and put together."""

from jaxforget.shards import attention, partition, training
from jaxforget.shards.training import Plan, Sharded, method

__all__ = ["Plan", "Sharded", "attention", "method", "partition", "training"]
