import ExpertPlacement

/// A new plan on its way into force, some layers before each step, so that no step waits long.
public struct PlacementSwitch: Sendable {
    public let plan: PlacementPlan
    public let schedule: MigrationSchedule
    /// Steps that layers have switched before.
    public private(set) var stepsDone = 0

    /// - Parameters:
    ///   - budgetBytes: what all ranks together may send before one step; nil: anything.
    ///   - order: of the layers; nil: from 0.
    /// - Throws: `PlacementError` when the plan does not fit the model or the ranks.
    public init(
        to plan: PlacementPlan, optimizer: MoEOptimizer, hiddenSize: Int, budgetBytes: Int? = nil, order: [Int]? = nil
    ) throws {
        self.plan = plan
        schedule = MigrationSchedule(
            try optimizer.migration(to: plan), hiddenSize: hiddenSize, budgetBytes: budgetBytes, order: order)
    }

    /// Whether all layers are under the plan.
    public var isComplete: Bool { stepsDone == schedule.layersByStep.count }

    /// Switches the next layers, before a step. Collective.
    /// - Parameter chunkBytes: as in `MoEOptimizer.apply`.
    public mutating func advance(
        _ optimizer: MoEOptimizer, chunkBytes: Int = MoEOptimizer.defaultChunkBytes
    ) throws -> MigrationReport {
        if isComplete { return MigrationReport() }
        let report = try optimizer.apply(
            plan, layers: schedule.layersByStep[stepsDone], chunkBytes: chunkBytes)
        stepsDone += 1
        return report
    }
}
