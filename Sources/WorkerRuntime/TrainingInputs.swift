import ExpertParallelism
import ExpertPlacement
import Foundation
import Layers
import Mixtral
import TokenData

/// What a run reads before it starts: checked whole, so that bad input ends the job before the first step.
struct TrainingInputs {
    let configuration: MixtralConfiguration
    /// Of attention.
    let mesh: DenseMesh
    let weights: any WeightSource
    let training: BatchSource
    /// Nil when there is no validation split, or it is too short for one sequence.
    let validation: BatchSource?
    /// `meta.json` of the data, or of the checkpoint that the run begins with; nil when neither has one.
    let tokenizer: Data?

    init(_ options: TrainingOptions, worldSize: Int) throws {
        try options.validate(worldSize: worldSize)
        if let directory = options.model {
            let checkpoint = try MixtralCheckpoint(directory: directory)
            configuration = checkpoint.configuration
            weights = checkpoint.weights
        } else {
            configuration = try MixtralConfiguration(file: options.modelConfiguration ?? "")
            weights = RandomWeights(seed: options.seed, standardDeviation: configuration.initializerRange)
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
        let folder = URL(fileURLWithPath: options.data)
        let vocabulary = configuration.vocabularySize
        training = try BatchSource(
            file: TokenFile(path: folder.appending(path: "train.bin").path, vocabularySize: vocabulary),
            sequenceLength: options.sequenceLength, batchSize: options.batchSize,
            order: options.dataOrder == .sequential ? .sequential : .random(seed: options.seed))
        let validationPath = folder.appending(path: "val.bin").path
        if FileManager.default.fileExists(atPath: validationPath) {
            let file = try TokenFile(path: validationPath, vocabularySize: vocabulary)
            validation =
                file.count > options.sequenceLength
                ? try BatchSource(
                    file: file, sequenceLength: options.sequenceLength, batchSize: options.batchSize,
                    order: .sequential)
                : nil
        } else {
            validation = nil
        }
        let tokenizerFile = [options.data, options.model].compactMap { directory in
            directory.map { URL(fileURLWithPath: $0).appending(path: "meta.json").path }
        }.first { FileManager.default.fileExists(atPath: $0) }
        // Checkpoints get a copy of it; better to find now that it is of no use.
        if let tokenizerFile { _ = try Tokenizer(metadataFile: tokenizerFile) }
        tokenizer = try tokenizerFile.map { try Data(contentsOf: URL(fileURLWithPath: $0)) }
    }
}

extension ExpertModel {
    /// What an allocator has to know of a Mixtral.
    public init(_ configuration: MixtralConfiguration) {
        self.init(
            hiddenSize: configuration.hiddenSize,
            layers: [[Int]](
                repeating: [Int](repeating: configuration.intermediateSize, count: configuration.experts),
                count: configuration.layers))
    }
}
