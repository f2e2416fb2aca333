import ExpertPlacement

/// Gives the placements of a log, each before the step that had it.
final class PlacementReplay: PlanSource {
    private let log: PlacementLog
    private let nodes: [Int]
    /// The last step whose placement was given.
    private var givenStep: Int
    /// The step whose placement is given next.
    private var nextStep: Int?

    /// - Parameter completedSteps: steps that are done already.
    init(_ log: PlacementLog, nodes: [Int], completedSteps: Int) {
        self.log = log
        self.nodes = nodes
        givenStep = completedSteps + 1
    }

    /// Where experts are in the step after `completedSteps`.
    /// - Throws: `WorkerError` when the log was written by other ranks.
    static func firstPlan(
        _ log: PlacementLog, cluster: Cluster, completedSteps: Int
    ) throws -> PlacementPlan {
        guard log.worldSize == cluster.worldSize else {
            throw WorkerError.usage(
                "\(log.path) was written by \(log.worldSize) ranks, and there are \(cluster.worldSize): "
                    + "--placement-replay takes as many")
        }
        return try plan(log, nodes: cluster.nodes, step: completedSteps + 1)
    }

    private static func plan(_ log: PlacementLog, nodes: [Int], step: Int) throws -> PlacementPlan {
        let placement = try log.placement(inStep: step)
        return try PlacementPlan(
            revision: placement.revision, worldSize: placement.worldSize, nodes: nodes, layers: placement.layers)
    }

    func hasPlan(before step: Int) -> Bool {
        let isChanged = log.changes.contains { givenStep < $0.step && $0.step <= step }
        nextStep = isChanged ? step : nil
        return isChanged
    }

    func takePlan() -> PlacementPlan? {
        guard let step = nextStep else { return nil }
        givenStep = step
        nextStep = nil
        // The log was checked when it was read.
        return try? Self.plan(log, nodes: nodes, step: step)
    }

    var largestRevision: Int { log.changes.map(\.revision).max() ?? 0 }

    /// Nobody asks.
    func note(_ event: PlanEvent) {}
}
