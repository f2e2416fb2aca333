import ControlProtocol
import CoordinatorCore
import FlyingSocks
import Foundation
import Logging
import PlanningPrograms
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
    private let health: Health
    private let rendezvous: Rendezvous
    package let metrics: CoordinatorMetrics
    private let http: HTTPServer?
    private let serviceManager: ServiceManager?
    private let refusals: RefusalLog
    private let reads: Turnstile

    /// - Parameters:
    ///   - planning: how plans are made from reports.
    ///   - storage: where backups go, and how long reports are kept.
    ///   - http: where to tell how the coordinator is and what it knows; nil: nowhere.
    ///   - serviceManager: who started the coordinator, and wants to be told, too.
    ///   - now: the time that is recorded.
    public init(
        store: CoordinatorStore, listener: Listener, limits: Limits = .standard,
        planning: PlanningConfiguration = PlanningConfiguration(),
        storage: StorageConfiguration = StorageConfiguration(), http: HTTPConfiguration? = nil,
        serviceManager: ServiceManager? = nil,
        now: @escaping @Sendable () -> Timestamp = { Timestamp.now() },
        logger: Logger = Logger(label: "moe.coordinator")
    ) {
        self.store = store
        self.listener = listener
        self.limits = limits
        self.logger = logger
        table = ConnectionTable(limits: limits)
        reads = Turnstile(limits.reads)
        refusals = RefusalLog(interval: limits.refusalLogInterval, logger: logger)
        let changes = RunChanges()
        metrics = CoordinatorMetrics()
        processor = ChangeProcessor(
            store: store, limits: limits, programs: planning.allocatorNames, changes: changes, metrics: metrics,
            now: now, logger: logger)
        self.planning = PlanningLoop(
            host: CoordinatorPlanningHost(store: store, processor: processor), configuration: planning, limits: limits,
            metrics: metrics, logger: logger)
        backups = DatabaseBackups(store: store, directory: storage.backupDirectory, logger: logger)
        retention = TelemetryRetention(store: store, days: storage.telemetryDays, now: now, logger: logger)
        self.serviceManager = serviceManager
        rendezvous = Rendezvous(limits: limits, logger: logger)
        health = Health(
            store: store, table: table, processor: processor, planning: self.planning, limits: limits)
        let sources = MetricsHandler.Sources(
            store: store, processor: processor, planning: self.planning, connections: table, health: health)
        self.http = http.map { [health, metrics, refusals] in
            HTTPServer(
                $0, health: health, metrics: metrics,
                handler: MetricsHandler(metrics, sources, limits: limits),
                api: APIHandler(store: store, changes: changes, limits: limits, logger: logger),
                refusals: refusals, limits: limits, logger: logger)
        }
    }

    /// Connections that are open now.
    public var connectionCount: Int { table.count }

    /// Requests that only read and wait for their turn.
    package var waitingReads: Int { reads.waitingCount }

    /// Serves until a graceful shutdown, `stop` or cancellation. Closes the listening socket at the end.
    public func run() async throws {
        backups.removeLeftovers()
        await withGracefulShutdownHandler {
            await withTaskGroup { helpers in
                helpers.addTask { await processor.run() }
                helpers.addTask { await planning.run() }
                helpers.addTask { await retention.run() }
                helpers.addTask { await watchTheTime() }
                helpers.addTask { await http?.run() }
                helpers.addTask { await serviceManager?.watch(health.checks) }
                serviceManager?.tellReady()
                await acceptConnections()
                await processor.stop()
                helpers.cancelAll()
            }
            await health.finish()
            refusals.writeRest()
        } onGracefulShutdown: {
            stop()
        }
    }

    /// Lets open requests finish, and ends.
    public func stop() {
        serviceManager?.tellStopping()
        beginStopping()
        listener.interrupt()
    }

    /// From here on no request comes, and none waits for a policy at work, for a backup or for a long deletion.
    private func beginStopping() {
        table.stop()
        planning.stop()
        backups.stop()
        processor.beginStopping()
        http?.stop()
    }

    private func acceptConnections() async {
        let handler = RequestHandler(
            store: store, processor: processor, planning: planning, backups: backups, rendezvous: rendezvous,
            refusals: refusals, metrics: metrics, reads: reads, limits: limits, logger: logger)
        let refusal = ControlError(
            .overloaded,
            "the coordinator has \(limits.connections) connections already (connections); try again later")
        let acceptor = Acceptor(
            listener: listener, table: table, logger: logger, refusal: RequestHandler.frame(refusal, id: nil),
            countRefusal: { [metrics] in metrics.refused(refusal.code) }, willEnd: beginStopping)
        await acceptor.run { id, socket in
            await Connection(
                id: id, socket: socket, keys: listener.keys, table: table, handler: handler, refusals: refusals,
                limits: limits
            ).serve()
        }
    }

    private func watchTheTime() async {
        let shortest = min(limits.idleTime, limits.transferTime, limits.shutdownTime, limits.httpTime)
        let interval = min(Duration.seconds(1), shortest / 4)
        while (try? await Task.sleep(for: interval)) != nil {
            table.endOverdue()
            http?.table.endOverdue()
            refusals.writeOverdue()
        }
    }
}
