import ControlProtocol
import DequeModule
import ExpertParallelism
import ExpertPlacement

/// Which plan rank 0 may take next, and what the coordinator has still to hear of the last: `PlanChannel`'s state, without its
/// connections.
package struct PlanBook {
    private let run: String
    private let incarnation: Int
    /// Of the plan in force.
    package private(set) var revision: Int
    /// The highest revision that was in force or was taken. The coordinator may offer a plan again whose fate it does not know.
    package private(set) var highestKnown: Int
    /// Ready to be taken.
    package private(set) var offered: PlacementPlan?
    /// Whether the trainer counts on `offered`.
    private var isPromised = false
    private var isUnderWay = false
    /// Layers of the plan under way that have switched.
    private var switched = [LayerSwitch]()
    /// What the switch has taken so far.
    private var migration = MigrationReport()
    /// What the coordinator has not acknowledged, oldest first.
    package private(set) var messages = Deque<PlanProgress>()

    /// Checkpoints that it has not acknowledged, oldest first; of more than `checkpointLimit` the oldest are forgotten.
    package private(set) var checkpoints = Deque<RecordCheckpoint>()
    package static let checkpointLimit = 64

    /// Whether the coordinator has still to hear something.
    var hasNews: Bool { !messages.isEmpty || !checkpoints.isEmpty }

    package init(run: String, incarnation: Int, revision: Int) {
        self.run = run
        self.incarnation = incarnation
        self.revision = revision
        highestKnown = revision
    }

    /// The revision to ask with; nil: no other plan can begin.
    package var question: Int? { isUnderWay || isPromised ? nil : revision }

    /// Takes the coordinator's answer, which replaces the one before.
    package mutating func offer(_ plan: PlacementPlan?) {
        // It may have been asked for before the last plan was promised or taken.
        guard question != nil else { return }
        offered = plan.flatMap { $0.revision > highestKnown ? $0 : nil }
    }

    /// Whether there is a plan; from then on it stays until it is taken.
    package mutating func promise() -> Bool {
        isPromised = offered != nil
        return isPromised
    }

    package mutating func take() -> PlacementPlan? {
        guard let plan = offered else { return nil }
        offered = nil
        isPromised = false
        isUnderWay = true
        highestKnown = plan.revision
        switched = []
        migration = MigrationReport()
        return plan
    }

    package mutating func note(_ event: PlanEvent) {
        var reason: String?
        let transition: PlanProgress.Transition
        switch event.kind {
        case .accepted:
            transition = .accepted
        case .switched:
            transition = .applying
            migration += event.migration
        case .applied:
            transition = .applied
            // Of the whole plan.
            migration = event.migration
            revision = event.revision
        case .rejected(let text):
            transition = .rejected
            reason = text.fitting(bytes: Limits.standard.reasonBytes)
        }
        if transition == .applied || transition == .rejected { isUnderWay = false }
        let known = Set(switched.map(\.layer))
        switched += event.migration.layers.filter { !known.contains($0) }.map {
            LayerSwitch(layer: $0, step: event.step)
        }
        let message = PlanProgress(
            run: run, incarnation: incarnation, revision: event.revision, transition: transition, step: event.step,
            switched: switched, bytes: migration.totalBytes, seconds: migration.seconds,
            verifySeconds: migration.checksumSeconds, reason: reason)
        messages.append(message)
    }

    package mutating func note(checkpoint step: Int, path: String, bytes: Int, seconds: Double) {
        if checkpoints.count == Self.checkpointLimit { checkpoints.removeFirst() }
        checkpoints.append(
            RecordCheckpoint(
                run: run, incarnation: incarnation, step: step, path: path, bytes: bytes, seconds: seconds))
    }

    /// The checkpoint has arrived, or is refused for good. It may be forgotten by now.
    package mutating func delivered(checkpoint step: Int) {
        if checkpoints.first?.step == step { checkpoints.removeFirst() }
    }

    /// The oldest message has arrived, or is refused for good.
    package mutating func delivered() { _ = messages.popFirst() }
}
