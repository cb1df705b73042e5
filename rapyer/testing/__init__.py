"""Real Redis servers for tests, and the pytest fixtures `redis_stack` and `rapyer_models` that use them."""

from rapyer.testing._stack import start
from rapyer.testing._stack_cluster import Cluster, cluster
from rapyer.testing._stack_fetch import StackError
from rapyer.testing._stack_private import free_port
from rapyer.testing._stack_sentinel import Watched, sentinel
from rapyer.testing._stack_server import RedisStack

__all__ = ["Cluster", "RedisStack", "StackError", "Watched", "cluster", "free_port", "sentinel", "start"]
