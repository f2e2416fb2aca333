import ExpertParallelism
import ExpertPlacement
import Foundation
import Layers
import MessagePassing
import Mixtral
import TokenData

/// What a run reads before it starts: checked whole, so that bad input ends the job before the first step.
struct TrainingInputs {
    let configuration: MixtralConfiguration
    /// Of what all tokens go through.
    let mesh: DenseMesh
    let weights: any WeightSource
    let training: BatchSource
    /// Of samples of the training split.
    let trainingDigest: String
    /// Nil when there is no validation split, or it is too short for one sequence, and none is asked for.
    let validation: BatchSource?
    /// The files of the tokenizer of the data, or of the checkpoint that the run begins with, by their names; empty when neither
    /// has one.
    let tokenizer: [String: Data]

    /// What each rank reads, once it is known to be the same on all of them. Collective.
    /// - Throws: `JobFailure` on all ranks.
    static func agreed(
        _ options: TrainingOptions, worldSize: Int, isDryRun: Bool = false, communicator: any Communicator
    ) throws -> TrainingInputs {
        let (inputs, settings) = try communicator.agree {
            let inputs = try TrainingInputs(options, worldSize: worldSize)
            return (inputs, try CommonSettings(options, inputs, isDryRun: isDryRun))
        }
        try settings.compare(communicator: communicator)
        return inputs
    }

    private init(_ options: TrainingOptions, worldSize: Int) throws {
        try options.validate(worldSize: worldSize)
        if let directory = options.model {
            let checkpoint = try MixtralCheckpoint(directory: directory)
            configuration = checkpoint.configuration
            weights = checkpoint.weights
        } else {
            configuration = try MixtralConfiguration(file: options.modelConfiguration ?? "")
            weights = RandomWeights(
                seed: options.seed, standardDeviation: configuration.initializerRange,
                paddingToken: configuration.paddingToken)
        }
        mesh = try options.mesh(worldSize: worldSize)
        guard mesh.tensorParallel <= configuration.heads else {
            throw WorkerError.usage(
                "a tensor-parallel group of \(mesh.tensorParallel) ranks (--tp) is more than the model's \(configuration.heads) "
                    + "attention heads, of which each rank needs one; use --tp \(configuration.heads) at most")
        }
        guard options.sequenceLength <= configuration.maximumPositions else {
            throw WorkerError.usage(
                "--sequence-length \(options.sequenceLength) is longer than the model's "
                    + "max_position_embeddings \(configuration.maximumPositions)")
        }
        if configuration.routing.selection == .expertChoice {
            try Self.checkExpertChoice(options)
        }
        if configuration.balancesBatchesByLayer, let auxiliaryLoss = options.auxiliaryLoss, auxiliaryLoss != 0 {
            throw WorkerError.usage(
                "--auxiliary-loss must be 0, not \(auxiliaryLoss): with seq_aux false a deepseek's balance loss is that of the "
                    + "batch for each layer, which is not supported; set seq_aux true")
        }
        // Checkpoints get a copy of it; better to find now that it is of no use.
        let ofData = try TokenizerFiles(directory: options.data)
        let ofModel = try options.model.map { try TokenizerFiles(directory: $0) }
        tokenizer = ofData.contents.isEmpty ? ofModel?.contents ?? [:] : ofData.contents
        let folder = URL(fileURLWithPath: options.data)
        let vocabulary = configuration.vocabularySize
        training = try BatchSource(
            file: TokenFile(
                path: folder.appending(path: "train.bin").path, vocabularySize: vocabulary,
                metadataVocabularySize: ofData.vocabularySize, tokenBytes: ofData.tokenBytes),
            sequenceLength: options.sequenceLength, batchSize: options.batchSize,
            order: options.dataOrder == .sequential ? .sequential : .random(seed: options.seed))
        trainingDigest = training.file.digest
        let validationPath = folder.appending(path: "val.bin").path
        if FileManager.default.fileExists(atPath: validationPath) {
            let file = try TokenFile(
                path: validationPath, vocabularySize: vocabulary, metadataVocabularySize: ofData.vocabularySize,
                tokenBytes: ofData.tokenBytes)
            validation =
                file.count > options.sequenceLength || options.evaluationInterval > 0
                ? try BatchSource(
                    file: file, sequenceLength: options.sequenceLength, batchSize: options.batchSize,
                    order: .sequential)
                : nil
        } else if options.evaluationInterval > 0 {
            throw WorkerError.usage(
                "--evaluation-interval \(options.evaluationInterval) needs a validation split, but there is no "
                    + "\(validationPath); prepare the data with a --validation-fraction above 0, or leave the option out"
            )
        } else {
            validation = nil
        }
    }

    /// What has no meaning when experts choose as many tokens each.
    private static func checkExpertChoice(_ options: TrainingOptions) throws(WorkerError) {
        let reason = "the model's experts choose tokens, as many each (topk_method is \"expert_choice\")"
        if options.capacity != nil { throw .usage("--capacity-factor cannot be used: \(reason)") }
        if let auxiliaryLoss = options.auxiliaryLoss, auxiliaryLoss != 0 {
            throw .usage("--auxiliary-loss must be 0, not \(auxiliaryLoss): \(reason)")
        }
    }
}
