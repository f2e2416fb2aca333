import ArgumentParser
import ControlProtocol
import CoordinatorService
import Foundation
import Logging
import ServiceLifecycle
import Settings
import UnixSignals

struct Serve: AsyncParsableCommand, SettingsSections {
    static let configuration = CommandConfiguration(
        abstract: "Serve workers and operators.",
        discussion: """
            Writes "moe-coordinator: listening on ADDRESS" to standard error once connections are taken. Ends with 0 on \
            SIGTERM and SIGINT, after the open requests were answered. Every option can also be set in the environment \
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
        help: ArgumentHelp("A YAML file with values for these options, allocators and planning.", valueName: "file"))
    var config: String?

    func validate() throws {
        do throws(ControlError) {
            _ = try Endpoint(listen)
        } catch {
            throw ValidationError("--listen: \(error.message)")
        }
        guard operatorKeyFile.isEmpty || !keyFile.isEmpty else {
            throw ValidationError("--operator-key-file needs --key-file, the key of workers")
        }
    }

    func run() async throws {
        // A reader of the log that went away must not end the program.
        signal(SIGPIPE, SIG_IGN)
        LoggingSystem.bootstrap { StreamLogHandler.standardError(label: $0) }
        var logger = Logger(label: "moe.coordinator")
        logger.logLevel = .notice
        var limits = Limits.standard
        // Descriptors for the database, its log and the like are put aside.
        limits.connections = max(1, min(limits.connections, FileDescriptorLimit.raise() - 32))

        let planning = try config.map(PlanningConfiguration.init(file:)) ?? PlanningConfiguration()
        let storage = try config.map(StorageConfiguration.init(file:)) ?? StorageConfiguration()
        let keys = try AcceptedKeys(files: keyFile, operatorFiles: operatorKeyFile)
        let store = try CoordinatorStore(path: database)
        let listener = try await Listener(Endpoint(listen), keys: keys, limits: limits)
        let server = CoordinatorServer(
            store: store, listener: listener, limits: limits, planning: planning, storage: storage,
            logger: logger)
        FileHandle.standardError.write(Data("moe-coordinator: listening on \(listener.endpoint)\n".utf8))
        let group = ServiceGroup(
            configuration: ServiceGroupConfiguration(
                services: [.init(service: server)], gracefulShutdownSignals: [.sigterm, .sigint], logger: logger))
        try await group.run()
        try store.close()
    }
}
