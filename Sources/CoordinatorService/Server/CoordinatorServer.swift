import ControlProtocol
import CoordinatorCore
import FlyingSocks
import Foundation
import Logging
import ServiceLifecycle

/// Serves the control protocol on a listening socket.
public struct CoordinatorServer: Service {
    private let store: CoordinatorStore
    private let listener: Listener
    private let limits: Limits
    private let logger: Logger
    private let table: ConnectionTable
    private let processor: ChangeProcessor
    private let planning: PlanningLoop
    package let backups: DatabaseBackups
    private let retention: TelemetryRetention

    /// - Parameters:
    ///   - planning: how plans are made from reports.
    ///   - storage: where backups go, and how long reports are kept.
    ///   - now: the time that is recorded.
    public init(
        store: CoordinatorStore, listener: Listener, limits: Limits = .standard,
        planning: PlanningConfiguration = PlanningConfiguration(),
        storage: StorageConfiguration = StorageConfiguration(),
        now: @escaping @Sendable () -> Timestamp = { Timestamp.now() },
        logger: Logger = Logger(label: "moe.coordinator")
    ) {
        self.store = store
        self.listener = listener
        self.limits = limits
        self.logger = logger
        table = ConnectionTable(limits: limits)
        processor = ChangeProcessor(
            store: store, limits: limits, programs: planning.allocatorNames, now: now, logger: logger)
        self.planning = PlanningLoop(
            host: CoordinatorPlanningHost(store: store, processor: processor), configuration: planning, limits: limits,
            logger: logger)
        backups = DatabaseBackups(store: store, directory: storage.backupDirectory, logger: logger)
        retention = TelemetryRetention(store: store, days: storage.telemetryDays, now: now, logger: logger)
    }

    /// Connections that are open now.
    public var connectionCount: Int { table.count }

    /// Serves until a graceful shutdown, `stop` or cancellation. Closes the listening socket at the end.
    public func run() async throws {
        backups.removeLeftovers()
        await withGracefulShutdownHandler {
            await withTaskGroup { helpers in
                helpers.addTask { await processor.run() }
                helpers.addTask { await planning.run() }
                helpers.addTask { await retention.run() }
                helpers.addTask { await endOverdueConnections() }
                await acceptConnections()
                await processor.stop()
                helpers.cancelAll()
            }
        } onGracefulShutdown: {
            stop()
        }
    }

    /// Lets open requests finish, and ends.
    public func stop() {
        beginStopping()
        listener.interrupt()
    }

    /// From here on no request comes, and none waits for a policy at work or for a backup.
    private func beginStopping() {
        table.stop()
        planning.stop()
        backups.stop()
    }

    private func acceptConnections() async {
        let handler = RequestHandler(
            store: store, processor: processor, planning: planning, backups: backups, limits: limits,
            logger: logger)
        await withDiscardingTaskGroup { connections in
            do {
                let socket = try AsyncSocket(socket: listener.socket, pool: SocketReadiness.shared)
                var backOff = AcceptBackOff(logger: logger)
                while !table.isStopping, !Task.isCancelled {
                    do {
                        let client = try await socket.accept()
                        backOff.succeeded()
                        guard let connection = admit(client, handler: handler) else { continue }
                        connections.addTask { await connection.serve() }
                    } catch {
                        if table.isStopping { break }
                        try await backOff.failed(error)
                    }
                }
            } catch {
                logger.debug("accepting ended", metadata: ["reason": "\(error)"])
            }
            beginStopping()
            listener.close()
        }
    }

    private func admit(_ client: AsyncSocket, handler: RequestHandler) -> Connection? {
        guard let id = table.add(client.socket) else {
            let error = ControlError(
                .overloaded,
                "the coordinator has \(limits.connections) connections already (connections); try again later")
            // Fits the empty buffer of a fresh socket, so nobody waits.
            _ = try? client.socket.write(RequestHandler.frame(error, id: nil))
            try? client.socket.close()
            return nil
        }
        // Answers are single small writes, which Nagle's algorithm would hold back.
        try? client.socket.setValue(true, for: BoolSocketOption(level: Int32(IPPROTO_TCP), name: TCP_NODELAY))
        // A machine that vanished says nothing; the kernel asks.
        try? client.socket.setValue(true, for: BoolSocketOption(name: SO_KEEPALIVE))
        return Connection(
            id: id, socket: client, keys: listener.keys, table: table, handler: handler, limits: limits)
    }

    private func endOverdueConnections() async {
        let interval = min(Duration.seconds(1), limits.idleTime / 4, limits.transferTime / 4, limits.shutdownTime / 4)
        while (try? await Task.sleep(for: interval)) != nil { table.endOverdue() }
    }
}
