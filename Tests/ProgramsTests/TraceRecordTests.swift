import ControlProtocol
import ControlTestSupport
import ExpertPlacement
import Foundation
import TestSupport
import Testing
import Traces

/// `moe-ctl trace record`.
@Suite struct TraceRecordTests {
    private let folder: TemporaryFolder

    init() throws { folder = try TemporaryFolder() }

    private var trace: String { folder.path("trace.jsonl") }

    private func record(_ run: String, at address: String) throws -> CtlProgram {
        try CtlProgram(["trace", "record", run, "-o", trace, "--coordinator", address])
    }

    private func recorded() throws -> (header: TraceHeader, intervals: [TraceInterval], plans: [TracePlan]) {
        var reader = try TraceReader(path: trace)
        var (intervals, plans) = ([TraceInterval](), [TracePlan]())
        while let line = try reader.next() {
            switch line {
            case .interval(let interval): intervals.append(interval)
            case .plan(let plan): plans.append(plan)
            case .header: break
            }
        }
        return (reader.header, intervals, plans)
    }

    /// Two ranks that really train, and whose experts move.
    @Test func aTraceIsWhatTheCoordinatorTells() async throws {
        let job = try PlanningJob(allocator: "load-balanced")
        try await job.wait("plan of the planner that was measured") {
            try await job.plans().plans.contains { $0.revision > 1 && $0.observation != nil }
        }
        job.ranks.send(SIGTERM)
        _ = job.ranks.waitForEnd()

        let call = try record(PlanningJob.run, at: job.address)
        #expect(call.status == 0 && call.errors.isEmpty, "\(call.errors)")
        let (header, intervals, plans) = try recorded()
        #expect(call.output.split(separator: "\n").contains { $0.hasSuffix(" \(intervals.count)") }, "\(call.output)")
        let shown = try await job.send(ShowRun(run: PlanningJob.run))
        #expect(header.run == PlanningJob.run && header.source == "recorded" && header.model == shown.model)
        #expect(header.cluster?.nodes == [0, 0] && header.cluster?.ownership == shown.ownership)
        #expect(shown.exchange != nil && header.cluster?.exchange == shown.exchange)

        var loads = [IntervalLoads]()
        while true {
            let page = try await job.send(ListLoads(run: PlanningJob.run, after: loads.last?.number ?? 0))
            loads += page.loads
            guard page.truncated else { break }
        }
        #expect(loads.count > 1 && loads.map(\.expertLoads) == intervals.map(\.expertLoads))
        #expect(loads.map(\.firstStep) == intervals.map(\.firstStep))
        #expect(loads.map(\.planRevision) == intervals.map(\.planRevision))
        let sums = try await job.send(ListIntervals(run: PlanningJob.run)).intervals
        for (interval, sum) in zip(intervals.suffix(sums.count), sums) where sum.ranks == 2 {
            #expect(interval.stepSeconds == sum.stepSeconds && interval.tokens == sum.tokens, "\(interval) \(sum)")
        }
        #expect(intervals.contains { $0.ranks?.count == 2 })
        for interval in intervals {
            let timings = try? await job.send(ShowTimings(run: PlanningJob.run, firstStep: interval.firstStep))
            #expect(interval.ranks?.map(\.rank) == timings?.ranks.map(\.rank))
            for (rank, told) in zip(interval.ranks ?? [], timings?.ranks ?? []) {
                #expect(rank.stepSeconds == told.stepSeconds && rank.expertWork == told.expertWork)
                #expect(timings?.phases.map { rank.phaseSeconds[$0] } == told.seconds)
            }
        }

        let listed = try await job.plans().plans.reversed().filter { $0.activatedAt != nil }
        #expect(plans.map(\.summary) == listed && plans.count > 1)
        for plan in plans {
            let request = ShowPlacement(run: PlanningJob.run, revision: plan.summary.revision)
            #expect(try await job.send(request).plan == plan.plan)
        }
        try expectValidLines()
        try expectReplay(of: intervals)
    }

    private func expectValidLines() throws {
        let validator = try SchemaValidator()
        for line in try String(contentsOfFile: trace, encoding: .utf8).split(separator: "\n") {
            let value = try JSONValue(Data(line.utf8))
            let type = try #require(value["type"]?.text)
            #expect(try validator.problems(of: value, schema: type == "trace" ? type : "trace_" + type) == [])
        }
    }

    /// On the ranks that were recorded, with what they measured.
    private func expectReplay(of intervals: [TraceInterval]) throws {
        struct Report: Decodable {
            struct Policy: Decodable {
                struct Interval: Decodable { var stepSeconds: Double }
                var intervals: [Interval]
            }
            var ranks: Int
            var policies: [Policy]
        }
        let call = try CtlProgram([
            "simulate", "--trace", trace, "--policy", "expert-parallel", "--policy", "load-balanced", "-o", "json",
        ])
        #expect(call.status == 0 && call.errors.isEmpty, "\(call.errors)")
        let decoder = JSONDecoder()
        decoder.keyDecodingStrategy = .convertFromSnakeCase
        let report = try decoder.decode(Report.self, from: Data(call.output.utf8))
        #expect(report.ranks == 2)
        for policy in report.policies {
            #expect(policy.intervals.count == intervals.count)
            #expect(policy.intervals.allSatisfy { $0.stepSeconds > 0 })
        }
    }

