import ControlProtocol
import ExpertPlacement
import Foundation

/// What a rank's messages to the coordinator carry.
package struct WorkerIdentity: Sendable {
    let run: String
    let incarnation: Int
    let rank: Int

    package init(run: String, incarnation: Int, rank: Int) {
        self.run = run
        self.incarnation = incarnation
        self.rank = rank
    }
}

/// Reports over the control protocol. Each connection begins with the rank's registration.
package struct CoordinatorChannel: ReportChannel {
    private let client: ControlClient
    private let worker: WorkerIdentity

    package static func connect(
        to coordinator: CoordinatorAccess, as worker: WorkerIdentity
    ) async throws -> CoordinatorChannel {
        let client = try await coordinator.connect()
        do {
            _ = try await client.tell(
                RegisterWorker(
                    run: worker.run, incarnation: worker.incarnation, rank: worker.rank, host: Self.host,
                    processID: Self.processID), refused: ReportRefused.init)
        } catch {
            client.close()
            throw error
        }
        return CoordinatorChannel(client: client, worker: worker)
    }

    package func send(_ reports: [Reports.Item]) async throws {
        if reports.count == 1 {
            _ = try await client.tell(
                Report(
                    run: worker.run, incarnation: worker.incarnation, rank: worker.rank,
                    sequence: reports[0].sequence, sample: reports[0].sample), refused: ReportRefused.init)
        } else {
            _ = try await client.tell(
                Reports(run: worker.run, incarnation: worker.incarnation, rank: worker.rank, reports: reports),
                refused: ReportRefused.init)
        }
    }

    package func close() async { client.close() }

    /// Name of the machine.
    static var host: String { ProcessInfo.processInfo.hostName }
    static var processID: Int { Int(ProcessInfo.processInfo.processIdentifier) }
}

extension ControlClient {
    /// Sends a rank's message, and tells a refusal of it from the end of the connection, over which nothing was said of it.
    /// - Parameter refused: makes an error of the reason why the coordinator will never take it.
    /// - Throws: that error, `IncarnationOver`, `CoordinatorBusy`; a `ControlError` when another connection is to be tried.
    func tell<Request: ControlRequest>(
        _ request: Request, refused: (String) -> any Error
    ) async throws -> Request.Reply {
        do throws(ControlError) {
            return try await send(request)
        } catch {
            if hasEnded { throw error }
            if error.isAboutRoom { throw CoordinatorBusy(description: error.message) }
            // Keys change while jobs run; what was refused for a key is as good as before. An answer that cannot be read refuses
            // nothing.
            if error.isTransient || error.isAboutKey || [.cancelled, .protocolViolation].contains(error.code) {
                throw error
            }
            if error.code == .staleIncarnation { throw IncarnationOver(description: error.message) }
            throw refused(error.message)
        }
    }
}
