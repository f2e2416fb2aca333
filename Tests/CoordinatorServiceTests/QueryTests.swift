import ControlProtocol
import ControlTestSupport
import ExpertPlacement
import Testing

struct QueryTests {
    @Test func whatWasReportedIsShown() async throws {
        try await LiveCoordinator.run { coordinator in
            let client = try await coordinator.client()
            let plan = try await client.send(Samples.registerRun("older")).plan
            _ = try await client.send(Samples.registerRun(worldSize: 2))
            for rank in 0..<2 {
                _ = try await client.send(Samples.registerWorker(rank: rank))
                let sample = rank == 0 ? Samples.sample(loads: [[1, 2, 3], [4, 5, 6]], loss: 2.5) : Samples.sample()
                _ = try await client.send(Samples.report(rank: rank, sample: sample))
            }

            let runs = try await client.send(ListRuns())
            #expect(runs.runs.map(\.run) == ["shakespeare", "older"])
            #expect(!runs.truncated)
            let summary = try #require(runs.runs.first)
            #expect(summary.state == .running)
            #expect([summary.incarnation, summary.worldSize, summary.layers, summary.experts] == [1, 2, 2, 6])
            #expect(summary.step == 20)
            #expect(summary.loss == 2.5)
            #expect(summary.planRevision == 1)
            #expect(runs.runs[1].reportedAt == nil)

            let run = try await client.send(ShowRun())
            #expect(run.summary == summary)
            #expect(run.model == Samples.model)
            #expect(run.configuration == ["seed": "7", "batch_size": "12"])
            #expect(run.storedReports == 2)
            #expect(run.events.map(\.kind) == [.planActivated, .runRegistered])

            let workers = try await client.send(ListWorkers(run: "shakespeare")).workers
            #expect(workers.map(\.rank) == [0, 1])
            #expect(workers.map(\.processID) == [4711, 4712])
            #expect(workers.allSatisfy { $0.step == 20 && $0.stepSeconds == 0.05 && $0.residentBytes == 1 << 20 })
            #expect(try await client.send(ListWorkers()).workers.count == 2)
            #expect(try await client.send(ListWorkers(run: "older")).workers == [])

            let placement = try await client.send(ShowPlacement(run: "older"))
            #expect(placement.plan == plan)
            #expect(placement.state == .active)
            #expect(placement.why == "first registration, placed by allocator expert-parallel")
            let layer = try await client.send(ShowPlacement(run: "older", layer: 1))
            #expect(layer.layer == 1)
            #expect(layer.plan.layers == [plan.layers[1]])
        }
    }

    @Test func earlierPlansAndStartsStayKnown() async throws {
        try await LiveCoordinator.run { coordinator in
            let client = try await coordinator.client()
            let first = try await client.send(Samples.registerRun()).plan
            _ = try await client.send(Samples.registerWorker())
            _ = try await client.send(
                FinishRun(run: "shakespeare", incarnation: 1, outcome: .interrupted, step: 7, reason: "SIGTERM"))
            let stopped = try await client.send(ShowRun())
            #expect(stopped.summary.state == .interrupted)
            #expect(stopped.summary.finishedAt != nil)
            #expect(stopped.reason == "SIGTERM")
            let second = try await client.send(Samples.registerRun(registration: "b", worldSize: 3)).plan
            #expect(try await client.send(ShowPlacement()).plan == second)
            let old = try await client.send(ShowPlacement(revision: 1))
            #expect(old.plan == first)
            #expect(old.state == .superseded)
            #expect(try await client.send(ListWorkers()).workers == [])
            let summary = try await client.send(ShowRun()).summary
            #expect(summary.state == .running)
            #expect(summary.finishedAt == nil)
            #expect(summary.incarnation == 2)
        }
    }

    @Test func whatIsNotThereIsNamed() async throws {
        try await LiveCoordinator.run { coordinator in
            let client = try await coordinator.client()
            func code(_ request: some ControlRequest) async -> ControlError.Code? {
                do { _ = try await client.send(request) } catch { return error.code }
                return nil
            }
            #expect(await code(ListRuns()) == nil)
            #expect(await code(ShowRun()) == .unknownRun)
            #expect(await code(ShowPlacement()) == .unknownRun)
            _ = try await client.send(Samples.registerRun())
            #expect(await code(ShowRun(run: "nobody")) == .unknownRun)
            #expect(await code(ListWorkers(run: "nobody")) == .unknownRun)
            #expect(await code(ShowPlacement(run: "shakespeare", revision: 2)) == .unknownRevision)
            #expect(await code(ShowPlacement(run: "shakespeare", layer: 2)) == .unknownLayer)
            #expect(await code(ShowPlacement(run: "shakespeare", layer: -1)) == .badRequest)
        }
    }

    @Test func listingsAreCut() async throws {
        var limits = Limits()
        limits.listedRuns = 2
        limits.listedWorkers = 1
        limits.listedEvents = 2
        limits.listedPlans = 1
        try await LiveCoordinator.run(limits: limits) { coordinator in
            let client = try await coordinator.client()
            for run in ["a", "b", "c"] { _ = try await client.send(Samples.registerRun(run)) }
            for rank in 0..<2 { _ = try await client.send(Samples.registerWorker("c", rank: rank)) }
            let runs = try await client.send(ListRuns())
            #expect(runs.runs.map(\.run) == ["c", "b"])
            #expect(runs.truncated)
            let workers = try await client.send(ListWorkers())
            #expect(workers.workers.map(\.rank) == [0])
            #expect(workers.truncated)
            // A world of another size makes another plan.
            _ = try await client.send(Samples.registerRun("c", registration: "c2", worldSize: 3))
            #expect(try await client.send(ShowRun(run: "c")).events.count == 2)
            for limit in [nil, 5] {
                let plans = try await client.send(ListPlans(run: "c", limit: limit))
                #expect(plans.plans.map(\.revision) == [2])
                #expect(plans.truncated)
            }
        }
    }

    @Test func theSixthVersionOfTheInternetProtocolServes() async throws {
        try await LiveCoordinator.run(host: "::1") { coordinator in
            let client = try await ControlClient.connect(to: Endpoint("[::1]:\(coordinator.port)"))
            #expect(try await client.send(ListRuns()).runs == [])
        }
    }
}
