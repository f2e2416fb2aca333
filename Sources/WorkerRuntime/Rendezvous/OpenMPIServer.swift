import ControlProtocol
import Foundation
import Logging

/// Open MPI's `ompi-server`, without which processes that no launcher started cannot connect to each other (ompi-server(1)).
public struct OpenMPIServer: Sendable {
    /// Open MPI's parameter with its contact data, or `file:` and a file with them.
    static let variable = "OMPI_MCA_pmix_server_uri"
    private static let advice = "start ompi-server --no-daemonize -r FILE, and give every rank \(variable)=file:FILE"

    /// Its addresses, as far as the contact data have such.
    package let endpoints: [Endpoint]

    /// - Throws: `WorkerError` with what to do.
    public init(environment: [String: String]) throws(WorkerError) {
        guard var contact = environment[Self.variable], !contact.isEmpty else {
            throw .usage("ranks without a launcher need Open MPI's ompi-server: \(Self.advice)")
        }
        if contact.lowercased().hasPrefix("file:") {
            let path = String(contact.dropFirst("file:".count))
            guard let text = try? String(contentsOfFile: path, encoding: .utf8), !text.isEmpty else {
                throw WorkerError(
                    .coordinatorUnreachable,
                    "\(Self.variable) names the file \(path), which has nothing: \(Self.advice)")
            }
            contact = text
        }
        endpoints = Self.endpoints(in: contact)
    }

    /// Waits until it is there: its machine may start later than this one.
    /// - Throws: `WorkerError` when there can be none, or when it is away still at `deadline`.
    public static func wait(environment: [String: String], until deadline: ContinuousClock.Instant) throws {
        let logger = Logger(label: "moe.worker")
        var isTold = false
        while true {
            do {
                return try OpenMPIServer(environment: environment).check()
            } catch let error as WorkerError where error.code == .coordinatorUnreachable {
                guard ContinuousClock.now < deadline else { throw error }
                if !isTold { logger.notice("waits for Open MPI's server: \(error)") }
                isTold = true
            }
            usleep(200_000)
        }
    }

    /// Connects to it, so that one that is away is told of before MPI waits for it.
    /// - Throws: `WorkerError` `coordinatorUnreachable`.
    public func check() throws {
        guard !endpoints.isEmpty else { return }
        let isThere = try AsynchronousCall.run(within: .seconds(10)) {
            for endpoint in endpoints {
                let stream = try? await SocketConnector.connect(to: endpoint, key: nil, timeout: .seconds(3))
                if let stream {
                    stream.close()
                    return true
                }
            }
            return false
        }
        guard isThere == true else {
            let places = endpoints.map(\.description).joined(separator: ", ")
            throw WorkerError(
                .coordinatorUnreachable, "no ompi-server answers at \(places) (\(Self.variable)): \(Self.advice)")
        }
    }

    /// Contact data are `NAME;tcp://ADDRESS,ADDRESS:PORT;tcp6://[ADDRESS]:PORT`.
    private static func endpoints(in contact: String) -> [Endpoint] {
        let line = contact.split(whereSeparator: \.isNewline).first ?? ""
        return line.split(separator: ";").dropFirst().flatMap { part -> [Endpoint] in
            guard let start = part.range(of: "://"), let colon = part.lastIndex(of: ":"),
                let port = UInt16(part[part.index(after: colon)...]), start.upperBound < colon
            else { return [] }
            let hosts = part[start.upperBound..<colon].filter { $0 != "[" && $0 != "]" }
            return hosts.split(separator: ",").map { Endpoint(host: String($0), port: port) }
        }
    }
}
