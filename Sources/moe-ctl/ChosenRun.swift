import ControlProtocol

extension ControlClient {
    /// The run to speak of: `name`, or else the only one or the one that was started last, which a note on stderr tells.
    func chooseRun(_ name: String?) async throws -> String {
        if let name { return name }
        let runs = try await send(ListRuns()).runs
        guard let newest = runs.first else {
            throw CommandFailure(
                "no run is registered with the coordinator at \(endpoint); start moe-worker with --coordinator")
        }
        if runs.count == 1 {
            StandardError.write("Note: \(newest.run) is the only run.")
        } else {
            StandardError.write("Note: \(newest.run) is the newest of \(runs.count) runs.")
        }
        return newest.run
    }

    /// Adds the names of the runs that there are to the error about an unknown one.
    func listingRunsIfUnknown<Reply>(_ body: () async throws -> Reply) async throws -> Reply {
        do {
            return try await body()
        } catch let error as ControlError where error.code == .unknownRun {
            let runs = try await send(ListRuns()).runs.map(\.run)
            // Enough to see the slip of the finger; `run list` has them all.
            let shown = runs.prefix(10).joined(separator: ", ") + (runs.count > 10 ? ", …" : "")
            throw CommandFailure(error.message + (runs.isEmpty ? "; there are no runs" : "; runs are: \(shown)"))
        }
    }
}
