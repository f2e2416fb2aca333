import ControlProtocol

/// Where the coordinator is, and what it knows this job by.
struct CoordinatorAccess: Sendable {
    let address: CoordinatorAddress
    let keyFile: String?

    /// - Throws: `WorkerError` that says what an address looks like.
    init(_ coordinator: String, keyFile: String?) throws(WorkerError) {
        do {
            address = try CoordinatorAddress(coordinator)
        } catch {
            throw .usage("--coordinator: \(error)")
        }
        self.keyFile = keyFile
    }

    /// The key file, and the file with the address if there is one, are read for each connection: a key can be changed, and a
    /// coordinator come back elsewhere, while a job runs.
    /// - Throws: `unusable_key_file`, and what connecting throws.
    func connect() async throws(ControlError) -> ControlClient {
        try await ControlClient.connect(to: address, key: key())
    }

    /// - Throws: `WorkerError`, before anything depends on the key.
    func checkKey() throws(WorkerError) {
        do {
            _ = try key()
        } catch {
            throw .failed("--key-file: \(error.message)")
        }
    }

    func key() throws(ControlError) -> ControlKey? {
        guard let keyFile else { return nil }
        return try ControlKey(file: keyFile)
    }

    /// What connects to this rank must have, if there is a key.
    func acceptedKeys() throws(ControlError) -> AcceptedKeys {
        try AcceptedKeys(files: keyFile.map { [$0] } ?? [])
    }
}
