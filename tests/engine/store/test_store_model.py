"""The store against a model: any order of puts, gets, damages, collections and second processes."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from stagegraph.store import Store
from stagegraph.store.store import INLINE

from .contents import file_of, files, get, put

NAMES = st.sampled_from(["a", "b", "c", "d"])
CONTENTS = [b"", b"small", *(bytes([number]) * (INLINE + number) for number in range(1, 5))]
SOME = st.lists(st.sampled_from(range(len(CONTENTS))), max_size=3, unique=True).map(lambda n: [CONTENTS[i] for i in n])
BIG = st.sampled_from(range(2, len(CONTENTS))).map(CONTENTS.__getitem__)


class StoreMachine(RuleBasedStateMachine):
    """`wanted` is what was put and not removed since; `doubtful` are names that may have been dropped or evicted."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.now = 1e9
        self.stores = [self.open(), self.open()]
        self.wanted: dict[str, tuple[bytes, ...]] = {}
        self.doubtful: set[str] = set()

    def open(self) -> Store:
        return Store(self.folder, clock=lambda: self.now)

    def teardown(self) -> None:
        for store in self.stores:
            store.close()
        shutil.rmtree(self.folder)

    @rule(which=st.integers(0, 1), name=NAMES, contents=SOME)
    def put(self, which: int, name: str, contents: list[bytes]) -> None:
        damaged = {c for n in self.doubtful for c in self.wanted[n]} & set(contents)
        put(self.stores[which], name, *contents)
        self.wanted[name] = tuple(contents)
        self.doubtful.discard(name)
        if damaged:  # an object is looked at when it is read, not when it is put again
            self.doubtful.add(name)

    @rule(which=st.integers(0, 1), name=NAMES)
    def get(self, which: int, name: str) -> None:
        found = get(self.stores[which], name, [])
        if found is None:
            assert name in self.doubtful or name not in self.wanted
            self.wanted.pop(name, None)
            self.doubtful.discard(name)
        else:
            assert found == self.wanted[name]

    @rule(name=NAMES)
    def remove(self, name: str) -> None:
        self.stores[0].remove(name)
        self.wanted.pop(name, None)
        self.doubtful.discard(name)

    @rule(content=BIG, at=st.integers(0, INLINE - 1))
    def flip_a_bit(self, content: bytes, at: int) -> None:
        path = file_of(self.stores[0], content)
        if path.exists():
            data = bytearray(path.read_bytes())
            data[at % max(len(data), 1)] ^= 1
            path.write_bytes(data)
            self.doubt(content)

    @rule(content=BIG, keep=st.integers(0, INLINE))
    def truncate(self, content: bytes, keep: int) -> None:
        path = file_of(self.stores[0], content)
        if path.exists():
            path.write_bytes(path.read_bytes()[:keep])
            self.doubt(content)

    @rule(one=BIG, other=BIG)
    def swap(self, one: bytes, other: bytes) -> None:
        first, second = file_of(self.stores[0], one), file_of(self.stores[0], other)
        if one != other and first.exists() and second.exists():
            data = first.read_bytes()
            first.write_bytes(second.read_bytes())
            second.write_bytes(data)
            self.doubt(one)
            self.doubt(other)

    @rule(which=st.integers(0, 1), budget=st.integers(0, 4 * INLINE))
    def collect(self, which: int, budget: int) -> None:
        freed = self.stores[which].gc(budget)
        assert freed.left <= budget
        assert freed.left == self.stores[1 - which].size()
        if freed.entries:
            self.doubtful |= self.wanted.keys()

    @rule(which=st.integers(0, 1))
    def open_again(self, which: int) -> None:
        self.stores[which].close()
        self.stores[which] = self.open()

    @rule(seconds=st.sampled_from([-3601.0, 1.0, 3601.0, 86400.0]))
    def step_the_clock(self, seconds: float) -> None:
        self.now += seconds

    def doubt(self, content: bytes) -> None:
        self.doubtful |= {name for name, contents in self.wanted.items() if content in contents}

    @invariant()
    def every_file_is_known_and_counted(self) -> None:
        with self.stores[0].index.reading() as connection:
            rows = connection.execute("SELECT digest, size, data IS NULL FROM objects").fetchall()
        assert {path.name for path in files(self.stores[0])} <= {digest for digest, _, filed in rows if filed}
        assert self.stores[0].size() == sum(size for _, size, _ in rows)


StoreMachine.TestCase.settings = settings(
    max_examples=40, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
)
TestStore = StoreMachine.TestCase
