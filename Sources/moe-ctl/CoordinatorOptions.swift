import ArgumentParser
import ControlProtocol

/// Which coordinator to ask.
struct CoordinatorOptions: ParsableArguments {
    static let variable = "MOE_COORDINATOR"
    static let defaultAddress = "127.0.0.1:7700"
    static let keyVariable = "MOE_KEY_FILE"

    @Option(
        help: ArgumentHelp(
            "Address of the coordinator (default: the environment's \(variable), or else \(defaultAddress)).",
            valueName: "host:port"))
    var coordinator: String?

    @Option(
        help: ArgumentHelp(
            "The coordinator's key (default: the file in the environment's \(keyVariable), or else none).",
            valueName: "file"), completion: .file())
    var keyFile: String?

    /// Whether the arguments name a coordinator. One that the environment or the file names is there for other commands.
    static func isNamed(in arguments: [String]) -> Bool {
        arguments.contains { $0 == "--coordinator" || $0.hasPrefix("--coordinator=") }
    }

    private func address() throws -> CoordinatorAddress {
        do {
            return try CoordinatorAddress(coordinator ?? Self.defaultAddress)
        } catch {
            throw ValidationError("--coordinator: \(error.message)")
        }
    }

    private func key() throws -> ControlKey? {
        // An empty name wins over a configuration file's, and is no file.
        guard let keyFile, !keyFile.isEmpty else { return nil }
        return try ControlKey(file: keyFile)
    }

    func validate() throws {
        _ = try address()
    }

    func connect() async throws -> ControlClient { try await ControlClient.connect(to: address(), key: key()) }

    /// Connects, asks and disconnects.
    func ask<Result: Sendable>(_ body: (ControlClient) async throws -> Result) async throws -> Result {
        let client = try await connect()
        defer { client.close() }
        return try await body(client)
    }
}
