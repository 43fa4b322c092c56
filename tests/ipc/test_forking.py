from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pyserver.ipc import forking


@given(mark=st.text(max_size=60), title=st.text(st.characters(exclude_categories=["Cs"]), max_size=300))
def test_orders_to_fork_survive_the_way(mark: str, title: str) -> None:
    assert forking.unpack_order(forking.pack_fork(mark, title)) == (forking.FORK, mark, title, 0)


def test_a_title_is_cut_to_what_an_order_holds() -> None:
    order = forking.pack_fork("mark", "ü" * forking.MAX_ORDER)
    assert len(order) == forking.MAX_ORDER
    kind, mark, title, _ = forking.unpack_order(order)
    assert (kind, mark) == (forking.FORK, "mark")
    assert set(title[:-1]) == {"ü"}


def test_orders_to_reap_and_answers() -> None:
    assert forking.unpack_order(forking.pack_reap(4_000_000)) == (forking.REAP, "", "", 4_000_000)
    assert [forking.unpack_answer(forking.pack_answer(number)) for number in (1, 4_000_000, -116)] == [
        1,
        4_000_000,
        -116,
    ]
