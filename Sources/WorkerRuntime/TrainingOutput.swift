import Foundation
import Layers
import MessagePassing
import Mixtral

/// Where a run's results go. Opened before the first step, so that a run does not end with nothing to show for it.
struct TrainingOutput {
    /// Rank 0's, when metrics are asked for.
    let metrics: MetricsFile?
    private let checkpointDirectory: String?

    /// - Parameter isWriter: whether this rank writes.
    /// - Throws: `WorkerError` when something cannot be written.
    init(_ options: TrainingOptions, isWriter: Bool) throws {
        metrics = isWriter ? try options.metrics.map(MetricsFile.init(path:)) : nil
        checkpointDirectory = options.checkpointDirectory
        guard isWriter, let directory = options.checkpointDirectory else { return }
        do {
            try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
        } catch {
            throw WorkerError.failed(
                "cannot make the directory \(directory): \(error.localizedDescription); check --checkpoint-directory")
        }
        guard FileManager.default.isWritableFile(atPath: directory) else {
            throw WorkerError.failed("cannot write to the directory \(directory); check --checkpoint-directory")
        }
    }

    /// Whether weights are wanted.
    var savesWeights: Bool { checkpointDirectory != nil }

    /// Saves the weights, if they are wanted. Collective.
    /// - Returns: the checkpoint's directory.
    func save(
        _ model: MixtralModel, step: Int, tokenizerFile: String?, communicator: any Communicator
    ) throws -> String? {
        guard let checkpointDirectory else { return nil }
        let writer = ModelWriter(
            directory: checkpointDirectory, step: step, configuration: model.configuration,
            weights: model.namedWeights(), additionalFiles: tokenizerFile.map { [$0] } ?? [])
        let isWriting = communicator.rank == 0
        try communicator.agree { if isWriting { try writer.begin() } }
        // Collective; the writer keeps its errors until the end, so that no rank is left waiting.
        try model.storeWeights(to: isWriting ? writer : ModelWriterDiscard())
        try communicator.agree { if isWriting { _ = try writer.finish() } }
        return writer.path
    }
}
