"""What the dashboard shows of a tap: no knobs that it has not, and the four times of an exchange."""

from __future__ import annotations

from dataclasses import replace

from sockscope.core.config.applicability import unknown_fields
from sockscope.core.roles import RELAY
from sockscope.core.run.snapshot import Capture, Exchange, Passing, Payload, ServerSide
from sockscope.core.wire.dialogue import Dialogue
from sockscope.faces.tui.panels.exchanges import times_of
from sockscope.faces.tui.panels.knob_layout import KNOBS, KnobLayout

EXCHANGE = Exchange(1, 10.001, 3, 5, 6, 0.002, "ok", b"x", tap="127.0.0.1:81")
CAPTURE = Capture(
    EXCHANGE, "127.0.0.1:5", "127.0.0.1:6", "tcp", "RESP", Payload(b"x", 1), Payload(b"y", 1), None,
    passing=Passing(10.0, 10.0035),
)  # fmt: skip


def told(capture: Capture) -> list[str]:
    return [
        " ".join(line.split()) for line in times_of(capture, 9.0, Dialogue(), short=False).plain.splitlines()
    ]


def test_an_exchange_has_four_times_and_what_the_tap_added() -> None:
    assert told(CAPTURE) == [
        "TCP RESP 127.0.0.1:6 ⇄ r3 at 127.0.0.1:81 ⇄ 127.0.0.1:5",
        "read 1.000000 s from the client",
        "passed on +1,000.0 µs to the target",
        "answer +3,000.0 µs read: the target took 2.00 ms",
        "back +3,500.0 µs to the client, the tap adds 1.50 ms",
    ]
    held = told(replace(CAPTURE, passing=Passing(0.0, 0.0)))
    assert held[1] == "passed on 1.001000 s to the target, when a fault let it go"
    assert "adds" not in held[-1]
    lost = replace(
        CAPTURE, response=None, exchange=EXCHANGE._replace(service_time_s=None, outcome="no answer")
    )
    assert told(lost)[-1] == "answer never no answer"


def test_between_two_clocks_no_time_is_shown_that_their_error_exceeds() -> None:
    server = ServerSide(4, 10.0019, 10.0024, Payload(b"x", 1))
    capture = replace(CAPTURE, passing=None, server=server)
    assert [line.split()[0] for line in told(capture)[1:]] == ["written", "read", "answered", "back"]
    assert "read +900.0 µs by the server" in told(capture)
    apart = replace(capture, clock_error_s=0.0005, server=replace(server, clock_error_s=0.0003))
    assert told(apart)[2:4] == [
        "read +900.0 µs by the server, give or take the clocks' error, ±800 µs",
        "served in 500.0 µs",
    ]
    assert "on its way" not in told(apart)[-1], "600 µs are less than that"
    far = replace(apart, clock_error_s=0.0002)
    assert told(far)[-1].endswith("600 µs on its way")
    near = replace(apart, clock_error_s=0.0007)
    assert told(near)[2] == "read – by the server, within the clocks' error, ±1.00 ms"


def test_a_tap_has_no_knobs_of_server_and_clients() -> None:
    lacking = unknown_fields(RELAY)
    for height in (1, 30):
        keys = KnobLayout.of(32, height, lacking).keys
        assert keys
        assert not lacking & set(keys)
    assert set(keys) == set(KNOBS) - lacking
