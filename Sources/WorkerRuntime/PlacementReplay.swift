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
    /// - Throws: `WorkerError` when the log cannot be read, or was written by other ranks.
    init(path: String, cluster: Cluster, completedSteps: Int) throws(WorkerError) {
        log = try PlacementLog(path: path)
        guard log.worldSize == cluster.worldSize else {
            throw .usage(
                "\(path) was written by \(log.worldSize) ranks, and there are \(cluster.worldSize): "
                    + "--placement-replay takes as many")
        }
        nodes = cluster.nodes
        givenStep = completedSteps + 1
    }

    /// Where experts are in the first step.
    func firstPlan() throws -> PlacementPlan { try log.placement(inStep: givenStep, nodes: nodes) }

    func hasPlan(before step: Int) -> Bool {
        nextStep = log.changes.contains { givenStep < $0.step && $0.step <= step } ? step : nil
        return nextStep != nil
    }

    func takePlan() -> PlacementPlan? {
        guard let step = nextStep else { return nil }
        givenStep = step
        nextStep = nil
        // The log was checked when it was read.
        return try? log.placement(inStep: step, nodes: nodes)
    }

    var largestRevision: Int { log.changes.map(\.revision).max() ?? 0 }

    /// Nobody asks.
    func note(_ event: PlanEvent) {}
}
