import ExpertParallelism
import ExpertPlacement
import MessagePassing

/// How experts move during an `InvarianceCase`: to random places, every few steps.
public struct ExpertMoves: Sendable {
    private let model: ExpertModel
    private let interval: Int
    private let budgetBytes: Int?
    private let chunkBytes: Int
    /// Whether each step's loss and gradients are compared with one process's from the same weights.
    public let comparesSteps: Bool
    /// Whether weights and moments are compared before and after each move, for which refreshes are waited for.
    private let comparesState: Bool
    private var plans: RandomPlan
    private var current: PlacementSwitch?
    private var revision = 1

    /// - Parameters:
    ///   - interval: steps between two plans.
    ///   - budgetBytes: what may move before one step; nil: anything, and layers switch at once.
    public init(
        model: ExpertModel, seed: UInt64, interval: Int, budgetBytes: Int? = nil, comparesSteps: Bool = false,
        comparesState: Bool = true, chunkBytes: Int = MoEOptimizer.defaultChunkBytes
    ) {
        self.model = model
        self.interval = interval
        self.budgetBytes = budgetBytes
        self.comparesSteps = comparesSteps
        self.comparesState = comparesState
        self.chunkBytes = chunkBytes
        plans = RandomPlan(seed: seed)
    }

    /// Moves what is due before a step, and checks that nothing is lost or changed. Collective.
    mutating func move(
        before step: Int, optimizer: MoEOptimizer, communicator: any Communicator, record: inout TrainingRecord
    ) throws {
        if step > 0, step % interval == 0, current?.isComplete != false {
            var plan = try plans.plan(for: model, worldSize: communicator.size)
            revision += 1
            plan.revision = revision
            current = try PlacementSwitch(
                to: plan, optimizer: optimizer, hiddenSize: model.hiddenSize, budgetBytes: budgetBytes)
        }
        guard let due = current, !due.isComplete else { return }
        if comparesState { try optimizer.finishRefresh() }
        let before = comparesState ? try StateSnapshot(of: optimizer, communicator: communicator) : nil
        record.migration += try current?.advance(optimizer, chunkBytes: chunkBytes) ?? MigrationReport()
        let after = comparesState ? try StateSnapshot(of: optimizer, communicator: communicator) : nil
        guard after == before else {
            throw InvarianceFailure(description: "step \(step): weights or moments are not what they were")
        }
    }
}
