"""The roles of a run wherever they are hosted, and the change from one place to another while it goes on."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from time import perf_counter

from sockscope.core.addresses import Address
from sockscope.core.config.division import busy_processes
from sockscope.core.config.experiment import Experiment
from sockscope.core.config.tls import Certificate
from sockscope.core.config.tuning import Tuning
from sockscope.core.events import CloseReason
from sockscope.core.roles import SERVER
from sockscope.core.run.lens import Hold
from sockscope.core.run.snapshot import (
    LOST,
    UNDIVIDED,
    Capture,
    Cursors,
    ProcessKey,
    ProcessUse,
    Resources,
    RoleSnapshot,
)
from sockscope.core.run.tasks import Cancelled, CancelOutcome
from sockscope.engine.addresses import aim
from sockscope.engine.placement.cluster.membership import Membership
from sockscope.engine.placement.hosted_role import HostedRole, all_of
from sockscope.engine.placement.hosts.host import RUNNING, Host, TroubleHandler
from sockscope.engine.placement.layout import HERE, Place, place_of
from sockscope.engine.placement.machines import HERE as THIS_MACHINE
from sockscope.engine.placement.machines import Machines, Reading
from sockscope.engine.placement.placed_role import NOTHING, PlacedRole
from sockscope.engine.role import DRAIN_S, QUIET_S, Assignment, Share
from sockscope.engine.roles import ROLE_KINDS, RoleKind, kinds_in
from sockscope.engine.tls.contexts import certificate_for
from sockscope.errors import EngineError, SockscopeError


class Placement:
    """The roles of one run. ``on_trouble(text, fatal)`` gets what goes wrong by itself.

    ``on_loss`` is called when places are lost that others can take, ``on_join`` with each worker that has
    come: whoever hears of either is to call :meth:`divide_anew`.
    """

    def __init__(
        self,
        experiment: Experiment,
        on_trouble: TroubleHandler,
        certificate: Certificate | None = None,
        on_loss: Callable[[], None] = lambda: None,
        on_join: Callable[[str], None] = lambda worker: None,
    ) -> None:
        self._experiment = experiment
        self._on_trouble = on_trouble
        self._on_loss = on_loss
        self._membership = Membership(experiment, on_trouble, on_join)
        self._tuning = experiment.tuning
        self._requests = experiment.requests
        self._roles: dict[str, PlacedRole] = {}
        self._paused = False
        self._beating = True
        self._lens = False
        self._code = 0
        self._winding_up: set[asyncio.Task[None]] = set()
        self._machines = Machines()
        # What is known last of processes whose places are lost.
        self._lost: dict[Host, ProcessUse] = {}
        self.certificate = certificate
        """The throw-away certificate of the server that the run has or aims at, once there is one."""
        self.address: Address = ("", 0)
        self.began_s = 0.0
        """When the last of the roles was told to begin, monotonic."""

    @property
    def generates(self) -> bool:
        """Whether the requests of the run are made here."""
        return bool(self._generating())

    @property
    def generates_here(self) -> bool:
        """Whether they are made in this process."""
        return all(h.local(p.kind.name) is not None for p in self._generating() for h in p.hosts())

    @property
    def roles(self) -> Sequence[str]:
        """The names of the roles that run or have run, in the order of their table."""
        return [name for name, placed in self._roles.items() if placed.known]

    @property
    def present(self) -> Sequence[str]:
        """The names of the roles that are there at the moment."""
        return [placed.kind.name for placed in self._present()]

    @property
    def main(self) -> str:
        """The role whose exchanges are those of the run: the one that makes the requests, or the first."""
        names = [placed.kind.name for placed in self._generating()] or self.roles
        return names[0] if names else ""

    def _generating(self) -> list[PlacedRole]:
        return [placed for placed in self._present() if placed.kind.generates]

    def _present(self) -> list[PlacedRole]:
        """Return the roles that are there at the moment, in the order in which they start."""
        return [placed for placed in self._roles.values() if placed.present]

    # Control.

    def place_code(self, directory: str) -> None:
        """Let roles that are made from now on find own code in this directory; empty: where it is."""
        self._experiment = replace(self._experiment, checkout=directory)

    async def start(self, tuning: Tuning, address: Address) -> None:
        """Make the roles where ``tuning`` places them, and start one after the other.

        Raises EngineError, ResourceLimitError or ListenError; nothing is left behind then.
        """
        try:
            await self._membership.join(tuning, self._tuning)
            self._certify(tuning)
            previous = address = self._membership.listening(tuning, address)
            places = {kind.name: self._place_of(kind, tuning) for kind in kinds_in(self._experiment, tuning)}
            roles = await self._build(places)
            self._roles = {kind.name: PlacedRole(kind) for kind in ROLE_KINDS.values()}
            for name, role in roles.items():
                self._roles[name].take(role, places[name])
            for placed in self._present():
                self.began_s = perf_counter()
                aim_at = _address_for(placed.kind, address, previous)
                assignment = Assignment(tuning, 0, aim_at, certificate=self.certificate)
                previous = await placed.role.start(assignment, Share(budget=self._budget(placed)))
            if self.generates:
                if not self._experiment.dialogue.wants_echo:
                    # The clients have listened first whether the server speaks: no time of the run.
                    await self.settle()
                # Nor is the time that their processes took to come up.
                self.began_s = max(self.began_s, self.read(self.main, NOTHING).began_s)
        except BaseException:
            await self.stop(0.0)
            raise
        self._go_on(tuning, previous)

    async def apply(self, tuning: Tuning, generation: int, address: Address) -> None:
        """Go over to ``tuning``; ``address`` is what a role is to listen on if it must listen anew.

        Raises EngineError or ListenError; everything is as before then.
        """
        await self._membership.join(tuning, self._tuning)
        self._certify(tuning)
        address = self._membership.listening(tuning, address)
        wanted = {kind.name for kind in kinds_in(self._experiment, tuning)}
        places = {
            name: self._place_of(placed.kind, tuning)
            for name, placed in self._roles.items()
            if name in wanted and self._must_move(placed, tuning)
        }
        leaving = [placed for placed in self._present() if placed.kind.name not in wanted]
        assignment = Assignment(tuning, generation, address, self._code, self.certificate)
        if places or leaving:
            found = await self._move(places, assignment, leaving)
        elif tuning.frames_alike(self._tuning):
            found = await self._change({}, assignment)
        else:
            found = await self._reframe(assignment)
        self._go_on(tuning, found)

    def _go_on(self, tuning: Tuning, address: Address) -> None:
        self._tuning, self.address = tuning, address
        self._lost = {host: replace(use, state=LOST) for host, use in self._lost.items()}
        if SERVER in self.present:
            self._membership.serve(address)

    async def divide_anew(
        self, tuning: Tuning, generation: int, address: Address, come: Iterable[str] = ()
    ) -> None:
        """Apply the tuning in force once more: places were lost, or workers have ``come``.

        Raises EngineError or ListenError; everything is as before then, and those workers are not used.
        """
        await self._membership.divide_anew(partial(self.apply, tuning, generation, address), tuple(come))

    async def reload(self, tuning: Tuning, generation: int, address: Address) -> str:
        """Let connections be made anew, and be served by the user's own code as it is in its files by now.

        Return what was done: nothing where no file was edited. A role whose process has ended begins anew.
        Raises EngineError or ConfigError when the code will not do; everything is as before then.
        """
        if gone := [placed.kind.title for placed in self._present() if not placed.intact]:
            await self.apply(tuning, generation, address)
            return f"{' and '.join(gone)} begun anew"
        address = self._membership.listening(tuning, address)
        number = self._code + 1
        edited = [await placed.role.reload(number) for placed in self._present()]
        if any(edited):
            await self._change({}, Assignment(tuning, generation, address, number, self.certificate))
            self._code = number
        return next((f"edited {files}" for files in edited if files), "")

    @property
    def undivided(self) -> Sequence[str]:
        """The names of processes that are lost, and whose parts nobody has yet."""
        return [use.name for use in self._lost.values() if use.state == UNDIVIDED]

    @property
    def is_here(self) -> bool:
        """Whether everything runs on this machine."""
        return self._membership.is_here

    def _place_of(self, kind: RoleKind, tuning: Tuning) -> Place:
        return place_of(kind, tuning, self._membership.cluster)

    def _certify(self, tuning: Tuning) -> None:
        """Make a certificate for the server if it is to speak TLS and has none; raises ConfigError."""
        if tuning.tls and self.certificate is None:
            self.certificate = certificate_for(self._experiment)

    def _must_move(self, placed: PlacedRole, tuning: Tuning) -> bool:
        if placed.place != self._place_of(placed.kind, tuning) or not placed.intact:
            return True  # or it comes only now
        if not placed.kind.generates or not self._requests:
            return False
        # The requests that are left were divided among those processes that had clients.
        name, of = placed.kind.name, placed.place.processes
        return busy_processes(self._tuning, of, name) != busy_processes(tuning, of, name)

    async def _change(
        self,
        new: Mapping[str, HostedRole],
        assignment: Assignment,
        leaving: Sequence[PlacedRole] = (),
    ) -> Address:
        """Start the ``new`` roles, and let those that stay where they are take over the assignment.

        Those that are ``leaving`` take it over, too, but nobody is aimed at them any more. Return the address
        in use. Those that took it over go back if one of the roles cannot.
        """
        previous = assignment.address
        undo: list[tuple[HostedRole, Assignment]] = []
        try:
            for name, placed in self._roles.items():
                address = _address_for(placed.kind, assignment.address, previous)
                assigned = replace(assignment, address=address)
                if name in new:
                    share = await self._share_after(placed, assignment.tuning)
                    # It makes requests as soon as it is taken: if one cannot begin, none were made.
                    new[name].pause(True)
                    previous = await new[name].start(assigned, share)
                elif placed.present and (placed.intact or placed not in leaving):
                    in_force = placed.role.in_force
                    found = await placed.role.apply(assigned)
                    previous = previous if placed in leaving else found
                    undo.append((placed.role, in_force))
        except SockscopeError:
            for role, in_force in undo:
                with contextlib.suppress(SockscopeError):
                    await role.apply(in_force)
            raise
        return previous

    async def _reframe(self, assignment: Assignment) -> Address:
        """Let the roles take over how messages are told apart, on which they must agree.

        Nobody asks or connects meanwhile: with only one of them gone over, who did would be misunderstood.
        """
        generating = self._generating()
        for placed in generating:
            placed.be_quiet(True)
        try:
            for placed in generating:
                await placed.role.hold_connecting(True)
            return await self._change({}, assignment)
        finally:
            for placed in generating:
                with contextlib.suppress(EngineError):  # of a process that is gone, as is said elsewhere
                    await placed.role.hold_connecting(False)
                placed.be_quiet(False)

    async def _share_after(self, placed: PlacedRole, tuning: Tuning) -> Share:
        if placed.present:
            await placed.role.refresh()
        return placed.share_after(max(self._tuning.clients, tuning.clients), self._budget(placed))

    def _budget(self, placed: PlacedRole) -> int | None:
        """Return how many requests of the run are left to be made; None without such a limit."""
        if not placed.kind.generates or not self._requests:
            return None
        return max(0, self._requests - placed.snapshot(NOTHING).totals.requests)

    async def stop(self, grace_s: float) -> None:
        """End everything; who asks first, and who answers last, each role within ``grace_s``."""
        for task in self._winding_up:
            task.cancel()
        try:
            if self._winding_up:
                await asyncio.wait(self._winding_up)
            for placed in reversed(self._roles.values()):
                if placed.present:
                    await placed.role.stop(grace_s)
                for role in list(placed.retiring):
                    await placed.retire(role, 0.0, CloseReason.STOPPED)
        finally:
            await self._membership.leave()

    def pause(self, paused: bool) -> None:
        """Stop making requests, or go on."""
        self._paused = paused
        for placed in self._roles.values():
            placed.pause(paused)

    def stall(self, seconds: float) -> bool:
        """Let whoever serves stand still, wherever it runs; False where nobody here does (any more)."""
        kinds = [p for p in self._roles.values() if p.kind.listens and not p.kind.aimed]
        serving = [role for p in kinds for role in p.hosted if any(host.alive for host in role.hosts)]
        for role in serving:
            role.stall(seconds)
        return bool(serving)

    def rest(self, resting: bool) -> None:
        """Suspend or resume the reports of the hosts."""
        for host in self._hosts():
            host.rest(resting)

    def beat(self, beating: bool) -> None:
        """Let the hosts measure how late their loops are, or do without; those too that are yet to come."""
        self._beating = beating
        for host in self._hosts():
            host.beat(beating)

    def look(self, lens: bool) -> None:
        """Switch the lens on the loops of the hosts on or off, of those too that are yet to come."""
        self._lens = lens
        for host in self._hosts():
            host.look(lens)

    def _hosts(self) -> Iterable[Host]:
        return dict.fromkeys(host for placed in self._roles.values() for host in placed.hosts())

    def refill(self, requests: int) -> None:
        """Make so many more requests."""
        self._requests += requests
        for placed in self._generating():
            placed.role.refill(requests)

    def hold(self, held: bool) -> None:
        """Keep the captures of this moment, or let them go."""
        for placed in self._present():
            placed.role.hold(held)

    @property
    def exhausted(self) -> bool:
        """Whether all the requests of the run have been made."""
        return self.generates and all(placed.role.exhausted for placed in self._generating())

    # Making places, and going from one to another.

    async def _build(self, places: Mapping[str, Place]) -> dict[str, HostedRole]:
        """Return a new role for each name, its hosts started; what was started is ended on an error."""
        hosts: dict[str, list[Host]] = {}
        for name, place in places.items():
            if name not in hosts:
                together = tuple(n for n, p in places.items() if p == place) if place.shared else (name,)
                made = [self._host(place, together, index) for index in range(place.processes)]
                hosts.update(dict.fromkeys(together, made))
        every = list(dict.fromkeys(host for made in hosts.values() for host in made))
        try:
            await all_of(host.start() for host in every)
            for host in every:
                if not self._beating:
                    host.beat(False)
                if self._lens:
                    host.look(True)
        except BaseException:
            await asyncio.gather(*(host.end() for host in every))
            raise
        return {name: HostedRole(ROLE_KINDS[name], made, self._on_trouble) for name, made in hosts.items()}

    def _host(self, place: Place, roles: tuple[str, ...], index: int) -> Host:
        experiment = self._experiment
        if place.processes > 1:
            experiment = replace(experiment, reuse_port=True)
        return place.host(experiment, roles, index, self._on_trouble, self._host_died)

    async def _move(
        self, places: Mapping[str, Place], assignment: Assignment, leaving: Sequence[PlacedRole] = ()
    ) -> Address:
        """Let the roles in ``places`` go on there, or begin, and all of them take over the assignment.

        The new places come up first. Whoever made requests is quiet before its successor makes any, so that
        none is made twice or forgotten and the permits hold; whoever listened serves until its connections
        are gone, and so does who is ``leaving``, which nobody is aimed at any more.
        """
        new = await self._build(places)
        vacated = [name for name in new if self._must_vacate(self._roles[name], assignment.tuning)]
        generating = self._generating()
        quieted = generating if vacated or any(p.kind.name in new for p in generating) else []
        try:
            await self._quiet(quieted)
            address = await self._begin(new, assignment, vacated, leaving)
        except BaseException:
            for name, role in new.items():
                await self._roles[name].drop(role)
            for placed in quieted:
                placed.be_quiet(False)
            raise
        for placed in quieted:
            if placed.kind.name not in new:
                placed.be_quiet(False)
        before = {name: self._roles[name].take(role, places[name]) for name, role in new.items()}
        before |= {placed.kind.name: placed.leave() for placed in leaving}
        # Whoever is still asked through a role that leaves gives up by then.
        patience_s = max(DRAIN_S, self._tuning.request_timeout_s) if leaving else DRAIN_S
        task = asyncio.create_task(self._wind_up(before, patience_s))
        self._winding_up.add(task)
        task.add_done_callback(self._winding_up.discard)
        return address

    async def _begin(
        self,
        new: Mapping[str, HostedRole],
        assignment: Assignment,
        vacated: Sequence[str],
        leaving: Sequence[PlacedRole],
    ) -> Address:
        try:
            # One that has not answered may still do it: from here on the address is not to be counted on.
            for name in vacated:
                await self._vacate(self._roles[name].role)
            return await self._change(new, assignment, leaving)
        except SockscopeError as error:
            for name in vacated:
                title = self._roles[name].kind.title
                self._on_trouble(f"the {title} gave up its address, and none could begin anew: {error}", True)
            raise

    async def _quiet(self, generating: Sequence[PlacedRole]) -> None:
        """Stop making requests, and wait for those in flight."""
        for placed in generating:
            placed.be_quiet(True)
        deadline_s = perf_counter() + QUIET_S
        for placed in generating:
            await placed.role.refresh()
            while placed.role.snapshot(NOTHING).in_flight and perf_counter() < deadline_s:
                await asyncio.sleep(0.005)
                await placed.role.refresh()

    def _must_vacate(self, placed: PlacedRole, tuning: Tuning) -> bool:
        """Tell whether a successor is to have the very address that this one still listens on."""
        before = self._tuning
        # A Unix socket of the other sort has the same path.
        same = before.family == tuning.family and (
            before.transport == tuning.transport or tuning.family == "unix"
        )
        return (
            placed.present
            and placed.kind.listens
            and not placed.kind.aimed
            and self._experiment.names_address(tuning)
            and same
        )

    async def _vacate(self, role: HostedRole) -> None:
        """Free an address: over TCP its listener is closed, over UDP the role that has it ends."""
        if self._tuning.transport == "tcp":
            await role.drain(0.0)
        else:
            await role.stop(0.0, CloseReason.REPLACED)

    async def _wind_up(self, before: Mapping[str, HostedRole | None], patience_s: float) -> None:
        """End roles that have handed over: who asks first, and who listens when all are served."""
        for name in reversed(self._roles):
            if (role := before.get(name)) is None:
                continue
            placed = self._roles[name]
            grace_s = DRAIN_S
            if placed.kind.listens:
                with contextlib.suppress(EngineError):
                    # A host that does not answer is ended by retiring the role.
                    await role.drain(patience_s)
                grace_s = 0.0
            # What took too long to wait for is still answered.
            await placed.retire(role, grace_s, CloseReason.REPLACED)

    def _host_died(self, host: Host, outcome: str) -> None:
        """A host ended by itself.

        The run goes on if nothing vital was in it, and something is left, or if the place is lost and its
        roles can be in another.
        """
        if not any(host in placed.hosts() for placed in self._roles.values()):
            return  # whoever has just started it hears of it
        here = [placed for placed in self._present() if host in placed.role.hosts]
        vital = any(placed.kind.vital for placed in here)
        left = any(other.alive for placed in self._present() for other in placed.role.hosts)
        moves = left and any(placed.place != self._place_of(placed.kind, self._tuning) for placed in here)
        self._on_trouble(outcome, bool(here) and not moves and (vital or not left))
        if moves:
            if (use := self._use(host)) is not None:
                self._lost[host] = replace(use, state=UNDIVIDED)
            self._on_loss()

    # Readings.

    async def settle(self) -> None:
        """Let the next reading be of this moment: who asks first, so that what it has was counted before."""
        for placed in reversed(self._roles.values()):
            await asyncio.gather(*(role.refresh() for role in placed.hosted))

    def read(self, name: str, cursors: Cursors) -> RoleSnapshot:
        """Return the figures of one of the :attr:`roles`, with its events since the last reading."""
        return self._roles[name].read(cursors)

    def roles_here(self) -> tuple[str, ...]:
        """Return which roles run on this loop."""
        return tuple(name for name, placed in self._roles.items() if placed.place == HERE)

    def processes(self) -> list[ProcessUse]:
        """Return what the process of each host uses, as it reported last."""
        current = {host for placed in self._present() for host in placed.role.hosts}
        found: list[ProcessUse] = []
        for host in self._hosts():
            if host not in self._lost and (use := self._use(host)) is not None:
                leaves = host not in current and use.state == RUNNING
                found.append(replace(use, state="leaving") if leaves else use)
        return [*found, *self._lost.values()]

    def _use(self, host: Host) -> ProcessUse | None:
        hosted = [role for placed in self._roles.values() for role in placed.hosted if host in role.hosts]
        uses = [role.use(host) for role in hosted]
        return next((use for use in uses if use is None or use.part is not None), uses[0])

    def read_machines(self, here: Resources) -> Resources:
        """Return ``here`` with what the kernels count of the machines that the hosts are or have been on."""
        if self.is_here:
            self._machines.stay_here(here)
            return here
        hosts = self._hosts()
        told: list[Reading] = [
            (host.machine, host, use.resources) for host in hosts if host.machine and (use := host.use())
        ]
        if any(not host.machine for host in hosts):
            told.append((THIS_MACHINE, THIS_MACHINE, here))
        return self._machines.add_up(here, told)

    async def capture(self, record_id: int) -> Capture | None:
        """Return one exchange with its bytes, from both ends where both are of this run."""
        main = self._roles.get(self.main)
        seen = await main.role.capture(record_id) if main is not None else None
        if seen is None:
            return None
        others = [role for placed in self._roles.values() if placed is not main for role in placed.hosted]
        asked = seen
        for role in others:
            if relayed := await role.find_relayed(seen):
                seen = replace(seen, relayed=relayed)
                # Whoever answers knows who asked by the address that the relay has towards it.
                asked = replace(seen, local_address=relayed.address)
                break
        for role in others:
            if side := await role.find_answer(asked):
                return replace(seen, server=side)
        return seen

    async def cancel_task(self, process: ProcessKey, task: int) -> Cancelled:
        """Cancel a task of own code in the process of a host; raises EngineError when it is silent."""
        for host in self._hosts():
            if (use := host.use()) is not None and use.key == process:
                return await host.cancel_task(task)
        return Cancelled(CancelOutcome.GONE, f"task {task}")

    async def count_held_up(self, hold: Hold) -> int:
        """Return how many exchanges of the main role waited for the end of a hold."""
        return await self._roles[self.main].role.count_held_up(hold) if self._roles else 0

    async def close_connection(self, name: str, conn_id: int) -> bool:
        """Close one connection; False when there is none with this number."""
        placed = self._roles.get(name)
        return placed is not None and any([await role.close_connection(conn_id) for role in placed.hosted])


def _address_for(kind: RoleKind, given: Address, previous: Address) -> Address:
    """Return what a role is assigned: the address of the previous one to aim at, or the given one."""
    return aim(previous) if kind.aimed else given
