import ControlProtocol

/// Where the coordinator is, and what it knows this job by.
struct CoordinatorAccess: Sendable {
    let endpoint: Endpoint
    let keyFile: String?

    /// The key file is read for each connection, so that a key can be changed while a job runs.
    /// - Throws: `unusable_key_file`, and what connecting throws.
    func connect() async throws(ControlError) -> ControlClient {
        try await ControlClient.connect(to: endpoint, key: key())
    }

    /// - Throws: `WorkerError`, before anything depends on the key.
    func checkKey() throws(WorkerError) {
        do {
            _ = try key()
        } catch {
            throw .failed("--key-file: \(error.message)")
        }
    }

    private func key() throws(ControlError) -> ControlKey? {
        guard let keyFile else { return nil }
        return try ControlKey(file: keyFile)
    }
}
