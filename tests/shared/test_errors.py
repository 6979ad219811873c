"""The four words, and nothing else, are what a handler may say."""

from __future__ import annotations

from shared import errors
from shared.errors import Conflict, KuzniaError, Reject, Retry, Unknown


def test_the_four_words_are_all_there_are():
    here = {each for each in vars(errors).values() if isinstance(each, type) and issubclass(each, Exception)}
    assert here == {KuzniaError, Retry, Reject, Conflict, Unknown}
    assert {each.__base__ for each in here - {KuzniaError}} == {KuzniaError}


def test_a_retry_may_say_when():
    assert Retry("not yet").after is None
    assert Retry("not yet", after=3).after == 3
    assert str(Retry("not yet", after=3)) == "not yet"
