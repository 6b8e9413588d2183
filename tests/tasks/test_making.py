"""Making environments: which ids there are, and which are of Atari games."""

import pytest
from support.lanes import PONG, task

from corrtool.errors import UsageError
from corrtool.tasks import probe
from corrtool.tasks.making import is_atari


class TestWhatIsNoEnvironment:
    @pytest.mark.parametrize(
        "identifier",
        [
            "ALE/Pung-v5",
            "Nonsense-v0",
            "no_such_module:Thing-v0",
            "json:Thing-v0",
            "a b",
            "CartPole-v99",
        ],
    )
    def test_an_unknown_id_is_refused(self, identifier: str) -> None:
        with pytest.raises(UsageError, match="unknown environment"):
            task(identifier)

    def test_an_environment_that_fails_to_start_is_refused_in_one_line(self) -> None:
        with pytest.raises(UsageError, match="cannot make") as raised:
            probe(task("CartPole-v1", kwargs={"sutton_barto_reward": True, "no_such_argument": 1}))
        assert "\n" not in str(raised.value)

    @pytest.mark.parametrize("identifier", ["gymnasium:CartPole-v1", "ale_py:ALE/Pong-v5"])
    def test_an_id_may_name_the_module_that_registers_it(self, identifier: str) -> None:
        assert probe(task(identifier)) == probe(task(identifier.partition(":")[2]))

    def test_which_ids_are_atari_games(self) -> None:
        assert is_atari(PONG)
        assert is_atari("PongNoFrameskip-v4")
        assert not is_atari("CartPole-v1")
