import ExpertPlacement
import Tensors

/// A new plan on its way into force, some layers before each step, so that no step waits long.
public struct PlacementSwitch: Sendable {
    public let plan: PlacementPlan
    public let schedule: MigrationSchedule
    private let migration: Migration
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
        migration = try optimizer.migration(to: plan)
        schedule = MigrationSchedule(migration, hiddenSize: hiddenSize, budgetBytes: budgetBytes, order: order)
    }

    /// Whether all layers are under the plan.
    public var isComplete: Bool { stepsDone == schedule.layersByStep.count }

    /// Switches the next layers, before a step, and gives the system back the memory that experts have left. Collective.
    /// - Parameter chunkBytes: as in `MoEOptimizer.apply`.
    public mutating func advance(
        _ optimizer: MoEOptimizer, chunkBytes: Int = MoEOptimizer.defaultChunkBytes
    ) throws -> MigrationReport {
        if isComplete { return MigrationReport() }
        let usual = StoragePool.shared.freeBytes
        // Ranks that are threads of one process share its memory: none moves anything before all have looked.
        try optimizer.waitForAllRanks()
        let report = try optimizer.carryOut(
            schedule.layersByStep[stepsDone].map { migration.layers[$0] }, planRevision: plan.revision,
            chunkBytes: chunkBytes)
        StoragePool.shared.trim(to: usual)
        stepsDone += 1
        return report
    }
}
