import MessagePassing

extension Communicator {
    /// Ends the job for a number that is not finite, with one message: that of the cause nearest to the beginning over all
    /// ranks, on the lowest rank that has it. Collective.
    /// - Parameters:
    ///   - what: "loss", "gradient" or "validation loss".
    ///   - step: from 1.
    ///   - isUpdated: whether the step has changed the weights.
    func failNonFinite(_ what: String, step: Int, isUpdated: Bool = false, cause: NonFiniteCause?) throws -> Never {
        var state = [cause.map { $0.order << 20 | rank } ?? Int.max]
        var span = state.mutableSpan
        try allReduce(&span, .minimum)
        let reporter = state[0] == Int.max ? 0 : state[0] & (1 << 20 - 1)
        let place =
            cause.map { "\($0.description) on rank \(rank)" }
            ?? "it was so only once: when the step was computed again, all numbers were finite"
        let error = WorkerError.failed(
            "step \(step): the \(what) is not finite; \(place). "
                + (isUpdated ? "" : "No weight was changed in this step. ")
                + "Try a lower --learning-rate, --gradient-clip 1, or --on-nonfinite skip")
        throw JobFailure(rank: reporter, exitCode: error.code.rawValue, reason: reporter == rank ? error : nil)
    }
}
