import ArgumentParser
import ControlProtocol
import CoordinatorService
import Foundation
import Logging
import PlanningPrograms
import ServiceLifecycle
import Settings
import StructuredLogs
import UnixSignals

struct Serve: AsyncParsableCommand, SettingsSections {
    static let configuration = CommandConfiguration(
        abstract: "Serve workers and operators.",
        discussion: """
            Writes "moe-coordinator: listening on ADDRESS" to standard error once connections are taken; with --log-format \
            json that is a record of the log. Ends with 0 on SIGTERM and SIGINT, after the open requests were answered. \
            Tells over HTTP how it is (/livez, /readyz?verbose, /version) and what it knows: / for people, /api/v1/runs for \
            programs, /metrics for Prometheus. Every option can also be set in the environment \
            (MOE_DATABASE, MOE_LISTEN) and in the file that --config names. That file also says which programs may place \
            experts (allocators) and how often plans are looked at (planning): see docs/exec.md; where backups go \
            (backup_directory) and for how many days reports are kept (telemetry_days, default 30): see docs/operations.md.
            """)

    static let sections = PlanningConfiguration.fileKeys + StorageConfiguration.fileKeys

    @Option(help: ArgumentHelp("The SQLite database, made when it is not there.", valueName: "file"))
    var database: String = "moe.db"

    @Option(
        help: ArgumentHelp(
            "Where to listen: a loopback address, or with --key-file any. Port 0: any free one.",
            valueName: "address:port"))
    var listen: String = "127.0.0.1:7700"

    @Option(
        parsing: .singleValue,
        help: ArgumentHelp(
            "A key of workers; without --operator-key-file good for operators, too. Connections are then encrypted, and "
                + "nobody without a key is let in. Twice while keys are changed.", valueName: "file"))
    var keyFile: [String] = []

    @Option(
        parsing: .singleValue,
        help: ArgumentHelp(
            "A key of operators, who alone change plans then. Twice while keys are changed.", valueName: "file"))
    var operatorKeyFile: [String] = []

    @Option(
        help: ArgumentHelp(
            "Where it tells over HTTP how it is and what it knows (default: 127.0.0.1:7780, or nowhere when that is taken); none: nowhere.",
            valueName: "address:port"))
    var http: String?

    @Option(
        help: ArgumentHelp(
            "A file of mode 0600 with the bearer token that HTTP clients send. Without it only this machine is answered.",
            valueName: "file"))
    var httpTokenFile: String?

    @Option(
        help: ArgumentHelp(
            "A file to write the address to, for workers that look there (--coordinator file:<file>).",
            valueName: "file"))
    var addressFile: String?

    @Option(
        help: ArgumentHelp("A YAML file with values for these options, allocators and planning.", valueName: "file"))
    var config: String?

    @OptionGroup
    var log: LogOptions

    func validate() throws {
        for (option, address) in [("listen", listen), ("http", http == "none" ? nil : http)] {
            do throws(ControlError) {
                _ = try address.map { address throws(ControlError) in try Endpoint(address) }
            } catch {
                throw ValidationError("--\(option): \(error.message)")
            }
        }
        guard operatorKeyFile.isEmpty || !keyFile.isEmpty else {
            throw ValidationError("--operator-key-file needs --key-file, the key of workers")
        }
    }

    /// What the configuration file says beyond options. A wrong value there is wrong usage, as a wrong option is.
    private func readSections() throws(ValidationError) -> (PlanningConfiguration, StorageConfiguration) {
        guard let config else { return (PlanningConfiguration(), StorageConfiguration()) }
        do {
            return (try PlanningConfiguration(file: config), try StorageConfiguration(file: config))
        } catch {
            throw ValidationError("\(error)")
        }
    }

    func run() async throws {
        // A reader of the log that went away must not end the program.
        signal(SIGPIPE, SIG_IGN)
        log.bootstrap(isTerminal: isatty(STDERR_FILENO) == 1)
        let logger = Logger(label: "moe.coordinator")
        var limits = Limits.standard
        // Descriptors for the database, its log and the like are put aside.
        let descriptors = max(2, FileDescriptorLimit.raise() - 32)
        limits.httpConnections = min(limits.httpConnections, max(1, descriptors / 4))
        limits.httpStreams = min(limits.httpStreams, max(1, descriptors / 8))
        limits.connections = min(
            limits.connections, max(1, descriptors - limits.httpConnections - limits.httpStreams))

        let (planning, storage) = try readSections()
        let keys = try AcceptedKeys(files: keyFile, operatorFiles: operatorKeyFile)
        let store = try CoordinatorStore(path: database)
        let listener = try await Listener(Endpoint(listen), keys: keys, limits: limits)
        let health = try await health(limits: limits, logger: logger)
        let server = CoordinatorServer(
            store: store, listener: listener, limits: limits, planning: planning, storage: storage, http: health,
            serviceManager: ServiceManager(logger: logger), logger: logger)
        if let addressFile { try AddressFile.write(listener.endpoint, to: addressFile) }
        if let health { announce("dashboard and health on http://\(health.listener.endpoint)", logger) }
        announce("listening on \(listener.endpoint)", logger)
        let group = ServiceGroup(
            configuration: ServiceGroupConfiguration(
                services: [.init(service: server)], gracefulShutdownSignals: [.sigterm, .sigint], logger: logger))
        try await group.run()
        try store.close()
    }

    /// Where health is told. The default address may be another coordinator's, which is no reason not to start.
    private func health(limits: Limits, logger: Logger) async throws -> HTTPConfiguration? {
        if http == "none" { return nil }
        let token = try httpTokenFile.map(BearerToken.init(file:))
        do {
            let listener = try await Listener(
                http: Endpoint(http ?? Self.defaultHTTP), hasToken: token != nil, limits: limits)
            return HTTPConfiguration(listener: listener, token: token)
        } catch {
            if http != nil { throw error }
            logger.warning("no health over HTTP; name another address with --http", metadata: ["reason": "\(error)"])
            return nil
        }
    }

    private static let defaultHTTP = "127.0.0.1:7780"

    /// A line that scripts wait for; in a log of JSON alone, a record.
    private func announce(_ message: String, _ logger: Logger) {
        if log.logFormat == .json {
            logger.notice("\(message)")
        } else {
            FileHandle.standardError.write(Data("moe-coordinator: \(message)\n".utf8))
        }
    }
}
