"""What clients say and hear: openings, several requests, ends of answers, and which answers are good ones."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from sockscope.core.events import Event, EventKind
from sockscope.core.run.snapshot import Cursors
from sockscope.engine.engine import Engine
from sockscope.engine.swarm.links import LINKS
from sockscope.engine.swarm.swarm import Swarm
from tests.engine.own_servers import FLOOD
from tests.engine.runs import exchanges_of, experiment, running, server_of, swarm_of
from tests.waiting import until

HERE = "tests.engine.own_servers"
MODELS = [client for transport, client in LINKS if transport == "tcp"]
clients = pytest.mark.parametrize("client", MODELS)


def events_of(engine: Engine) -> tuple[Event, ...]:
    return engine.snapshot(Cursors(most_events=1_000)).events


async def captures_of(engine: Engine) -> list[tuple[bytes, bytes]]:
    """Return each request with its answer."""
    seen = [await engine.capture(exchange.record_id) for exchange in exchanges_of(engine)]
    return [(c.request.data, c.response.data) for c in seen if c is not None and c.response is not None]


@pytest.mark.parametrize(
    ("client", "depth"),
    [(client, depth) for transport, client in LINKS if transport == "tcp"
     for depth in ((1,) if client == "blocking" else (1, 3))],
)  # fmt: skip
async def test_several_requests_are_asked_in_their_shares(client: str, depth: int) -> None:
    asked: dict[str, Any] = {"request": "ping\nping\ntwo {client} {n}", "weights": "1,1,2", "depth": depth}
    shout: dict[str, Any] = {"handler": f"{HERE}:shout", "framing": "newline", "client": client}
    async with running(requests=80, clients=2, permits=0, **asked, **shout) as engine:
        await engine.wait()
        seen = await captures_of(engine)
    swarm = swarm_of(engine).totals
    assert (swarm.requests, swarm.responses, swarm.failed) == (80, 80, 0)
    assert swarm.bytes_in == swarm.bytes_out
    requests = [request for request, _ in seen]
    assert all(answer == request.upper() for request, answer in seen)
    assert len(requests) == 80
    assert sum(request == b"ping\n" for request in requests) in range(38, 43)
    assert len({request for request in requests if request.startswith(b"two ")}) > 30


@clients
@pytest.mark.parametrize("judged", [{"accept": r"/^\+/"}, {"reject": "/^-err/i"}], ids=str)
async def test_a_whole_answer_may_be_none_to_accept(client: str, judged: dict[str, Any]) -> None:
    asked: dict[str, Any] = {"request": "PING\\r\\n", "answer": "resp", "client": client}
    server = f"{HERE}:every_third_fails"
    async with running(requests=30, clients=1, handler=server, **asked, **judged) as engine:
        await engine.wait()
    swarm = swarm_of(engine).totals
    assert (swarm.requests, swarm.responses, swarm.errors, swarm.answers_rejected) == (30, 20, 10, 10)
    assert (swarm.bytes_in, swarm.response_bytes) == (20 * 7 + 10 * 6, 20 * 7)
    exchanges = exchanges_of(engine)
    assert Counter(exchange.outcome for exchange in exchanges) == {"ok": 20, "rejected": 10}
    assert all(exchange.service_time_s for exchange in exchanges)
    why = f"--{next(iter(judged))} {'does not take' if 'accept' in judged else 'names'} -ERR"
    # The log has the first one of the connection.
    assert [event.text for event in events_of(engine) if event.kind is EventKind.ERROR] == [why]
    assert swarm_of(engine).last_trouble == why


@clients
@pytest.mark.parametrize(("answer", "handler"), [("http", "web"), ("eof", "says_and_closes")])
async def test_an_answer_may_end_with_its_connection(client: str, answer: str, handler: str) -> None:
    asked: dict[str, Any] = {"request": "GET / HTTP/1.1\\r\\n\\r\\n", "answer": answer, "client": client}
    async with running(requests=40, clients=5, handler=f"{HERE}:{handler}", **asked) as engine:
        await engine.wait()
    swarm = swarm_of(engine).totals
    assert (swarm.requests, swarm.responses, swarm.errors, swarm.timeouts) == (40, 40, 0, 0)
    assert swarm.response_bytes == swarm.bytes_in
    assert {exchange.outcome for exchange in exchanges_of(engine)} == {"ok"}


MAIL: dict[str, Any] = {
    "handler": f"{HERE}:mail",
    "greeting": "220 ready\\r\\n",
    "preamble": "EHLO here\\r\\n",
    "request": "NOOP\\r\\n",
    "until_line": r"/^\d{3} /",
}


@clients
@pytest.mark.parametrize("tuned", [{}, {"lifetime": 4}, {"pool": 2}], ids=str)
async def test_what_is_said_before_the_first_request_is_in_no_count(
    client: str, tuned: dict[str, Any]
) -> None:
    if client == "blocking":
        tuned = {**tuned, "pool": 0}
    async with running(requests=60, clients=3, client=client, **MAIL, **tuned) as engine:
        await engine.wait()
    swarm, server = swarm_of(engine).totals, server_of(engine).totals
    assert (swarm.requests, swarm.responses, swarm.failed, swarm.unexpected) == (60, 60, 0, 0)
    # The last connections may have been opened for nothing.
    assert swarm.bytes_out == server.bytes_in
    told = Counter(exchange.outcome for exchange in exchanges_of(engine))
    said, rest = divmod(swarm.bytes_out - 60 * 6, 11)
    # What was said last may not have been answered any more.
    assert (told["ok"], 0 < told["preamble"] <= min(said, told["greeting"])) == (60, True)
    assert (rest, 0 < said <= swarm.connections_opened) == (0, True)
    assert (swarm.response_bytes, said * 53 <= swarm.bytes_in - 60 * 8) == (60 * 8, True)


@clients
@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"greeting": "never", "request_timeout_s": 0.05},
         "waited in vain for the greeting, which ends with never; 21 B of it came"),
        ({"greeting": "\\r\\n"}, "11 B more than the greeting"),
        ({"handler": f"{HERE}:floods", "greeting": "never"}, "no never within 65,536 B"),
        ({"preamble": "EHLO here\\r\\n\nEHLO", "request_timeout_s": 0.05},
         "waited in vain for the answer to the preamble EHLO"),
        ({"reject": "/^250/"}, "the preamble was refused: --reject names 250-mail"),
        ({"preamble": "QUIT\\r\\n"}, "closed the connection before the answer to the preamble QUIT"),
    ],
    ids=["no end", "more", "flood", "no answer", "refused", "closed"],
)  # fmt: skip
async def test_an_opening_that_fails_is_told(client: str, changed: dict[str, Any], why: str) -> None:
    async with running(clients=2, client=client, **{**MAIL, **changed}) as engine:
        await until(lambda: why in swarm_of(engine).last_trouble)
    assert swarm_of(engine).totals.responses == 0


@clients
async def test_an_echo_may_be_none_to_accept(client: str) -> None:
    judged: dict[str, Any] = {"request": "PING", "framing": "newline", "reject": "/PING/", "client": client}
    async with running(requests=20, clients=2, handler=f"{HERE}:echo", **judged) as engine:
        await engine.wait()
    swarm = swarm_of(engine).totals
    assert (swarm.requests, swarm.responses, swarm.answers_rejected) == (20, 0, 20)


@clients
async def test_a_flood_that_nobody_asked_for_is_counted_and_not_kept(client: str) -> None:
    asked: dict[str, Any] = {"request": "ping\\n", "until": "\\n", "unasked": "count", "client": client}
    async with running(clients=1, requests=3, handler=f"{HERE}:answers_and_floods", **asked) as engine:
        await engine.wait()
        await until(lambda: swarm_of(engine).totals.unexpected == 3 * FLOOD)
    swarm = swarm_of(engine).totals
    assert (swarm.requests, swarm.responses, swarm.failed) == (3, 3, 0)
    # None of it is taken for the answer to a later request.
    assert swarm.response_bytes == 3 * len(b"pong\n")


@clients
async def test_a_push_is_not_taken_for_the_answer(client: str) -> None:
    asked: dict[str, Any] = {"request": "a {n}\\r\\n", "answer": "resp", "client": client}
    server = f"{HERE}:tells_and_answers"
    async with running(clients=1, requests=20, handler=server, unasked="count", **asked) as engine:
        await engine.wait()
    swarm = swarm_of(engine).totals
    assert (swarm.responses, swarm.failed, swarm.unexpected) == (20, 0, 20)
    # Each answer is that to its own request.
    assert all(answer == b"+" + request for request, answer in await captures_of(engine))
    server = f"{HERE}:tells_much_and_answers"
    async with running(clients=1, requests=2, handler=server, unasked="count", **asked) as engine:
        await engine.wait()
    swarm = swarm_of(engine).totals
    assert (swarm.responses, swarm.failed, swarm.unexpected) == (2, 0, 2 * 3_000)
    async with running(clients=1, handler=f"{HERE}:tells_and_answers", **asked) as engine:
        await until(lambda: "1 messages that answer nothing" in swarm_of(engine).last_trouble)


@clients
@pytest.mark.parametrize("unasked", ["count", "ignore"])
async def test_what_nobody_asked_for_may_come(client: str, unasked: str) -> None:
    asked: dict[str, Any] = {"request": "ping\\n", "until": "\\n", "unasked": unasked, "client": client}
    async with running(requests=60, clients=3, handler=f"{HERE}:pushes", **asked) as engine:
        await engine.wait()
    swarm = swarm_of(engine).totals
    assert (swarm.requests, swarm.responses, swarm.failed, swarm.connections_opened) == (60, 60, 0, 3)
    assert (swarm.unexpected > 0) == (unasked == "count")


async def test_clients_that_get_the_same_answer_keep_it_once() -> None:
    swarm = Swarm(experiment(role="swarm", target="127.0.0.1:9", request="a\nb", until="\\n"))
    copies = [bytes(bytearray(b"answer %d\n" % number)) for number in (1, 1, 2)]
    kept = [swarm.shared_answer(0, copy) for copy in copies]
    assert kept == copies
    assert kept[0] is kept[1]
    assert swarm.shared_answer(1, copies[0]) == copies[0]
    swarm.readiness.close()