    /// Page by page; without seconds where reports are gone or of another incarnation, and without sums where ranks are missing.
    @Test func whatIsNotKnownIsLeftOut() throws {
        let samples = CtlSamples(now: CtlSamples.fixedMoment)
        let all = (0..<5).map { index in
            var loads = samples.loads
            loads.number = 7 * index + 3
            loads.firstStep = 30 * index + 1
            loads.incarnation = index < 2 ? 1 : 2
            return loads
        }
        let coordinator = try CtlStubCoordinator { request throws(ControlError) in
            switch request {
            case .listLoads(let request):
                let page = all.filter { $0.number > request.after ?? 0 }.prefix(2)
                return Loads(run: "shakespeare", loads: Array(page), truncated: page.last?.number != all.last?.number)
            case .showTimings(let request):
                guard let step = request.firstStep, step > 1 else { throw ControlError(.unknownStep, "it is gone") }
                var timings = samples.timings
                timings.firstStep = step
                if step == 61 { timings.ranks.removeLast() }
                if step == 91 { timings.stepCount = 7 }
                return timings
            default: return try samples.answer(request)
            }
        }
        defer { coordinator.stop() }
        let call = try record("shakespeare", at: coordinator.address)
        #expect(call.status == 0 && call.errors.isEmpty, "\(call.errors)")
        let (_, intervals, plans) = try recorded()
        #expect(intervals.map(\.firstStep) == all.map(\.firstStep))
        #expect(intervals.map { $0.ranks?.count } == [nil, nil, 3, nil, 4])
        #expect(intervals.map(\.tokens) == [nil, nil, nil, nil, 30 * 1024])
        #expect(intervals.map(\.stepSeconds) == [nil, nil, nil, nil, 0.0573])
        #expect(plans.allSatisfy { $0.summary.activatedAt != nil } && plans.last?.summary.revision == 3)
    }

    /// What an incarnation did after the checkpoint that a later one went on from is left out, with intervals that begin before it.
    @Test func stepsDoneAgainAreThereOnce() throws {
        let samples = CtlSamples(now: CtlSamples.fixedMoment)
        // Incarnation, first step and number of steps.
        let done = [(1, 1, 10), (1, 11, 10), (1, 21, 10), (1, 31, 10), (2, 26, 10), (2, 36, 5), (2, 41, 5), (3, 41, 9)]
        let all = done.enumerated().map { index, interval in
            var loads = samples.loads
            loads.number = index + 1
            (loads.incarnation, loads.firstStep, loads.stepCount) = interval
            return loads
        }
        let coordinator = try CtlStubCoordinator { request throws(ControlError) in
            switch request {
            case .listLoads(let request):
                let page = all.filter { $0.number > request.after ?? 0 }.prefix(3)
                return Loads(run: "shakespeare", loads: Array(page), truncated: page.last?.number != all.last?.number)
            case .showTimings: throw ControlError(.unknownStep, "it is gone")
            default: return try samples.answer(request)
            }
        }
        defer { coordinator.stop() }
        let call = try record("shakespeare", at: coordinator.address)
        #expect(call.status == 0 && call.errors.isEmpty, "\(call.errors)")
        let intervals = try recorded().intervals
        #expect(intervals.map(\.firstStep) == [1, 11, 26, 36, 41])
        #expect(intervals.map(\.incarnation) == [1, 1, 2, 2, 3])
    }

    /// What was there stays, however it goes wrong.
    @Test func failuresLeaveNoTrace() throws {
        try Data("earlier".utf8).write(to: URL(filePath: trace))
        let samples = CtlSamples(now: CtlSamples.fixedMoment)
        let coordinator = try CtlStubCoordinator { request throws(ControlError) in
            if case .showTimings = request { throw CtlStubCoordinator.hangUp }
            return try samples.answer(request)
        }
        defer { coordinator.stop() }
        let cut = try record("shakespeare", at: coordinator.address)
        #expect(cut.status == 69 && cut.output.isEmpty, "\(cut.status) \(cut.errors)")
        let unknown = try record("nobody", at: coordinator.address)
        #expect(unknown.status == 1 && unknown.errors.contains("runs are: shakespeare"), "\(unknown.errors)")
        #expect(try FileManager.default.contentsOfDirectory(atPath: folder.url.path) == ["trace.jsonl"])
        #expect(try String(contentsOfFile: trace, encoding: .utf8) == "earlier")
    }
}
