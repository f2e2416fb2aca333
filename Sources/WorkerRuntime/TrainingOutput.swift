import Checkpoints
import Foundation

/// Where a run's results go. Opened before the first step, so that a run does not end with nothing to show for it.
struct TrainingOutput {
    /// Rank 0's.
    let steps: StepLogs?
    /// Rank 0's, when a log of placements is asked for.
    let placements: JSONLinesFile?

    /// - Parameter isWriter: whether this rank makes the files and directories.
    /// - Throws: `WorkerError` when something cannot be written.
    init(_ options: TrainingOptions, isWriter: Bool) throws {
        steps = isWriter ? try StepLogs(options) : nil
        placements =
            isWriter ? try options.placementLog.map { try JSONLinesFile(path: $0, flag: "--placement-log") } : nil
        guard isWriter, let directory = options.checkpointDirectory else { return }
        do throws(CheckpointError) {
            try CheckpointDirectory(directory).prepare()
        } catch {
            throw WorkerError.failed("cannot write to the directory \(error); check --checkpoint-directory")
        }
    }
}
