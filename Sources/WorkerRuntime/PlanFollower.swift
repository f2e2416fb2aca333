import ExpertParallelism
import ExpertPlacement
import Foundation
import MessagePassing

/// Brings plans into force between steps, on all ranks alike: rank 0 offers one, all ranks look at it, and when every one
/// can apply it, layers switch before the next steps under the byte budget.
package final class PlanFollower {
    /// What rank 0 tells the others of a plan.
    private struct Offer: Codable {
        let plan: PlacementPlan
        let budgetBytes: Int?
    }

    /// What happened before a step.
    package struct Progress {
        package var migration: MigrationReport
        /// Of all steps of the plan so far.
        package var planMigration: MigrationReport
        /// Revision of the plan that is in force now, when its last layer has switched.
        package var completedRevision: Int?
    }

    /// The plan in force: with the last layer of its successor this becomes the successor.
    package private(set) var plan: PlacementPlan
    private let optimizer: MoEOptimizer
    private let model: ExpertModel
    private let cluster: Cluster
    private let communicator: any Communicator
    /// On rank 0, when plans can come at all.
    private let source: (any PlanSource)?
    private let fixedBudget: Int?

    private var current: PlacementSwitch?
    private var migration = MigrationReport()
    /// Bytes a second of the plans applied so far; nil: there was none.
    private var measuredRate: Double?

    /// - Parameter budgetBytes: what all ranks together may move before one step; nil: about what half a step takes.
    package init(
        plan: PlacementPlan, optimizer: MoEOptimizer, model: ExpertModel, cluster: Cluster, source: (any PlanSource)?,
        budgetBytes: Int?, communicator: any Communicator
    ) {
        self.plan = plan
        self.optimizer = optimizer
        self.model = model
        self.cluster = cluster
        self.source = source
        self.communicator = communicator
        fixedBudget = budgetBytes
    }

    /// Where the experts are: the plan in force, or, while another is being applied, each layer where it is by now, under a
    /// revision that is none.
    var placement: PlacementPlan {
        guard optimizer.placements.map(\.experts) != plan.layers.map(\.experts) else { return plan }
        do {
            return try PlacementPlan(worldSize: plan.worldSize, nodes: plan.nodes, layers: optimizer.placements)
        } catch {
            preconditionFailure("layers of two plans fit the same ranks: \(error)")
        }
    }

    /// Whether rank 0 has a plan to offer before step `step` (from 1); false on other ranks.
    package func hasOffer(before step: Int) -> Bool { current == nil && source?.hasPlan(before: step) == true }

    /// Looks at the plan that rank 0 has, before step `step` (from 1). Collective; all ranks must know that there is one.
    /// - Parameter stepSeconds: of the last step, on rank 0.
    /// - Returns: why a rank refused it; nil: layers switch from this step on.
    package func consider(step: Int, stepSeconds: Double) throws -> String? {
        let offered = communicator.rank == 0 ? source?.takePlan() : nil
        let message = try communicator.agree { () -> [UInt8] in
            guard communicator.rank == 0 else { return [] }
            guard let offered else { throw WorkerError.failed("the plan that was offered is gone") }
            return try Array(JSONEncoder().encode(Offer(plan: offered, budgetBytes: budget(stepSeconds: stepSeconds))))
        }
        let bytes = try communicator.broadcast(message, root: 0)
        var next: PlacementSwitch?
        let refusal = try communicator.consent {
            let offer = try JSONDecoder().decode(Offer.self, from: Data(bytes))
            try offer.plan.validate(for: model, worldSize: communicator.size)
            try PlanMemory.check(offer.plan, from: plan, model: model, cluster: cluster)
            next = try PlacementSwitch(
                to: offer.plan, optimizer: optimizer, hiddenSize: model.hiddenSize, budgetBytes: offer.budgetBytes)
        }
        if let refusal {
            if let offered {
                source?.note(PlanEvent(revision: offered.revision, step: step, kind: .rejected(reason: refusal)))
            }
            return refusal
        }
        current = next
        migration = MigrationReport()
        if let offered { source?.note(PlanEvent(revision: offered.revision, step: step, kind: .accepted)) }
        return nil
    }

    /// Switches the next layers of a plan under way, before step `step`. Collective.
    /// - Returns: nil when no plan is under way.
    package func advance(step: Int) throws -> Progress? {
        guard var next = current else { return nil }
        let report = try next.advance(optimizer)
        migration += report
        var progress = Progress(migration: report, planMigration: migration)
        var event = PlanEvent(revision: next.plan.revision, step: step, kind: .switched, migration: report)
        if next.isComplete {
            plan = next.plan
            progress.completedRevision = plan.revision
            event.kind = .applied
            event.migration = migration
            if migration.totalBytes > 0, migration.seconds > 0 {
                measuredRate = Double(migration.totalBytes) / migration.seconds
            }
            current = nil
        } else {
            current = next
        }
        source?.note(event)
        return progress
    }

    /// What moves in about half of a step.
    private func budget(stepSeconds: Double) -> Int? {
        fixedBudget
            ?? MigrationBudget.bytes(
                stepSeconds: stepSeconds, bytesPerSecond: cluster.exchange?.bytesPerSecond ?? 1e9,
                worldSize: communicator.size, measured: measuredRate)
    }
}

extension Communicator {
    /// Runs `body` on all ranks; none goes on to use its result unless all could. Collective, but `body` must not be.
    /// - Returns: the reason of the lowest rank on which it threw, on all ranks; nil: it threw nowhere.
    func consent(_ body: () throws -> Void) throws -> String? {
        var reason: String?
        do { try body() } catch { reason = "rank \(rank): \(error)" }
        var first = [reason == nil ? Int.max : rank]
        var span = first.mutableSpan
        try allReduce(&span, .minimum)
        guard first[0] != Int.max else { return nil }
        let bytes = try broadcast(Array((reason ?? "").utf8), root: first[0])
        return String(decoding: bytes, as: UTF8.self)
    }
}
