import ControlProtocol
import ExpertPlacement
import Foundation

/// What a rank's messages to the coordinator carry.
struct WorkerIdentity: Sendable {
    let run: String
    let incarnation: Int
    let rank: Int
}

/// Reports over the control protocol. Each connection begins with the rank's registration.
struct CoordinatorChannel: ReportChannel {
    private let client: ControlClient
    private let worker: WorkerIdentity

    static func connect(to coordinator: CoordinatorAccess, as worker: WorkerIdentity) async throws -> CoordinatorChannel
    {
        let client = try await coordinator.connect()
        do throws(ControlError) {
            _ = try await client.send(
                RegisterWorker(
                    run: worker.run, incarnation: worker.incarnation, rank: worker.rank, host: Self.host,
                    processID: Self.processID))
        } catch {
            client.close()
            throw Self.meaning(of: error)
        }
        return CoordinatorChannel(client: client, worker: worker)
    }

    func send(_ reports: [Reports.Item]) async throws {
        do throws(ControlError) {
            if reports.count == 1 {
                _ = try await client.send(
                    Report(
                        run: worker.run, incarnation: worker.incarnation, rank: worker.rank,
                        sequence: reports[0].sequence, sample: reports[0].sample))
            } else {
                _ = try await client.send(
                    Reports(
                        run: worker.run, incarnation: worker.incarnation, rank: worker.rank, reports: reports))
            }
        } catch {
            throw Self.meaning(of: error)
        }
    }

    private static func meaning(of error: ControlError) -> any Error {
        if error.isAboutRoom { return CoordinatorBusy(description: error.message) }
        // Keys change while jobs run; what was refused for a key is as good as before.
        if error.isTransient || error.isAboutKey || error.code == .cancelled { return error }
        return error.code == .staleIncarnation
            ? IncarnationOver(description: error.message) : ReportRefused(description: error.message)
    }

    func close() async { client.close() }

    /// Name of the machine.
    static var host: String { ProcessInfo.processInfo.hostName }
    static var processID: Int { Int(ProcessInfo.processInfo.processIdentifier) }
}
