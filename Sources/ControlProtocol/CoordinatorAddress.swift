import Foundation

/// Where to look for a coordinator that may come back elsewhere: at several addresses in turn (`a:7700,b:7700`), or at the one that
/// stands in a file (`file:PATH`), which is read for each connection.
public enum CoordinatorAddress: Hashable, Sendable {
    case endpoints([Endpoint])
    case file(String)

    private static let filePrefix = "file:"
    /// The address, and room for what an editor may add.
    private static let fileBytes = 1_024

    /// - Throws: `bad_request` that says what is expected.
    public init(_ text: String) throws(ControlError) {
        if text.hasPrefix(Self.filePrefix) {
            let path = String(text.dropFirst(Self.filePrefix.count))
            guard !path.isEmpty else { throw ControlError(.badRequest, "\"\(text)\" names no file; write file:PATH") }
            self = .file(path)
            return
        }
        var endpoints = [Endpoint]()
        for part in text.split(separator: ",", omittingEmptySubsequences: false) {
            endpoints.append(try Endpoint(String(part)))
        }
        self = .endpoints(endpoints)
    }

    /// The addresses to try now.
    /// - Throws: `unresolved_host` when the file has none: it may have one later.
    public func endpoints() throws(ControlError) -> [Endpoint] {
        switch self {
        case .endpoints(let endpoints): return endpoints
        case .file(let path):
            let reason: String
            do {
                let text = String(decoding: try SmallFile(path, limit: Self.fileBytes).bytes, as: UTF8.self)
                return [try Endpoint(text.trimmingCharacters(in: .whitespacesAndNewlines))]
            } catch let error as ControlError {
                reason = error.message
            } catch SmallFile.Failure.unreadable(let why) {
                reason = why
            } catch {
                reason = "it is no file"
            }
            throw ControlError(
                .unresolvedHost,
                "the file \(path), which moe-coordinator serve --address-file writes, has no address: \(reason)")
        }
    }
}

extension CoordinatorAddress: CustomStringConvertible {
    public var description: String {
        switch self {
        case .endpoints(let endpoints): endpoints.map(\.description).joined(separator: ",")
        case .file(let path): Self.filePrefix + path
        }
    }
}

extension ControlClient {
    /// Connects to the first of the addresses at which a coordinator answers.
    /// - Throws: what the addresses threw; an error other than that nobody is there, if one did.
    public static func connect(
        to address: CoordinatorAddress, key: ControlKey? = nil, timeout: Duration = .seconds(5),
        limits: Limits = .standard
    ) async throws(ControlError) -> ControlClient {
        var failures = [ControlError]()
        for endpoint in try address.endpoints() {
            do throws(ControlError) {
                return try await connect(to: endpoint, key: key, timeout: timeout, limits: limits)
            } catch {
                failures.append(error)
                if error.code == .cancelled { break }
            }
        }
        let told = failures.filter { !$0.isUnreachable }
        let error = told.first ?? failures.last ?? ControlError(.unresolvedHost, "there is no address")
        guard told.isEmpty, failures.count > 1 else { throw error }
        throw ControlError(error.code, failures.map(\.message).joined(separator: "; "))
    }
}
