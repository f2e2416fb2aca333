import Safetensors

/// A tensor of a mixture, and what it is made of.
struct MixtureTensor {
    enum Source: Equatable {
        /// The dense model's tensor of that name, as it is.
        case copy(of: String)
        /// A block of a dense matrix, times a factor; with noise or not.
        case block(of: String, rows: Range<Int>, columns: Range<Int>, factor: Float, isNoisy: Bool)
        /// Drawn, with so many neighbouring rows alike.
        case router(alikeRows: Int)
        case zeros
    }

    let name: String
    let shape: [Int]
    let elementType: SafetensorsElementType
    let source: Source

    var bytes: Int { shape.reduce(elementType.sizeBits / 8, *) }
}

/// A tensor's part in a mixture, by its name.
enum MixtureRole: Equatable {
    enum Projection: String {
        case gate = "gate_proj"
        case up = "up_proj"
        case down = "down_proj"

        /// By the name that it has in one type of model or another.
        init?(name: Substring) {
            switch name {
            case "w1", "gate_proj": self = .gate
            case "w3", "up_proj": self = .up
            case "w2", "down_proj": self = .down
            default: return nil
            }
        }
    }

    case router(layer: Substring)
    case expert(Int, Projection, layer: Substring)
    case sharedExpert(Projection, layer: Substring)
    case sharedExpertGate(layer: Substring)
    /// What the dense model has as well.
    case other

    init(name: String) {
        // model.layers.L.BLOCK.PART…
        let parts = name.split(separator: ".")
        self = .other
        guard parts.count >= 6, parts[0] == "model", parts[1] == "layers", parts.last == "weight",
            ["mlp", "block_sparse_moe"].contains(parts[3])
        else { return }
        let layer = parts[2]
        switch parts[4] {
        case "gate" where parts.count == 6: self = .router(layer: layer)
        case "shared_expert_gate" where parts.count == 6: self = .sharedExpertGate(layer: layer)
        case "shared_expert" where parts.count == 7:
            if let projection = Projection(name: parts[5]) { self = .sharedExpert(projection, layer: layer) }
        case "experts" where parts.count == 8:
            if let expert = Int(parts[5]), let projection = Projection(name: parts[6]) {
                self = .expert(expert, projection, layer: layer)
            }
        default: break
        }
    }

    /// The dense model's matrix of a layer's network.
    static func denseName(_ projection: Projection, layer: Substring) -> String {
        "model.layers.\(layer).mlp.\(projection.rawValue).weight"
    }
}
