import ControlProtocol

/// Where the coordinator is, and what it knows this job by.
package struct CoordinatorAccess: Sendable {
    let address: CoordinatorAddress
    let keyFile: String?

    /// - Throws: `WorkerError` that says what an address looks like.
    package init(_ coordinator: String, keyFile: String?) throws(WorkerError) {
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

    /// Sends a request; tries again until `limit` has passed while the coordinator is away.
    /// - Parameter task: what the coordinator refuses, if it does.
    /// - Throws: `WorkerError` `coordinatorUnreachable`, or `refused` with the coordinator's reason; a `ControlError` that
    ///   `passes` lets through.
    func ask<Request: ControlRequest>(
        _ request: Request, for task: String, within limit: Duration,
        passing passes: @escaping @Sendable (ControlError) -> Bool = { _ in false }
    ) throws -> Request.Reply {
        let lastFailure = LastFailure()
        let reply = try AsynchronousCall.run(within: limit) {
            let backOff = BackOff(first: .milliseconds(50), longest: .seconds(1))
            var failures = 0
            while true {
                do throws(ControlError) {
                    let client = try await connect()
                    defer { client.close() }
                    return try await client.send(request)
                } catch {
                    if passes(error) { throw error }
                    guard error.isTransient else {
                        throw WorkerError(
                            .refused, "the coordinator at \(address) refused \(task): \(error.message)")
                    }
                    lastFailure.message = error.message
                }
                failures += 1
                try await Task.sleep(for: backOff.pause(afterFailures: failures))
            }
        }
        if let reply { return reply }
        let reason = lastFailure.message.map { ": \($0)" } ?? ""
        throw WorkerError(
            .coordinatorUnreachable,
            "no coordinator answered at \(address) within \(limit / .seconds(1)) s\(reason); start one with "
                + "moe-coordinator serve, or leave --coordinator out")
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
