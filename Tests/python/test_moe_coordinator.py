"""The Python client against a coordinator that is away, has no room, or refuses. python3 -m unittest, with deploy/python in PYTHONPATH."""

import json
import socket
import threading
import unittest

from moe_coordinator import Client, Job, Plan, Refused, Unreachable

# Longer than anything takes here; nothing waits for it but what has failed.
LONG = 60
DROP = "the connection ends without an answer"
SILENCE = "the connection stays, without an answer"


class Coordinator:
    """Takes every request, unless `answers` has another answer for its type: a list that is used up, of error codes, plans, DROP or SILENCE."""

    def __init__(self, **answers):
        self.answers, self.requests, self.heard = answers, [], threading.Condition()
        self.on_request = lambda type_: None
        self.listener = socket.socket()
        self.listener.bind(("127.0.0.1", 0))
        self.address = "127.0.0.1:{}".format(self.listener.getsockname()[1])

    def listen(self):
        self.listener.listen()
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def of(self, type_):
        return [request for request in self.requests if request["type"] == type_]

    def wait(self, type_, count=1):
        with self.heard:
            if not self.heard.wait_for(lambda: len(self.of(type_)) >= count, LONG):
                raise AssertionError(f"no {type_} came")

    def _accept(self):
        while True:
            connection, _ = self.listener.accept()
            threading.Thread(target=self._serve, args=[connection], daemon=True).start()

    def _serve(self, connection):
        with connection, connection.makefile("rb") as stream:
            while header := stream.read(4):
                request = json.loads(stream.read(int.from_bytes(header, "big")))
                with self.heard:
                    self.requests.append(request)
                    self.heard.notify_all()
                self.on_request(request["type"])
                left = self.answers.get(request["type"])
                answer = left.pop(0) if left else None
                if answer == DROP:
                    return
                if answer == SILENCE:
                    continue
                fields = {"type": "accepted", "incarnation": 1, "plan": plan(1).json if request["type"] == "register_run" else None}
                if isinstance(answer, Plan):
                    fields["plan"] = answer.json
                elif answer is not None:
                    fields = {"type": "error", "code": answer, "message": "no"}
                payload = json.dumps({"request_id": request["request_id"], **fields}).encode()
                connection.sendall(len(payload).to_bytes(4, "big") + payload)


def plan(revision):
    placed = {"mesh": {"data_parallel": 1, "tensor_parallel": 1, "ranks": [0]}, "width": 4}
    return Plan({"revision": revision, "layers": [{"experts": [placed]}]})


def register(coordinator, timeout=LONG, poll_interval=LONG, client=None):
    return Job.register(
        client or Client(coordinator.address), "run", nodes=[0, 0], hidden_size=4, widths=[[4]], poll_interval=poll_interval,
        timeout=timeout)


