import ArgumentParser
import ControlProtocol
import Foundation

/// Which coordinator to ask.
struct CoordinatorOptions: ParsableArguments {
    static let variable = "MOE_COORDINATOR"
    static let defaultAddress = "127.0.0.1:7700"

    @Option(
        help: ArgumentHelp(
            "Address of the coordinator (default: the environment's \(variable), or else \(defaultAddress)).",
            valueName: "host:port"))
    var coordinator: String?

    /// The address from the flag, the environment or the default, in that order.
    private func endpoint() throws -> Endpoint {
        let environment = ProcessInfo.processInfo.environment[Self.variable].flatMap { $0.isEmpty ? nil : $0 }
        let source = coordinator != nil ? "--coordinator" : Self.variable
        do {
            return try Endpoint(coordinator ?? environment ?? Self.defaultAddress)
        } catch {
            throw ValidationError("\(source): \(error.message)")
        }
    }

    func validate() throws {
        _ = try endpoint()
    }

    /// Connects, asks and disconnects.
    func ask<Result: Sendable>(_ body: (ControlClient) async throws -> Result) async throws -> Result {
        let client = try await ControlClient.connect(to: endpoint())
        defer { client.close() }
        return try await body(client)
    }
}
