import Layers

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

    /// Whether tensors of these names hold the experts of a layer each.
    static func areFused(_ names: some Sequence<String>, _ configuration: MixtralConfiguration) -> Bool {
        // A Mixtral's blocks have another name then, all of them.
        let mark = configuration.modelType == .mixtral ? ".mlp." : ".mlp.experts.gate_up_proj"
        return names.contains { $0.contains(mark) }
    }

    func place(of name: String, shape: [Int]) -> Place {
        // model.layers.L.BLOCK.gate.weight or model.layers.L.BLOCK.experts.E.w1.weight
        let parts = name.split(separator: ".")
        guard isFused, parts.count >= 6, parts[3] == configuration.modelType.traits.blockName else {
            return Place(name: name, shape: shape, firstRow: 0)
        }
        let block = "model.layers.\(parts[2]).mlp"
        guard parts.count == 8, parts[4] == "experts", let expert = Int(parts[5]) else {
            return Place(name: "\(block).\(parts[4...].joined(separator: "."))", shape: shape, firstRow: 0)
        }
        let (e, names) = (configuration.experts, configuration.modelType.traits.expertNames)
        // Experts of several widths have no such tensors.
        if parts[6] == names.down {
            let (d, f) = (shape[0], shape[1])
            return Place(name: "\(block).experts.down_proj", shape: [e, d, f], firstRow: expert * d)
        }
        let (f, d) = (shape[0], shape[1])
        return Place(
            name: "\(block).experts.gate_up_proj", shape: [e, 2 * f, d],
            firstRow: (2 * expert + (parts[6] == names.up ? 1 : 0)) * f)
    }
}