class JobTests(unittest.TestCase):
    def test_starts_wait_for_the_coordinator(self):
        """Refused connections, lost answers and want of room pass; the registration stays the same."""
        coordinator = Coordinator(register_run=[DROP, "overloaded"], register_worker=["storage_unavailable", DROP])

        class LateClient(Client):
            attempts = 0

            def _connect(self):
                self.attempts += 1
                if self.attempts == 3:
                    coordinator.listen()
                super()._connect()

        job = register(coordinator, client=LateClient(coordinator.address))
        self.assertEqual(len(coordinator.of("register_run")), 3)
        self.assertEqual(len({request["registration"] for request in coordinator.requests[:3]}), 1)
        self.assertEqual(len(coordinator.of("register_worker")), 3)
        job.close(timeout=LONG)

    def test_what_does_not_pass_is_not_waited_for(self):
        coordinator = Coordinator(register_run=["unknown_allocator"]).listen()
        with self.assertRaises(Refused):
            register(coordinator)
        self.assertEqual(len(coordinator.requests), 1)

    def test_starts_do_not_wait_for_ever(self):
        with self.assertRaises(Unreachable):
            register(Coordinator(), timeout=0.2)

    def test_the_end_waits_for_the_coordinator(self):
        coordinator = Coordinator(report=[DROP], finish_run=[DROP, DROP, "overloaded"]).listen()
        job = register(coordinator)
        job.report(1, 1, 0.5)
        job.close(step=1, timeout=LONG)
        self.assertEqual([request["step"] for request in coordinator.of("finish_run")], [1] * 4)

    def test_the_end_does_not_wait_for_ever(self):
        coordinator = Coordinator(report=["overloaded"] * 1000, finish_run=["overloaded"] * 1000).listen()
        job = register(coordinator)
        job.report(1, 1, 0.5)
        with self.assertRaisesRegex(Unreachable, "1 messages were not taken within 0.2 seconds"):
            job.close(timeout=0.2)
        job._thread.join(LONG)
        self.assertFalse(job._thread.is_alive())

    def test_silence_is_not_waited_for_longer(self):
        """Whatever a client waits for an answer otherwise."""
        with self.assertRaises(Unreachable):
            register(Coordinator(register_run=[SILENCE] * 10).listen(), timeout=0.2)
        coordinator = Coordinator(report=[SILENCE] * 10, finish_run=[SILENCE] * 10).listen()
        client = lambda: Client(coordinator.address, timeout=10 * LONG)
        jobs = [register(coordinator, client=client())]
        jobs.append(Job.join(client(), "run", 1, 1, jobs[0].plan))
        for job in jobs:
            job.report(1, 1, 0.5)
        coordinator.wait("report", 2)
        for job in jobs:
            with self.assertRaisesRegex(Unreachable, "1 messages were not taken within 0.4 seconds"):
                job.close(timeout=0.4)
            job._thread.join(LONG)
            self.assertFalse(job._thread.is_alive())
        self.assertGreater(len(coordinator.of("finish_run")), 0)

    def test_the_run_is_ended_whatever_was_refused(self):
        coordinator = Coordinator(report=["malformed"]).listen()
        job = register(coordinator)
        job.report(1, 1, 0.5)
        with self.assertRaisesRegex(Refused, "malformed"):
            job.close(outcome="failed", timeout=LONG)
        self.assertEqual([request["outcome"] for request in coordinator.of("finish_run")], ["failed"])

    def test_plans_are_asked_for_between_reports(self):
        """However many there are: there is always another one. And the other way round: a question is always due."""
        coordinator = Coordinator()
        job = register(coordinator.listen(), poll_interval=0)

        def report(type_):
            if type_ == "report" and not enough.is_set():
                job.report(1, 1, 0.5)

        enough = threading.Event()
        coordinator.on_request = report
        job.report(1, 1, 0.5)
        try:
            coordinator.wait("report", 3)
            coordinator.wait("poll_plan", len(coordinator.of("poll_plan")) + 3)
        finally:
            enough.set()
            job.close(timeout=LONG)

    def test_all_ranks_report_the_plan_that_they_applied(self):
        coordinator = Coordinator(poll_plan=[plan(2)] * 100_000).listen()
        jobs = [register(coordinator, poll_interval=0.01)]
        jobs.append(Job.join(Client(coordinator.address), "run", 1, 1, jobs[0].plan))
        coordinator.wait("poll_plan", 2)  # The first has been answered.
        offer = jobs[0].offer()
        self.assertIsNone(jobs[1].offer())
        for job in jobs:
            job.accept(offer, 3)
            job.applied(offer, 3)
            job.report(3, 1, 0.5)
        for job in reversed(jobs):
            job.close(step=3, timeout=LONG)
        reports = sorted((report["rank"], report["sample"]["plan_revision"]) for report in coordinator.of("report"))
        self.assertEqual(reports, [(0, 2), (1, 2)])
        self.assertEqual([told["transition"] for told in coordinator.of("plan_progress")], ["accepted", "applied"])

    def test_what_the_coordinator_would_refuse_is_the_callers_error(self):
        coordinator = Coordinator().listen()
        job = register(coordinator)
        with self.assertRaisesRegex(TypeError, "expert_rows is one integer over all layers, not a list"):
            job.report(1, 1, 0.5, expert_rows=[[1, 2]])
        with self.assertRaisesRegex(TypeError, "tokens is one integer, not a str"):
            job.report(1, 1, 0.5, tokens="8")
        with self.assertRaisesRegex(ValueError, "expert_work is -1"):
            job.report(1, 1, 0.5, expert_work=-1)
        job.report(1, 1, 0.5, expert_rows=8.0)
        job.close(timeout=LONG)
        self.assertEqual([report["sample"]["expert_rows"] for report in coordinator.of("report")], [8])


if __name__ == "__main__":
    unittest.main()
