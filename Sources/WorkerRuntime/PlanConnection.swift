import ControlProtocol
import ExpertPlacement

/// A connection over which rank 0 asks for plans and tells what became of them.
package protocol PlanConnection: Sendable {
    /// - Parameter revision: of the plan in force on the ranks.
    /// - Returns: the plan that is proposed; nil: there is none.
    /// - Throws: `PlanRefused` when the coordinator does not answer such a question, `IncarnationOver` when it answers none any
    ///   more, `CoordinatorBusy` when it answers none now; any other error when the connection failed.
    func poll(revision: Int) async throws -> PlacementPlan?

    /// Returns when the coordinator has it for good. May be sent again.
    /// - Throws: `PlanRefused` when the coordinator will never take it; otherwise as `poll`.
    func send(_ progress: PlanProgress) async throws
    /// Tells of a checkpoint, with the same errors.
    func send(_ checkpoint: RecordCheckpoint) async throws

    func close() async
}

/// The coordinator answered that it does not do what a message about plans asks for.
package struct PlanRefused: Error, CustomStringConvertible {
    package let description: String

    package init(description: String) {
        self.description = description
    }
}
