import Foundation
import Mixtral

/// A dense model on the disk, as Hugging Face's `save_pretrained` writes it.
struct DenseModel {
    let type: DenseModelType
    let directory: String
    /// Of the `config.json`.
    let fields: ConfigurationFields
    let files: MixtralCheckpointFiles
    /// Neurons of a layer's network.
    let width: Int

    var configurationFile: String { URL(fileURLWithPath: directory).appending(path: "config.json").path }

    /// - Throws: `MixtralConfigurationError`, `SafetensorsError` or `MixtralCheckpointError`.
    init(directory: String) throws {
        self.directory = directory
        let folder = URL(fileURLWithPath: directory)
        let file = folder.appending(path: "config.json")
        do throws(MixtralConfigurationError) {
            let data: Data
            do { data = try Data(contentsOf: file) } catch { throw .unreadable(reason: error.localizedDescription) }
            fields = try ConfigurationFields(json: data)
            let types = DenseModelType.allCases
            try fields.allow(
                "model_type", types.map { .string($0.rawValue) },
                "a dense model's: " + types.map { "\"\($0.rawValue)\"" }.joined(separator: ", "))
            guard case .string(let name) = fields["model_type"], let type = DenseModelType(rawValue: name) else {
                throw .missing("model_type", expected: types.map { "\"\($0.rawValue)\"" }.joined(separator: ", "))
            }
            self.type = type
            try fields.allow("mlp_bias", [.boolean(false)], "false: experts have no biases")
            width = try fields.integer("intermediate_size", 1...Int(Int32.max))
        } catch {
            throw error.inFile(file.path)
        }
        files = try MixtralCheckpointFiles(folder)
    }

    /// Whether a layer looks through `sliding_window`, if there is one. Qwen's dense models have another rule for it than its mixtures.
    func looksThroughWindow() throws(MixtralConfigurationError) -> Bool {
        guard [.qwen2, .qwen3].contains(type) else { return true }
        guard fields["use_sliding_window"] == .boolean(true) else { return false }
        let numbers = 0...Int(Int32.max)
        let layers = try fields.integer("num_hidden_layers", 1...numbers.upperBound)
        switch fields["layer_types"] {
        case .null: return try fields.integer("max_window_layers", numbers, absent: 28) < layers
        case .array(let types): return types.count != layers || types.contains { $0 != .string("full_attention") }
        default: return true
        }
    }
}

/// A kind of dense model, as `model_type` of its `config.json` says.
enum DenseModelType: String, CaseIterable {
    case llama, mistral, qwen2, qwen3

    /// What it becomes: a model with the same attention.
    var mixture: String {
        switch self {
        case .llama, .mistral: "mixtral"
        case .qwen2: "qwen2_moe"
        case .qwen3: "qwen3_moe"
        }
    }

    /// Whether the mixture's layers have an expert, with a gate, that all tokens go to.
    var mixtureHasSharedExpert: Bool { self == .qwen2 }

    /// What transformers takes for fields that are not there, where it takes something else for the mixture's.
    var defaults: [String: ConfigurationValue] {
        let common: [String: ConfigurationValue] = [
            "rms_norm_eps": .number(1e-6), "max_position_embeddings": .integer(32_768),
        ]
        let own: [String: ConfigurationValue] =
            switch self {
            case .llama:
                ["max_position_embeddings": .integer(2048), "bos_token_id": .integer(1), "eos_token_id": .integer(2)]
            case .mistral:
                [
                    "max_position_embeddings": .integer(131_072), "num_key_value_heads": .integer(8),
                    "sliding_window": .integer(4096), "bos_token_id": .integer(1), "eos_token_id": .integer(2),
                ]
            case .qwen2: ["num_key_value_heads": .integer(32), "sliding_window": .integer(4096)]
            case .qwen3:
                ["num_key_value_heads": .integer(32), "head_dim": .integer(128), "sliding_window": .integer(4096)]
            }
        return common.merging(own) { $1 }
    }
}
