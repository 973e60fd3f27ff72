"""The roles of a run wherever they are played, and the change from one place to another while it goes on."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import replace
from time import perf_counter

from sockscope.core.config.experiment import Experiment, Tuning
from sockscope.core.connection import Address
from sockscope.core.events import CloseReason
from sockscope.core.run.snapshot import Capture, Cursors, ProcessUse, RoleSnapshot
from sockscope.engine.placement.in_loop import make_role
from sockscope.engine.placement.layout import HERE, busy_of, roles_of, site_of
from sockscope.engine.placement.post import NOTHING, Post, processes_of
from sockscope.engine.placement.process import ChildProcess
from sockscope.engine.placement.remote import RemoteRole
from sockscope.engine.role import Assignment, Role, ServerRole, Share
from sockscope.engine.servers.server import DRAIN_S
from sockscope.errors import EngineError, SockscopeError

QUIET_S = 1.0
"""How long a change of place waits for the requests in flight; those that take longer are given up."""


class Placement:
    """Server and swarm of one run. ``on_trouble(text, fatal)`` is told of what goes wrong by itself."""

    def __init__(self, experiment: Experiment, on_trouble: Callable[[str, bool], None]) -> None:
        self._experiment = experiment
        self._on_trouble = on_trouble
        self._tuning = experiment.tuning
        self._requests = experiment.requests
        self._generation = 0
        self._posts: dict[str, Post] = {}
        self._winding_up: set[asyncio.Task[None]] = set()
        self.address: Address = ("", 0)
        self.began_s = 0.0
        """When the last of the roles was told to begin, monotonic."""

    @property
    def has_swarm(self) -> bool:
        """Whether clients run here."""
        return "swarm" in self._posts

    # Control.

    async def start(self, tuning: Tuning, address: Address) -> None:
        """Make the roles where ``tuning`` places them, listen, and let the clients come.

        Raises EngineError or ListenError; nothing is left behind then.
        """
        roles = await self._build(roles_of(self._experiment), tuning)
        self._posts = {name: Post(name, site_of(name, tuning), role) for name, role in roles.items()}
        budget = self._requests or None
        try:
            for name, post in self._posts.items():
                aimed = address if name == "server" else aim(address)
                self.began_s = perf_counter()
                address = await post.role.start(Assignment(tuning, 0, aimed), Share(budget=budget))
        except BaseException:
            await self.stop(0.0)
            raise
        self._tuning, self.address = tuning, address

    async def apply(self, tuning: Tuning, generation: int, address: Address) -> None:
        """Go over to ``tuning``; ``address`` is what a server is to listen on if it must listen anew.

        Raises EngineError or ListenError; everything is as before then.
        """
        moving = tuple(name for name, post in self._posts.items() if self._must_move(post, tuning))
        assignment = Assignment(tuning, generation, address)
        if moving:
            found = await self._move(moving, assignment)
        else:
            found = await self._turn(assignment)
        self._tuning, self._generation, self.address = tuning, generation, found

    async def _turn(self, assignment: Assignment) -> Address:
        """Let every role go over to ``assignment`` where it is; back again if one of them cannot."""
        address = assignment.address
        turned: list[Post] = []
        try:
            for name, post in self._posts.items():
                turned.append(post)
                aimed = address if name == "server" else aim(address)
                address = await post.role.apply(replace(assignment, address=aimed))
        except SockscopeError:
            await self._turn_back(turned[:-1])
            raise
        return address

    async def _turn_back(self, posts: list[Post]) -> None:
        for post in posts:
            address = self.address if post.name == "server" else aim(self.address)
            with contextlib.suppress(SockscopeError):
                await post.role.apply(Assignment(self._tuning, self._generation, address))

    def _must_move(self, post: Post, tuning: Tuning) -> bool:
        if post.site != site_of(post.name, tuning) or not post.intact:
            return True
        # The requests that are left were divided among those processes that had clients.
        divided = post.name == "swarm" and self._requests
        return bool(divided) and busy_of(self._tuning, post.site.processes) != busy_of(
            tuning, post.site.processes
        )

    async def stop(self, grace_s: float) -> None:
        """End everything; clients first, each role within ``grace_s``."""
        for task in self._winding_up:
            task.cancel()
        if self._winding_up:
            await asyncio.wait(self._winding_up)
        for name in ("swarm", "server"):
            if post := self._posts.get(name):
                await post.role.stop(grace_s)
                for role in list(post.leaving):
                    await post.wind_up(role, 0.0, CloseReason.STOPPED)

    def pause(self, paused: bool) -> None:
        """Stop the clients' requests, or let them go on."""
        if post := self._posts.get("swarm"):
            post.pause(paused)

    def rest(self, resting: bool) -> None:
        """Leave child processes alone while nobody looks at the run, or no longer."""
        for post in self._posts.values():
            for process in post.processes():
                process.rest(resting)

    def refill(self, requests: int) -> None:
        """Let the clients make so many more requests."""
        self._requests += requests
        if post := self._posts.get("swarm"):
            post.role.refill(requests)

    def hold(self, held: bool) -> None:
        """Keep the captures of this moment, or let them go."""
        for post in self._posts.values():
            post.role.hold(held)

    @property
    def exhausted(self) -> bool:
        """Whether the clients have made all the requests of the run."""
        post = self._posts.get("swarm")
        return post is not None and post.role.exhausted

    # Making places, and going from one to another.

    async def _build(self, names: tuple[str, ...], tuning: Tuning) -> dict[str, Role]:
        """Return a new role for each name, its processes started; what was started is ended on an error."""
        groups: dict[str, list[ChildProcess]] = {}
        shared = tuple(name for name in names if site_of(name, tuning).kind == "shared")
        if shared:
            one = [self._child(shared)]
            groups.update(dict.fromkeys(shared, one))
        for name in names:
            site = site_of(name, tuning)
            if site.kind == "own":
                groups[name] = [
                    self._child((name,), index, site.processes) for index in range(site.processes)
                ]
        children = list(dict.fromkeys(child for group in groups.values() for child in group))
        try:
            for child in children:
                await child.start()
        except BaseException:
            await asyncio.gather(*(child.end() for child in children))
            raise
        return {name: self._role(name, groups.get(name)) for name in names}

    def _role(self, name: str, processes: list[ChildProcess] | None) -> Role:
        return RemoteRole(name, processes) if processes is not None else make_role(name, self._experiment)

    def _child(self, names: tuple[str, ...], index: int = 0, of: int = 1) -> ChildProcess:
        experiment = self._experiment
        if of > 1:
            experiment = replace(experiment, reuse_port=True)
        child = ChildProcess(experiment, names, index)
        child.on_trouble = self._on_trouble
        child.on_death = self._child_died
        return child

    async def _move(self, moving: tuple[str, ...], assignment: Assignment) -> Address:
        """Let the roles in ``moving`` go on in new places.

        The new places come up first. The old swarm is quiet before the new one asks anything, so that no
        request is made twice or forgotten and the permits hold; the old server serves until its connections
        are gone.
        """
        new = await self._build(moving, assignment.tuning)
        vacates = self._vacates(moving, assignment)
        quiets = "swarm" in new or vacates
        try:
            if quiets:
                await self._quiet()
            if vacates:
                await self._vacate()
            address, shares = await self._begin(new, assignment, vacates)
        except BaseException:
            for role in new.values():
                await role.stop(0.0)
            if quiets:
                self._go_on()
            raise
        if quiets and "swarm" not in new:
            self._go_on()
        sites = {name: site_of(name, assignment.tuning) for name in new}
        leaving = {n: self._posts[n].hand_over(role, sites[n], shares[n]) for n, role in new.items()}
        task = asyncio.create_task(self._wind_up(leaving))
        self._winding_up.add(task)
        task.add_done_callback(self._winding_up.discard)
        return address

    async def _begin(
        self, new: dict[str, Role], assignment: Assignment, vacated: bool
    ) -> tuple[Address, dict[str, Share]]:
        """Start the new roles, and let those that stay where they are take over the assignment.

        Return the address in use, and where the new ones began to count.
        """
        address = assignment.address
        shares: dict[str, Share] = {}
        turned: list[Post] = []
        try:
            for name, post in self._posts.items():
                aimed = replace(assignment, address=address if name == "server" else aim(address))
                if name not in new:
                    turned.append(post)
                    address = await post.role.apply(aimed)
                    continue
                await post.role.refresh()
                shares[name] = post.share_after(self._most_clients(assignment.tuning), self._budget(name))
                if name == "swarm" and post.paused:
                    new[name].pause(True)
                address = await new[name].start(aimed, shares[name])
        except SockscopeError as error:
            await self._turn_back(turned)
            if vacated:
                self._on_trouble(f"the server gave up its address, and none could begin anew: {error}", True)
            raise
        return address, shares

    def _most_clients(self, tuning: Tuning) -> int:
        return max(self._tuning.clients, tuning.clients)

    def _budget(self, name: str) -> int | None:
        """Return how many requests of the run are left to be made."""
        if name != "swarm" or not self._requests:
            return None
        made = self._posts[name].snapshot(NOTHING).totals.requests
        return max(0, self._requests - made)

    async def _quiet(self) -> None:
        """Let the swarm make no request, and wait for those in flight."""
        post = self._posts.get("swarm")
        if post is None:
            return
        post.be_quiet(True)
        deadline_s = perf_counter() + QUIET_S
        await post.role.refresh()
        while post.role.snapshot(NOTHING).in_flight and perf_counter() < deadline_s:
            await asyncio.sleep(0.005)
            await post.role.refresh()

    def _go_on(self) -> None:
        """Let a swarm that was made quiet ask again, unless the run is paused."""
        if post := self._posts.get("swarm"):
            post.be_quiet(False)

    def _vacates(self, moving: tuple[str, ...], assignment: Assignment) -> bool:
        """Tell whether a new server is to have the very address that the old one still uses."""
        before, after = self._tuning, assignment.tuning
        same = (before.transport, before.family) == (after.transport, after.family)
        return "server" in moving and self._experiment.port != 0 and same

    async def _vacate(self) -> None:
        """Free the server's address: a TCP server stops listening, a UDP server ends."""
        server = self._posts["server"].role
        assert isinstance(server, ServerRole)
        if self._tuning.transport == "tcp":
            await server.drain(0.0)
        else:
            await server.stop(0.0, CloseReason.ROLLED)

    async def _wind_up(self, roles: dict[str, Role]) -> None:
        if "swarm" in roles:
            # What took too long to wait for is still answered.
            await self._posts["swarm"].wind_up(roles["swarm"], DRAIN_S, CloseReason.ROLLED)
        if "server" in roles:
            server = roles["server"]
            assert isinstance(server, ServerRole)
            with contextlib.suppress(EngineError):
                # A process that does not answer is ended by winding it up.
                await server.drain(DRAIN_S)
            await self._posts["server"].wind_up(server, 0.0, CloseReason.ROLLED)

    def _child_died(self, child: ChildProcess) -> None:
        """A process ended by itself: clients can go on trying without a server, but not the other way."""
        if not any(child in post.processes() for post in self._posts.values()):
            return  # whoever has just started it hears of it
        servers = processes_of(self._posts["server"].role) if "server" in self._posts else []
        goes_on = child.roles == ("server",) and (self.has_swarm or any(s.alive for s in servers))
        self._on_trouble(child.told, not (goes_on or child.leaving))

    # Readings.

    async def settle(self) -> None:
        """Let the next reading be of this moment."""
        roles = [role for post in self._posts.values() for role in (post.role, *post.leaving)]
        await asyncio.gather(*(role.refresh() for role in roles))

    def read(self, name: str, cursors: Cursors) -> RoleSnapshot | None:
        """Return the figures of a role, with its events since the last reading; None when it does not run."""
        post = self._posts.get(name)
        return post.read(cursors) if post is not None else None

    def roles_here(self) -> tuple[str, ...]:
        """Return which roles are played on this loop."""
        return tuple(name for name, post in self._posts.items() if post.site == HERE)

    def processes(self) -> list[ProcessUse]:
        """Return what each child uses, as it told last."""
        children = dict.fromkeys(child for post in self._posts.values() for child in post.processes())
        return [use for child in children if (use := child.use()) is not None]

    async def capture(self, record_id: int) -> Capture | None:
        """Return one exchange with its bytes, from both ends where both are of this run."""
        server, swarm = self._posts.get("server"), self._posts.get("swarm")
        seer = swarm or server
        seen = await seer.role.capture(record_id) if seer is not None else None
        if seen is None or server is None or swarm is None:
            return seen
        for role in (server.role, *server.leaving):
            assert isinstance(role, ServerRole)
            if side := await role.find_answer(seen):
                return replace(seen, server=side)
        return seen

    async def close_connection(self, name: str, conn_id: int) -> bool:
        """Close one connection; False when there is none with this number."""
        post = self._posts.get(name)
        if post is None:
            return False
        return any([await role.close_connection(conn_id) for role in (post.role, *post.leaving)])


def aim(address: Address) -> Address:
    """Return where clients connect to for a server that listens on ``address``."""
    host, port = address
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host), port
