"""Ctrl-C in a training: the first asks to stop, a second stops at once."""

from __future__ import annotations

import signal

import pytest

from facegan.terminal import interruptible


@pytest.mark.parametrize("first", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_asks_and_a_second_ctrl_c_interrupts(
    first: signal.Signals, capfd: pytest.CaptureFixture[str]
) -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    with interruptible() as stopped:
        assert not stopped()
        signal.raise_signal(first)
        assert stopped()
        assert capfd.readouterr().err == "\nstopping as soon as everything is saved (again to stop at once)\n"
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before
    assert capfd.readouterr().err == ""
