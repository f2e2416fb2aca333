import ArgumentParser
import ControlProtocol
import ExpertPlacement
import Listings
import Traces

extension TraceCommands {
    struct Record: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "record",
            abstract: "Make a trace of a run that a coordinator knows.",
            discussion: """
                Loads of all intervals that the coordinator has, what the ranks measured in them, as long as that is kept, and \
                every plan that was in force. A run that goes on is recorded up to now. Steps that were done again after a \
                checkpoint are there once, as they were done last.
                """)

        @Argument(help: "Name of the run (default: the one that was started last).")
        var run: String?
        @OptionGroup var output: TraceOutput
        @OptionGroup var coordinator: CoordinatorOptions

        func run() async throws {
            let (header, intervals) = try await coordinator.ask { client in
                let name = try await client.chooseRun(run)
                return try await client.listingRunsIfUnknown {
                    try await RunRecording(client: client, run: name).write(to: output.path)
                }
            }
            try output.report(header, intervals: intervals)
        }
    }
}

/// Writes what a coordinator knows of a run as a trace, page by page.
private struct RunRecording {
    let client: ControlClient
    let run: String

    func write(to path: String) async throws -> (header: TraceHeader, intervals: Int) {
        let shown = try await client.send(ShowRun(run: run))
        let plans = try await plans()
        // The last plan's ranks are those of now.
        let nodes = plans.last?.plan.nodes ?? [Int](repeating: 0, count: shown.summary.worldSize)
        let header = TraceHeader(
            run: run, source: "recorded", model: shown.model,
            cluster: Cluster(
                nodes: nodes, memoryLimits: nil, exchange: shown.exchange,
                ownership: shown.ownership ?? .defaultPolicy))
        let writer = try TraceWriter(path: path, header: header)
        for plan in plans { try writer.write(.plan(plan)) }
        // By incarnation the first step that it did: those before it may have done it, too, before they ended.
        var firstSteps = [Int: Int]()
        try await forEachLoads { loads in
            firstSteps[loads.incarnation] = min(firstSteps[loads.incarnation] ?? .max, loads.firstStep)
        }
        try await forEachLoads { loads in
            let end = loads.firstStep + max(1, loads.stepCount)
            guard firstSteps.allSatisfy({ $0.key <= loads.incarnation || $0.value >= end }) else { return }
            let plan = plans.last { $0.summary.incarnation <= loads.incarnation }
            try writer.write(.interval(try await interval(loads, ranks: plan?.plan.worldSize)))
        }
        try writer.finish()
        return (header, writer.intervals)
    }

    /// Page by page.
    private func forEachLoads(_ body: (IntervalLoads) async throws -> Void) async throws {
        var last = 0
        while true {
            let page = try await client.send(ListLoads(run: run, after: last))
            for loads in page.loads {
                try await body(loads)
                last = loads.number
            }
            guard page.truncated, !page.loads.isEmpty else { return }
        }
    }

    /// Those that came into force, ascending.
    private func plans() async throws -> [TracePlan] {
        let listed = try await client.send(ListPlans(run: run))
        if listed.truncated {
            StandardError.write("Note: there are more plans; only the last \(listed.plans.count) are looked through.")
        }
        var plans = [TracePlan]()
        for summary in listed.plans.reversed() where summary.activatedAt != nil {
            let placement = try await client.send(ShowPlacement(run: run, revision: summary.revision))
            plans.append(TracePlan(summary: summary, plan: placement.plan))
        }
        return plans
    }

    /// Loads with what the ranks measured in the same steps, where the coordinator still has it.
    /// - Parameter ranks: of the world then. What is of all of them is left out as long as not all have reported.
    private func interval(_ loads: IntervalLoads, ranks: Int?) async throws -> TraceInterval {
        var interval = TraceInterval(
            incarnation: loads.incarnation, firstStep: loads.firstStep, stepCount: max(1, loads.stepCount),
            planRevision: loads.planRevision, expertLoads: loads.expertLoads)
        let timings: Timings
        do { timings = try await client.send(ShowTimings(run: run, firstStep: loads.firstStep)) } catch {
            guard error.code == .unknownStep else { throw error }
            return interval
        }
        // A later incarnation may have done the steps again.
        guard timings.incarnation == loads.incarnation, timings.stepCount == loads.stepCount else { return interval }
        interval.ranks = timings.ranks.map { rank in
            TraceInterval.RankTiming(
                rank: rank.rank, stepSeconds: rank.stepSeconds,
                phaseSeconds: Dictionary(zip(timings.phases, rank.seconds)) { first, _ in first },
                expertWork: rank.expertWork)
        }
        guard timings.ranks.count == ranks else { return interval }
        interval.tokens = timings.ranks.reduce(0) { $0 + $1.tokens }
        interval.stepSeconds = timings.ranks.map(\.stepSeconds).max()
        return interval
    }
}
