"""Lets a training job in Python, in PyTorch say, report its experts' loads to moe-coordinator and fetch placement plans.

Python's standard library alone, 3.9 or later; copy this file and moe_channel.py beside your own. docs/python.md has an example.

    job = Job.register(                                     # Rank 0, once a start.
        Client("127.0.0.1:7700"), run="pretrain", nodes=[0, 0, 1, 1], hidden_size=2048, widths=[[1024] * 64] * 24,
        allocator="load-balanced", interval=10)
    job.report(first_step=1, step_count=10, step_seconds=4.2, expert_loads=loads, loss=1.9)
    plan = job.offer()                                      # A Plan, or None.

Nothing here waits for the coordinator but `register`, `join` and `close`: a thread of the job's sends what it is given, and drops the
oldest reports when the coordinator is away.
"""

import collections
import json
import math
import operator
import os
import secrets
import socket
import threading
import time

import moe_channel

VERSION = 1
LARGEST_FRAME = 16 << 20
QUEUED_REPORTS = 64
LARGEST_COUNT = 1 << 53
# What the coordinator refuses for want of room, and takes later.
PASSING = ("overloaded", "storage_unavailable")


class CoordinatorError(Exception):
    """What keeps the coordinator from being asked, or its answer from being understood."""


class Unreachable(CoordinatorError):
    """No connection, or no answer in time. The request may or may not have been taken."""


class Refused(CoordinatorError):
    """The coordinator answered, and refused; `code` is one of docs/protocol.md's."""

    def __init__(self, code, message):
        super().__init__(f"{message} ({code})")
        self.code = code


class Client:
    """Requests to a coordinator, one at a time, over a connection that is made anew when it breaks.

    address: HOST:PORT. key_file: the key that the coordinator was started with (32 bytes, mode 0600). timeout: seconds for a
    connection, and for an answer.
    """

    def __init__(self, address, key_file=None, timeout=10.0):
        host, separator, port = address.rpartition(":")
        if not separator or not port.isdigit() or not 0 < int(port) < 65536:
            raise ValueError(f"{address!r} is no address: give HOST:PORT")
        self.address, self.timeout = (host.strip("[]"), int(port)), timeout
        self.key = _read_key(key_file) if key_file else None
        self.connection, self.ciphers, self.received, self.request_id = None, None, b"", 0
        self.lock, self.wait = threading.Lock(), timeout

    def request(self, type_, **fields):
        """The answer, as a dictionary. Absent fields are None here and left out there. Raises Refused or Unreachable."""
        return self._request(float("inf"), type_, fields)

    def _request(self, deadline, type_, fields):
        """deadline: of time.monotonic(); after that nothing is waited for."""
        left = max(0.01, deadline - time.monotonic())
        # Another thread's request may be under way.
        if not self.lock.acquire(timeout=min(left, threading.TIMEOUT_MAX)):
            raise Unreachable(f"{self.address[0]}:{self.address[1]}: an earlier request has no answer yet")
        try:
            self.wait = min(self.timeout, max(0.01, deadline - time.monotonic()))
            if self.connection is not None:
                self.connection.settimeout(self.wait)
            self.request_id += 1
            message = {"type": type_, "version": VERSION, "request_id": self.request_id}
            message |= {name: value for name, value in fields.items() if value is not None}
            payload = json.dumps(message, separators=(",", ":"), allow_nan=False).encode()
            if len(payload) > LARGEST_FRAME:
                raise ValueError(f"the {type_} has {len(payload):,} bytes, more than the {LARGEST_FRAME:,} of a frame")
            try:
                if self.connection is None:
                    self._connect()
                self._write(len(payload).to_bytes(4, "big") + payload)
                while True:
                    answer = self._read_frame()
                    # An answer to a request that was given up is not this one's.
                    if answer.get("request_id", self.request_id) == self.request_id:
                        break
            except (OSError, EOFError, moe_channel.Tampered) as error:
                self._disconnect()
                raise Unreachable(f"{self.address[0]}:{self.address[1]}: {error or 'the connection ended'}") from error
            if answer.get("type") == "error":
                if "request_id" not in answer:
                    self._disconnect()  # So does the coordinator.
                raise Refused(str(answer.get("code")), str(answer.get("message")))
            return answer
        finally:
            self.lock.release()

    def interrupt(self):
        """Ends the request that is under way in another thread, if it has a connection."""
        try:
            self.connection.shutdown(socket.SHUT_RDWR)
        except (AttributeError, OSError):
            pass  # There is none, or none any more.

    def persist(self, deadline, type_, **fields):
        """As `request`, for requests that may be repeated: again until time.monotonic() is past `deadline`, while the coordinator is
        away or has no room."""
        pause = 0.05
        while True:
            try:
                return self._request(deadline, type_, fields)
            except (Unreachable, Refused) as error:
                # Another key does not become the right one.
                passes = error.code in PASSING if isinstance(error, Refused) else not isinstance(
                    error.__cause__, moe_channel.Tampered)
                left = deadline - time.monotonic()
                if not passes or left <= 0:
                    raise
            time.sleep(min(pause, left))
            pause = min(2 * pause, 1.0)

    def close(self):
        with self.lock:
            self._disconnect()

    def _connect(self):
        self.connection = socket.create_connection(self.address, self.wait)
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.ciphers, self.received = None, b""
        if self.key is None:
            return
        handshake = moe_channel.Handshake(self.key)
        self._send_message(handshake.first())
        length = self._read_exactly(2)
        if length == b"\0\0":  # A frame's length: the coordinator does not know this key, or has none itself.
            raise moe_channel.Tampered("the coordinator does not take this key, or was started without --key-file")
        self.ciphers = handshake.finish(self._read_exactly(int.from_bytes(length, "big")))

    def _disconnect(self):
        if self.connection is not None:
            self.connection.close()
        self.connection = None

    def _send_message(self, message):
        self.connection.sendall(len(message).to_bytes(2, "big") + message)

    def _read_exactly(self, count):
        parts = []
        while count > 0:
            part = self.connection.recv(min(count, 1 << 16))
            if not part:
                raise EOFError("the coordinator closed the connection")
            parts.append(part)
            count -= len(part)
        return b"".join(parts)

    def _write(self, data):
        if self.ciphers is None:
            self.connection.sendall(data)
            return
        for start in range(0, len(data), moe_channel.LARGEST_PAYLOAD):
            self._send_message(self.ciphers[0].seal(b"", data[start:start + moe_channel.LARGEST_PAYLOAD]))

    def _read(self, count):
        if self.ciphers is None:
            return self._read_exactly(count)
        while len(self.received) < count:
            length = int.from_bytes(self._read_exactly(2), "big")
            self.received += self.ciphers[1].open(b"", self._read_exactly(length))
        data, self.received = self.received[:count], self.received[count:]
        return data

    def _read_frame(self):
        length = int.from_bytes(self._read(4), "big")
        if length > LARGEST_FRAME:
            raise OSError(f"a frame of {length:,} bytes came: is this a moe-coordinator?")
        try:
            answer = json.loads(self._read(length))
        except ValueError as error:
            raise OSError("what came is no JSON: is this a moe-coordinator, and does it need a key?") from error
        if not isinstance(answer, dict):
            raise OSError("what came is no answer: is this a moe-coordinator?")
        return answer


