import ControlProtocol
import ExpertPlacement

/// Messages about plans over the control protocol.
package struct CoordinatorPlans: PlanConnection {
    private let client: ControlClient
    private let worker: WorkerIdentity

    package static func connect(
        to coordinator: CoordinatorAccess, as worker: WorkerIdentity
    ) async throws -> CoordinatorPlans {
        CoordinatorPlans(client: try await coordinator.connect(), worker: worker)
    }

    package func poll(revision: Int) async throws -> PlacementPlan? {
        let question = PollPlan(run: worker.run, incarnation: worker.incarnation, revision: revision)
        return try await client.tell(question, refused: PlanRefused.init).plan
    }

    package func send(_ progress: PlanProgress) async throws {
        _ = try await client.tell(progress, refused: PlanRefused.init)
    }

    package func send(_ checkpoint: RecordCheckpoint) async throws {
        _ = try await client.tell(checkpoint, refused: PlanRefused.init)
    }

    package func close() async { client.close() }
}
