"""State machines: a document, two clients that do anything to it, and plain models that say what has to be."""

import operations
import pytest
import strategies
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from world import LONG, PROFILE, World

#: When a rule is broken, most of the time goes into finding the smallest example.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(0 if LONG else 600)]

clients = st.integers(0, 1)
whole = st.booleans()
block_steps = st.lists(st.tuples(operations.anything, st.booleans()), min_size=1, max_size=5)


class Machine(RuleBasedStateMachine):
    """One document and two clients, each of whom sees what it last read and did."""

    def __init__(self, url):
        super().__init__()
        self.world = World(url)

    def teardown(self):
        """Close the loop of this example."""
        self.world.close()

    @initialize(data=strategies.documents)
    def create(self, data):
        """Save a document of any values."""
        self.world.run(self.world.create(data))

    @invariant()
    def agree(self):
        """Redis, what each client sees, and the oracles are the same."""
        if self.world.clients:
            self.world.run(self.world.check())

    @rule(who=clients)
    def load(self, who):
        """Refresh."""
        self.world.run(self.world.load(who))


class OneByOne(Machine):
    """Operations one by one, awaited or saved."""

    @rule(who=clients, operation=operations.calls)
    def call(self, who, operation):
        """Await one."""
        self.world.run(self.world.one(who, operation))

    @rule(who=clients, operation=operations.bodies)
    def local(self, who, operation):
        """Change a value here and save its field."""
        self.world.run(self.world.local(who, operation))

    @rule(who=clients)
    def save(self, who):
        """Write all that a client sees, stale or not."""
        self.world.run(self.world.save(who))

    @rule(who=clients, some=st.lists(operations.bodies, max_size=4))
    def locked(self, who, some):
        """Change things in a lock block that saves them."""
        self.world.run(self.world.locked(who, some))


class Blocks(Machine):
    """Operations in blocks: alone, many at once, mixed with awaited ones, and with others in between."""

    @rule(who=clients, operation=operations.anything)
    def one(self, who, operation):
        """Do one, awaited where that is possible."""
        self.world.run(self.world.one(who, operation))

    @rule(who=clients, steps=block_steps, whole=whole)
    def block(self, who, steps, whole):
        """Do some in one block, of this model or of any."""
        self.world.run(self.world.block(who, steps, whole=whole))

    @rule(who=clients, operation=operations.bodies)
    def abandoned(self, who, operation):
        """Raise in a block."""
        self.world.run(self.world.abandoned(who, [operation]))


class Interleaved(Blocks):
    """As `Blocks`, and the other client works while a block is open."""

    @rule(who=clients, steps=block_steps, whole=whole, data=st.data())
    def interleaved(self, who, steps, whole, data):
        """Leave a block after the other client changed the document, as often as not in the same places."""
        near = operations.near([operation for operation, _ in steps])
        meanwhile = data.draw(st.lists(st.one_of(near, operations.anything), min_size=1, max_size=3))
        self.world.run(self.world.block(who, steps, meanwhile, whole=whole))

    @rule(who=clients, whole=whole, meeting=operations.meeting())
    def meet(self, who, whole, meeting):
        """Work on one container in a dict while the other client does."""
        first, steps, meanwhile = meeting
        self.world.run(self.world.one(who, first))
        self.world.run(self.world.load(who))
        self.world.run(self.world.block(who, steps, meanwhile, whole=whole))


@pytest.mark.parametrize("machine", [OneByOne, Blocks, Interleaved])
def test_machine(machine, stack):
    """After every step Redis, the local values and the oracle agree; what is refused changes none of the three."""
    run_state_machine_as_test(lambda: machine(stack.url), settings=PROFILE)
