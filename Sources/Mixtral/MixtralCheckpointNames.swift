/// Where a checkpoint has a weight of the model.
///
/// In published checkpoints it is a tensor of the same name. Transformers 5 holds the experts of a layer in two tensors,
/// `gate_up_proj` (E, 2·F, D), in which each expert's w1 lies above its w3, and `down_proj` (E, D, F) with the w2, and can
/// write them so (`save_pretrained(…, save_original_format=False)`).
struct MixtralCheckpointNames {
    /// A tensor and the row, of the tensor as a matrix, where the weight begins.
    struct Place {
        let name: String
        let shape: [Int]
        let firstRow: Int
    }

    private let isFused: Bool
    private let configuration: MixtralConfiguration

    init(_ configuration: MixtralConfiguration, isFused: Bool) {
        self.configuration = configuration
        self.isFused = isFused
    }

    func place(of name: String, shape: [Int]) -> Place {
        // model.layers.L.block_sparse_moe.gate.weight or model.layers.L.block_sparse_moe.experts.E.w1.weight
        let parts = name.split(separator: ".")
        guard isFused, parts.count >= 6, parts[3] == "block_sparse_moe" else {
            return Place(name: name, shape: shape, firstRow: 0)
        }
        let block = "model.layers.\(parts[2]).mlp"
        guard parts.count == 8, let expert = Int(parts[5]) else {
            return Place(name: "\(block).gate.\(parts[5])", shape: shape, firstRow: 0)
        }
        let (e, d, f) = (configuration.experts, configuration.hiddenSize, configuration.intermediateSize)
        switch parts[6] {
        case "w2": return Place(name: "\(block).experts.down_proj", shape: [e, d, f], firstRow: expert * d)
        case "w3":
            return Place(
                name: "\(block).experts.gate_up_proj", shape: [e, 2 * f, d], firstRow: (2 * expert + 1) * f)
        default:
            return Place(name: "\(block).experts.gate_up_proj", shape: [e, 2 * f, d], firstRow: 2 * expert * f)
        }
    }
}