def _read_key(path):
    status = os.stat(path)
    if status.st_mode & 0o077:
        raise ValueError(f"others may read or write the key file {path}; make it yours alone: chmod 600 {path}")
    with open(path, "rb") as file:
        key = file.read(moe_channel.KEY_BYTES + 1)
    if len(key) != moe_channel.KEY_BYTES:
        raise ValueError(f"{path} has not the {moe_channel.KEY_BYTES} bytes of a key: make one with moe-ctl key generate")
    return key


class Plan:
    """A placement plan (schemas/placement_plan.json); `json` is what came."""

    def __init__(self, json_):
        self.json = json_

    @property
    def revision(self):
        return self.json["revision"]

    def replicas(self, layer, expert):
        """The expert's replicas: a list of (fraction of its tokens, [(rank, first neuron, neuron after the last)])."""
        placed = self.json["layers"][layer]["experts"][expert]
        mesh, width = placed["mesh"], placed["width"]
        replicas, shards = mesh["data_parallel"], mesh["tensor_parallel"]
        cuts = placed.get("cuts") or _even_cuts(width, shards)
        fractions = placed.get("fractions") or [1 / replicas] * replicas
        return [(fractions[d], [(mesh["ranks"][d * shards + t], cuts[t], cuts[t + 1]) for t in range(shards)])
                for d in range(replicas)]

    def held_by(self, rank):
        """What a rank computes with: {(layer, expert): (first neuron, neuron after the last)}."""
        return {
            (layer, expert): (first, last)
            for layer, placed in enumerate(self.json["layers"]) for expert in range(len(placed["experts"]))
            for _, shards in self.replicas(layer, expert) for holder, first, last in shards if holder == rank}


