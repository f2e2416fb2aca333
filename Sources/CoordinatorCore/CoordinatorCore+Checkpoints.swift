import ControlProtocol

extension CoordinatorCore {
    /// A checkpoint of the current incarnation. Steps ascend, so one that is not above the last was told of before.
    mutating func record(
        _ request: RecordCheckpoint, at time: Timestamp
    ) throws(ControlError) -> (changes: [Change], answer: Answer) {
        try requireCurrent(request.run, incarnation: request.incarnation)
        let answer = Answer.acknowledged(Acknowledged())
        if let last = runs[request.run]?.checkpointStep, request.step <= last { return ([], answer) }
        runs[request.run]?.checkpointStep = request.step
        return (
            [
                .addCheckpoint(request, keep: limits.storedCheckpointsPerRun, at: time),
                .addEvent(
                    run: request.run,
                    RunEvent(
                        kind: .checkpointRecorded, at: time, incarnation: request.incarnation, who: "rank 0",
                        why: "step \(request.step)")),
            ], answer
        )
    }
}
