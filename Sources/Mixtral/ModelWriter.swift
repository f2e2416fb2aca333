import Layers
import Safetensors
import Tensors

/// Writes a model's weights as a checkpoint that Hugging Face's transformers loads, tensor by tensor: `begin`, then the
/// model's `storeWeights`, then `finish`.
///
/// The checkpoint `DIRECTORY/step-N` appears at once and whole: it is written under another name beside it, flushed to the
/// disk and renamed. One that is already there is replaced. A lock on the directory keeps other writers out.
///
/// `store` never throws, because in a job of several ranks the other ranks would wait for this one in the middle of the
/// collective `storeWeights`: the first error is kept, what follows is dropped, and `finish` throws it.
public final class ModelWriter: WeightSink {
    private let checkpoint: ModelWriterDirectory
    private let configuration: MixtralConfiguration
    private let weights: [(name: String, shape: [Int])]
    private let additionalFiles: [String]
    private var file: SafetensorsWriter?
    private var stored = 0
    private var failure: (any Error)?

    /// - Parameters:
    ///   - directory: holds the checkpoints of a run; it is made if need be.
    ///   - step: N of `step-N`.
    ///   - weights: names and shapes of the model's weights in the order of its `storeWeights`: `namedWeights()`.
    ///   - additionalFiles: paths of small files to copy into the checkpoint, for example the data's `meta.json`.
    public init(
        directory: String, step: Int, configuration: MixtralConfiguration, weights: [(name: String, shape: [Int])],
        additionalFiles: [String] = []
    ) {
        checkpoint = ModelWriterDirectory(directory: directory, name: "step-\(step)")
        self.configuration = configuration
        self.weights = weights
        self.additionalFiles = additionalFiles
    }

    /// Where the checkpoint will be.
    public var path: String { checkpoint.path }

    /// Takes the lock and writes all but the weights.
    /// - Throws: `ModelWriterError` or `SafetensorsError`; nothing is left behind then.
    public func begin() throws {
        precondition(file == nil && failure == nil, "a writer writes once")
        try checkpoint.begin()
        do {
            try checkpoint.write(configuration.json(), to: "config.json")
            for file in additionalFiles { try checkpoint.copy(file) }
            file = try SafetensorsWriter(path: checkpoint.partialPath(of: "model.safetensors"), tensors: weights)
        } catch {
            checkpoint.abandon()
            throw error
        }
    }

    public func store(_ name: String, shape: [Int], _ values: Tensor) {
        guard let file, failure == nil else { return }
        do throws(SafetensorsError) {
            if stored < weights.count, weights[stored].name == name, weights[stored].shape != shape {
                let cause = SafetensorsError.Cause.shapeDiffers(expected: weights[stored].shape, actual: shape)
                throw SafetensorsError(file: file.path, tensor: name, cause: cause)
            }
            try file.write(name, values)
            stored += 1
        } catch {
            failure = error
        }
    }

    /// Completes the checkpoint.
    /// - Returns: its path.
    /// - Throws: what went wrong since `begin`; the unfinished checkpoint is removed then.
    public func finish() throws -> String {
        guard let file else { preconditionFailure("finish without begin") }
        self.file = nil
        do {
            if let failure { throw failure }
            try file.finish()
            try checkpoint.commit()
        } catch {
            failure = error
            checkpoint.abandon()
            throw error
        }
        return checkpoint.path
    }

    deinit { checkpoint.abandon() }
}

/// Takes weights and drops them: for the ranks that do not write.
public struct ModelWriterDiscard: WeightSink {
    public init() {}
    public func store(_ name: String, shape: [Int], _ values: Tensor) {}
}
