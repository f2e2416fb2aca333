import ControlProtocol
import ControlTestSupport
import CoordinatorService
import Foundation
import GRDB
import Logging

/// A coordinator in this process, with a database of its own and a free port.
final class LiveCoordinator: Sendable {
    let store: CoordinatorStore
    let server: CoordinatorServer
    let port: UInt16
    /// Nil when it does not serve HTTP.
    let httpPort: UInt16?
    private let folder: TemporaryFolder

    private init(
        limits: Limits, host: String, keys: AcceptedKeys, database: String?, storage: StorageConfiguration, http: Bool,
        token: BearerToken?, serviceManager: ServiceManager?, now: @escaping @Sendable () -> Timestamp, logger: Logger?
    ) async throws {
        folder = try TemporaryFolder()
        store = try CoordinatorStore(path: database ?? folder.path("moe.db"))
        let listener = try await Listener(Endpoint(host: host, port: 0), keys: keys, limits: limits)
        var silent = Logger(label: "test")
        silent.logLevel = .critical
        let httpEndpoint = Endpoint(host: host, port: 0)
        let httpListener =
            http ? try await Listener(http: httpEndpoint, hasToken: token != nil, limits: limits) : nil
        server = CoordinatorServer(
            store: store, listener: listener, limits: limits, storage: storage,
            http: httpListener.map { HTTPConfiguration(listener: $0, token: token) }, serviceManager: serviceManager,
            now: now, logger: logger ?? silent)
        port = listener.endpoint.port
        httpPort = httpListener?.endpoint.port
    }

    /// Runs `body` beside a coordinator.
    /// - Parameter database: nil: a new one.
    static func run(
        limits: Limits = .standard, host: String = "127.0.0.1", keys: AcceptedKeys = AcceptedKeys(),
        database: String? = nil, storage: StorageConfiguration = StorageConfiguration(), http: Bool = false,
        token: BearerToken? = nil, serviceManager: ServiceManager? = nil,
        now: @escaping @Sendable () -> Timestamp = { Timestamp.now() }, logger: Logger? = nil,
        _ body: @Sendable (LiveCoordinator) async throws -> Void
    ) async throws {
        let coordinator = try await LiveCoordinator(
            limits: limits, host: host, keys: keys, database: database, storage: storage, http: http, token: token,
            serviceManager: serviceManager, now: now, logger: logger)
        try await withThrowingTaskGroup { group in
            group.addTask { try await coordinator.server.run() }
            do {
                try await body(coordinator)
            } catch {
                coordinator.server.stop()
                throw error
            }
            coordinator.server.stop()
            try await group.waitForAll()
        }
        try coordinator.store.close()
    }

    /// Listens for a moment.
    static func listen(_ endpoint: Endpoint, keys: AcceptedKeys = AcceptedKeys()) async throws {
        _ = try await Listener(endpoint, keys: keys)
    }

    /// Runs blocking calls while the database answers nobody else.
    func whileItsDatabaseHangs(_ body: @escaping @Sendable () throws -> Void) async throws {
        let (hold, release) = (DispatchSemaphore(value: 0), DispatchSemaphore(value: 0))
        let holder = Task {
            try await store.queue.read { _ in
                hold.signal()
                release.wait()
            }
        }
        try await blocking {
            hold.wait()
            defer { release.signal() }
            try body()
        }
        try await holder.value
    }

    func client(key: ControlKey? = nil) async throws -> ControlClient {
        try await ControlClient.connect(host: "127.0.0.1", port: port, key: key)
    }
}

/// Runs blocking calls on a thread of their own: the server needs those of Swift's pool.
func blocking<Value: Sendable>(_ body: @escaping @Sendable () throws -> Value) async throws -> Value {
    try await withCheckedThrowingContinuation { continuation in
        Thread.detachNewThread { continuation.resume(with: Result(catching: body)) }
    }
}
