import ControlProtocol
import ExpertPlacement

/// Messages about plans over the control protocol.
struct CoordinatorPlans: PlanConnection {
    private let client: ControlClient
    private let worker: WorkerIdentity

    static func connect(to coordinator: CoordinatorAccess, as worker: WorkerIdentity) async throws -> CoordinatorPlans {
        CoordinatorPlans(client: try await coordinator.connect(), worker: worker)
    }

    func poll(revision: Int) async throws -> PlacementPlan? {
        try await send(PollPlan(run: worker.run, incarnation: worker.incarnation, revision: revision)).plan
    }

    func send(_ progress: PlanProgress) async throws {
        let _: Acknowledged = try await send(progress)
    }

    func send(_ checkpoint: RecordCheckpoint) async throws {
        let _: Acknowledged = try await send(checkpoint)
    }

    private func send<Request: ControlRequest>(_ request: Request) async throws -> Request.Reply {
        do throws(ControlError) {
            return try await client.send(request)
        } catch {
            if error.isAboutRoom { throw CoordinatorBusy(description: error.message) }
            // As with reports, another key may come.
            if error.isTransient || error.isAboutKey || error.code == .cancelled { throw error }
            throw error.code == .staleIncarnation
                ? IncarnationOver(description: error.message) as any Error : PlanRefused(description: error.message)
        }
    }

    func close() async { client.close() }
}
