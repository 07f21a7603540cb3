"""Facts about a devnet's files: `down` removes what `up` has made, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from node.devnet.commands import down
from node.devnet.network import make
from protocol.errors import LocalError, Refused

SEED = 7


def test_a_devnet_is_removed_even_if_its_making_broke_off(tmp_path: Path) -> None:
    make(tmp_path / "net", 2, SEED)
    (tmp_path / "net" / "2-half").mkdir()
    assert down(tmp_path / "net") == 0
    assert not (tmp_path / "net").exists()
    assert down(tmp_path / "net") == 0


@pytest.mark.parametrize("foreign", ["letters", "node"])
def test_a_directory_with_anything_else_in_it_is_left_alone(tmp_path: Path, foreign: str) -> None:
    member = make(tmp_path, 1, SEED)[0]
    if foreign == "letters":
        (tmp_path / foreign).write_text("dear aunt")
    else:
        member.home.genesis_path.write_text(member.home.genesis_path.read_text().replace('"devnet"', '"open"'))
    with pytest.raises(Refused, match="nothing was removed"):
        down(tmp_path)
    assert member.home.key_path.exists()


@pytest.mark.parametrize("count", [0, -1])
def test_a_devnet_of_no_nodes_is_refused(tmp_path: Path, count: int) -> None:
    with pytest.raises(LocalError, match=f"a devnet of {count} nodes"):
        make(tmp_path, count, SEED)