def _even_cuts(width, parts):
    """As even as can be, larger parts first."""
    cuts = [0]
    for part in range(parts):
        cuts.append(cuts[-1] + width // parts + (part < width % parts))
    return cuts


def _count(name, value, of=""):
    """`value` as an integer that the coordinator takes; None stays None."""
    if value is None:
        return None
    try:
        number = int(value) if isinstance(value, float) and value.is_integer() else operator.index(value)
    except TypeError:
        raise TypeError(f"{name} is one integer{of}, not a {type(value).__name__}") from None
    if not 0 <= number <= LARGEST_COUNT:
        raise ValueError(f"{name} is {number}: give an integer from 0 to {LARGEST_COUNT}")
    return number


class Job:
    """One rank of a run. Rank 0 calls `register` and tells the others `incarnation`, with which they call `join`."""

    def __init__(self, client, run, incarnation, rank, plan=None, world=1, poll_interval=1.0):
        self.client, self.run, self.incarnation, self.rank = client, run, incarnation, rank
        self.plan, self.world, self.poll_interval = plan, world, poll_interval
        self.failure = None
        self._sequence, self._offer = 0, None
        self._deadline = None  # When the thread ends at the latest; None before `close`.
        self._reports, self._progress = collections.deque(maxlen=QUEUED_REPORTS), collections.deque()
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._work, name="moe-coordinator", daemon=True)
        self._thread.start()

    @classmethod
    def register(cls, client, run, nodes, hidden_size, widths, allocator="load-balanced", plan=None, interval=None,
                 memory_limits=None, exchange=None, ownership=None, configuration=None, poll_interval=1.0, timeout=30.0):
        """Starts the run, or starts it again. Waits for the coordinator, `timeout` seconds at most, and then raises Unreachable.

        nodes: the node of each rank. widths: F of each expert, [layer][expert]. interval: steps that a report covers. configuration:
        whatever shall be shown beside the run, {name: text}. The others are as in schemas/register_run.json.
        """
        deadline = time.monotonic() + timeout
        answer = client.persist(
            deadline, "register_run", run=run, registration=secrets.token_hex(16), world_size=len(nodes), nodes=list(nodes),
            model={"hidden_size": hidden_size, "layers": widths}, allocator=allocator,
            plan=plan.json if plan else None, host=socket.gethostname(), process_id=os.getpid(),
            configuration=configuration or {}, memory_limits=memory_limits, exchange=exchange, ownership=ownership,
            interval=interval)
        return cls.join(client, run, answer["incarnation"], 0, Plan(answer["plan"]), len(nodes), poll_interval,
                        deadline - time.monotonic())

    @classmethod
    def join(cls, client, run, incarnation, rank, plan=None, world=1, poll_interval=1.0, timeout=30.0):
        """A rank of a run that rank 0 has started. Waits for the coordinator as `register` does."""
        client.persist(time.monotonic() + timeout, "register_worker", run=run, incarnation=incarnation, rank=rank,
                       host=socket.gethostname(), process_id=os.getpid())
        return cls(client, run, incarnation, rank, plan, world, poll_interval)

    def report(self, first_step, step_count, step_seconds, phase_seconds=None, expert_loads=None, loss=None, tokens=0,
               bytes_sent=0, resident_bytes=0, expert_rows=None, expert_work=None, plan_revision=None, dropped_tokens=None):
        """What this rank measured over `step_count` steps from `first_step` (from 1) on, `step_seconds` all of them together.

        Rank 0 gives the loads, [layer][expert] rows of all ranks over these steps, and the loss; where experts have a capacity, also the
        (token, expert) pairs by layer that found no place and are not among the loads. Seconds of the phase "experts" with `expert_rows`
        and `expert_work`, each one integer over all layers (schemas/performance_sample.json), tell the planner how fast the ranks are.
        """
        if self.failure is not None:
            raise self.failure
        sample = {
            "first_step": _count("first_step", first_step), "step_count": _count("step_count", step_count),
            "step_seconds": float(step_seconds),
            "plan_revision": plan_revision if plan_revision is not None else self.plan.revision if self.plan else 0,
            "phase_seconds": {name: float(seconds) for name, seconds in (phase_seconds or {}).items()},
            "bytes_sent": _count("bytes_sent", bytes_sent), "tokens": _count("tokens", tokens),
            "resident_bytes": _count("resident_bytes", resident_bytes),
            "expert_rows": _count("expert_rows", expert_rows, " over all layers"),
            "expert_work": _count("expert_work", expert_work, " over all layers"),
            "loss": None if loss is None or not math.isfinite(loss) else float(loss),
            "expert_loads": None if expert_loads is None else [[int(load) for load in layer] for layer in expert_loads],
            "dropped_tokens": None if dropped_tokens is None else [int(pairs) for pairs in dropped_tokens]}
        sample = {name: value for name, value in sample.items() if value is not None}
        json.dumps(sample, allow_nan=False)  # What cannot be sent is the caller's error.
        with self._changed:
            self._sequence += 1
            self._reports.append({"sequence": self._sequence, "sample": sample})
            self._changed.notify()

    def offer(self):
        """The plan that waits for an answer, on rank 0; None when there is none, and on other ranks.

        Rank 0 tells it to the others, and all call what follows alike; the coordinator hears it from rank 0."""
        return self._offer

    def accept(self, plan, step):
        """All ranks agreed: `step` is the first with a layer under the plan."""
        self._tell(plan, "accepted", step)

    def reject(self, plan, step, reason):
        """A rank cannot take it; training goes on under the plan in force."""
        self._tell(plan, "rejected", step, reason=reason)

    def applied(self, plan, step, switched=None, bytes=0, seconds=0.0):
        """All layers are under the plan, the last from `step` on; switched: {layer: its first step}, by default all at `step`. Reports
        are of this plan from now on."""
        switched = switched or dict.fromkeys(range(len(plan.json["layers"])), step)
        layers = [{"layer": layer, "step": first} for layer, first in sorted(switched.items())]
        self._tell(plan, "applied", step, layers, bytes, seconds)
        self.plan = plan

    def close(self, outcome="completed", step=0, reason=None, timeout=30.0):
        """Sends what is left, and on rank 0 how the run ended: completed, failed or interrupted. Waits for the coordinator, `timeout`
        seconds at most. Raises what went wrong, when the run is ended."""
        deadline = time.monotonic() + timeout
        # A part of the time is the end's.
        sending = timeout * 0.75 if self.rank == 0 else timeout
        with self._changed:
            self._deadline = deadline - timeout + sending
            self._changed.notify()
        self._thread.join(sending)
        if self._thread.is_alive():
            self.client.interrupt()
        failure, left = self.failure, len(self._reports) + len(self._progress)
        if failure is None and left > 0:
            failure = Unreachable(f"{left} messages were not taken within {timeout} seconds")
        if self.rank == 0:
            try:
                self.client.persist(deadline, "finish_run", run=self.run, incarnation=self.incarnation, outcome=outcome,
                                    step=step, reason=reason)
            except CoordinatorError as error:
                failure = failure or error
        # A thread that is still connecting ends by itself, and with it the connection.
        self._thread.join(max(0.0, deadline - time.monotonic()))
        if not self._thread.is_alive():
            self.client.close()
        if failure is not None:
            raise failure

    def _tell(self, plan, transition, step, switched=(), bytes_=0, seconds=0.0, reason=None):
        if self.rank != 0:
            return
        with self._changed:
            self._progress.append(dict(
                revision=plan.revision, transition=transition, step=step, switched=list(switched), bytes=bytes_,
                seconds=float(seconds), verify_seconds=0.0, reason=reason))
            if self._offer is not None and self._offer.revision == plan.revision:
                self._offer = None
            self._changed.notify()

    def _work(self):
        delay, polled = 0.0, 0.0
        while True:
            with self._changed:
                closing = self._deadline is not None
                due = polled + self.poll_interval if self.rank == 0 and not closing else float("inf")
                if not (self._reports or self._progress or closing) or delay:
                    wait = max(0.0, delay or due - time.monotonic())
                    self._changed.wait(None if wait == float("inf") else wait)
                if self._deadline is not None and (
                        time.monotonic() >= self._deadline or not (self._reports or self._progress)):
                    return
                report = self._reports[0] if self._reports else None
                progress = self._progress[0] if self._progress else None
            try:
                delay = 0.0
                if progress is not None:
                    self._send(self._progress, progress, "plan_progress", progress)
                    continue
                # Both, so that neither keeps the other waiting, however many reports there are.
                if time.monotonic() >= due:
                    polled = time.monotonic()
                    self._poll()
                if report is not None:
                    self._send(self._reports, report, "report", {"rank": self.rank, **report})
            except Unreachable:
                delay = 1.0
            except Refused as error:
                if error.code in PASSING:
                    delay = 1.0
                else:
                    self.failure = error  # The run was started again elsewhere, say: nothing more will be taken.
                    return
            except Exception as error:
                self.failure = error
                return

    def _send(self, queue, item, type_, fields):
        self.client.request(type_, run=self.run, incarnation=self.incarnation, **fields)
        with self._changed:
            # A full queue may have dropped it meanwhile.
            if queue and queue[0] is item:
                queue.popleft()

    def _poll(self):
        revision = self.plan.revision if self.plan else 0
        plan = self.client.request("poll_plan", run=self.run, incarnation=self.incarnation, revision=revision).get("plan")
        with self._changed:
            waits = any(progress["revision"] == (plan or {}).get("revision") for progress in self._progress)
            self._offer = Plan(plan) if plan and not waits else None
