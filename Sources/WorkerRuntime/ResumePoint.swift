import Checkpoints
import ControlProtocol
import ExpertParallelism
import Foundation
import Layers
import MessagePassing
import Mixtral
import TokenData

/// The checkpoint that a run goes on from, held against its hashes and against what the run was started with.
struct ResumePoint {
    let checkpoint: Checkpoint
    let weights: any WeightSource
    private let state: OptimizerState

    var manifest: CheckpointManifest { checkpoint.manifest }

    /// Looks for the newest checkpoint. Collective: rank 0 says which, and the ranks together read every file once.
    /// - Returns: nil when the run begins from the beginning.
    /// - Throws: `JobFailure` when it is damaged, or another run's.
    static func find(
        _ options: TrainingOptions, _ inputs: TrainingInputs, communicator: any Communicator
    ) throws -> ResumePoint? {
        guard let path = options.checkpointDirectory else { return nil }
        let directory = CheckpointDirectory(path)
        var step = [try communicator.agree { communicator.rank == 0 ? try newestStep(directory, options) : -1 }]
        var span = step.mutableSpan
        try communicator.broadcast(&span, root: 0)
        if step[0] < 0 { return nil }
        // All of it is known to be as it was written before any rank looks into it.
        let checkpoint = try communicator.agree {
            do {
                let checkpoint = try directory.checkpoint(ofStep: step[0])
                try checkpoint.verify(part: communicator.rank, of: communicator.size)
                return checkpoint
            } catch let error as CheckpointError where error.code == .damaged {
                throw WorkerError.failed("\(error); \(directory.advice(insteadOf: step[0]))")
            }
        }
        return try communicator.agree { try ResumePoint(checkpoint, options, inputs) }
    }

    /// N of the newest checkpoint, whole or not; -1 when there is none.
    private static func newestStep(_ directory: CheckpointDirectory, _ options: TrainingOptions) throws -> Int {
        let newest: Int?
        do throws(CheckpointError) {
            newest = try directory.steps().last
        } catch {
            throw WorkerError.failed("cannot look for checkpoints: \(error); check --checkpoint-directory")
        }
        guard let step = newest else { return -1 }
        guard options.resume == .newest else {
            throw WorkerError.usage(
                "--resume never, but there is \(directory.path(ofStep: step)): choose another --checkpoint-directory, or "
                    + "remove the checkpoints")
        }
        return step
    }

    private init(_ checkpoint: Checkpoint, _ options: TrainingOptions, _ inputs: TrainingInputs) throws {
        self.checkpoint = checkpoint
        try Self.check(checkpoint, options, inputs)
        let model = try MixtralCheckpoint(directory: checkpoint.path, files: checkpoint.manifest.fileNames)
        if let difference = inputs.configuration.firstDifference(from: model.configuration) {
            throw WorkerError.failed(
                "the model's \(difference.field) is \(difference.own), but that of \(checkpoint.path) is "
                    + "\(difference.other): it goes on with the same model only")
        }
        weights = model.weights
        state = try OptimizerState(checkpoint)
        // Of each weight both. Which are missing would be seen only when the ranks ask for theirs, after this start has been counted.
        let moments = 2 * model.configuration.parameterCount
        guard state.entries == moments else {
            throw WorkerError.failed(
                "the optimizer files of \(checkpoint.path) have \(state.entries) moments instead of the model's \(moments): move "
                    + "step-\(checkpoint.manifest.step) away to go on from an older checkpoint")
        }
    }

    /// - Throws: `WorkerError` that names the flag and both values.
    private static func check(
        _ checkpoint: Checkpoint, _ options: TrainingOptions, _ inputs: TrainingInputs
    ) throws(WorkerError) {
        let (manifest, path) = (checkpoint.manifest, checkpoint.path)
        guard RunName.isValid(manifest.run) else {
            throw .failed("\(path) is of a run \"\(manifest.run)\", which is no run's name")
        }
        for (name, value) in [("incarnation", manifest.incarnation), ("largest_revision", manifest.largestRevision)]
        where value > CheckpointManifest.largestNumber {
            throw .failed(
                "the \(name) of \(path) is \(value), and so what follows could not be counted: the run can go on from an older "
                    + "checkpoint only")
        }
        let data = manifest.data
        for (what, own, stored) in [
            ("--run", options.run ?? manifest.run, manifest.run),
            ("--seed", "\(options.seed)", "\(data.seed)"),
            ("--data-order", options.dataOrder.rawValue, data.order),
            ("--batch-size", "\(options.batchSize)", "\(data.batchSize)"),
            ("--sequence-length", "\(options.sequenceLength)", "\(data.sequenceLength)"),
            ("the number of tokens in train.bin", "\(inputs.training.file.count)", "\(data.tokens)"),
            ("the digest of train.bin", inputs.trainingDigest, data.tokensDigest ?? inputs.trainingDigest),
        ] where own != stored {
            throw .failed(
                "\(what) is \(own), but \(path) was written with \(stored): go on with the same, or begin anew in "
                    + "another --checkpoint-directory")
        }
    }

    /// Brings back what this rank owns of the moments. The weights are loaded already.
    func restore(_ optimizer: MoEOptimizer) throws {
        for shard in optimizer.ownedState { try state.load(shard) }
        optimizer.restore(updates: manifest.updates)
    }
}

extension CheckpointManifest.Data {
    /// What decides on the batches of a run.
    init(_ options: TrainingOptions, _ inputs: TrainingInputs) {
        self.init(
            seed: options.seed, order: options.dataOrder.rawValue, batchSize: options.batchSize,
            sequenceLength: options.sequenceLength, tokens: inputs.training.file.count,
            tokensDigest: inputs.trainingDigest)
    }
}
