from __future__ import annotations

import pytest

from standalone.errors import NotAllowed
from standalone.settings import check_exposure


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.2", "::1", "localhost"])
def test_loopback_needs_no_words(host: str) -> None:
    check_exposure(host, allow_anonymous=False)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.com"])
def test_what_others_reach_needs_words(host: str) -> None:
    with pytest.raises(NotAllowed, match="TELLTALE_ALLOW_ANONYMOUS=true"):
        check_exposure(host, allow_anonymous=False)
    check_exposure(host, allow_anonymous=True)
