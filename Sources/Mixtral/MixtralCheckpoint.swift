import Foundation
import Layers
import Safetensors

/// A model as Hugging Face's `save_pretrained` writes it: a directory with `config.json` and `model.safetensors`, or
/// several files with `model.safetensors.index.json`.
///
/// Weights are fp32, bf16 or fp16, under the names of the published checkpoints (of a Mixtral
/// `model.layers.0.block_sparse_moe.experts.0.w1.weight`, of others `model.layers.0.mlp.experts.0.gate_proj.weight`) or those of transformers
/// 5 in memory, where the experts of a layer are one tensor (`model.layers.0.mlp.experts.gate_up_proj`).
public struct MixtralCheckpoint {
    public let configuration: MixtralConfiguration
    /// The weights, read when they are loaded, and of each tensor only the block that is asked for.
    public let weights: any WeightSource

    /// Opens the files and checks that they hold exactly the model's tensors, in its shapes; where embeddings are tied, they may hold the
    /// embedding a second time as the head.
    /// - Parameter files: those that may be read, of which others vouch for the contents; nil: all.
    /// - Throws: `MixtralConfigurationError`, `SafetensorsError` or `MixtralCheckpointError`.
    public init(directory: String, files: Set<String>? = nil) throws {
        let folder = URL(fileURLWithPath: directory)
        configuration = try MixtralConfiguration(file: folder.appending(path: "config.json").path)
        weights = try MixtralCheckpointWeights(
            MixtralCheckpointFiles(folder, files: files),
            model: MixtralModel(configuration: configuration).namedWeights(),
            configuration: configuration)
    }
}

/// Why a directory is no checkpoint of the model that its `config.json` describes.
public enum MixtralCheckpointError: Error, Equatable, CustomStringConvertible {
    case noWeights(directory: String)
    case invalidIndex(file: String, reason: String)
    /// What would be read is none of the files that may be.
    case surplusFile(String)
    /// The tensors are not those of the model.
    case tensorsDiffer(directory: String, missing: [String], misshapen: [String], surplus: [String])
    /// The head should have the embedding's weights, but there are others for it.
    case headDiffers(directory: String)

    public var description: String {
        switch self {
        case .noWeights(let directory):
            return "\(directory) has neither model.safetensors nor model.safetensors.index.json; "
                + "weights in other formats have to be converted with save_pretrained"
        case .invalidIndex(let file, let reason):
            return "\(file): \(reason)"
        case .surplusFile(let file):
            return
                "\(file) is not listed as a file of this checkpoint, but would be read as its weights; it came there later: "
                + "move it away"
        case .tensorsDiffer(let directory, let missing, let misshapen, let surplus):
            let parts = [("missing", missing), ("misshapen", misshapen), ("not of this model", surplus)]
            let text = parts.filter { !$0.1.isEmpty }.map { "\($0.1.count) \($0.0) (\(Self.abridged($0.1)))" }
            return "\(directory): the weights are not those of the model in config.json: "
                + text.joined(separator: "; ")
        case .headDiffers(let directory):
            return
                "\(directory): lm_head.weight is not model.embed_tokens.weight once more, as tie_word_embeddings in config.json "
                + "says; make that false if the head has its own weights, or take lm_head.weight out of the files"
        }
    }

    private static func abridged(_ names: [String]) -> String {
        let shown = 3
        return names.prefix(shown).joined(separator: ", ") + (names.count > shown ? ", …" : "")
    }
}
