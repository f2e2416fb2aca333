import ExpertParallelism
import Mixtral

/// Where on this rank a number stopped being finite.
struct NonFiniteCause: Equatable {
    /// Smaller is nearer to the cause; compared between ranks.
    let order: Int
    /// For a message: what, and in which layer.
    let description: String

    /// Weights come before what was computed from them.
    private static let activationsOrder = 1 << 20

    /// After a forward pass whose loss is not finite: weights that are not finite themselves, or else the first layer whose
    /// output is not.
    static func inForward(model: MixtralModel, optimizer: MoEOptimizer) -> NonFiniteCause? {
        if let path = optimizer.firstNonFiniteWeight() {
            let position = position(ofPath: path, layers: model.configuration.layers)
            return NonFiniteCause(
                order: position + 1,
                description: "\(name(ofPosition: position, layers: model.configuration.layers)): "
                    + "the weights of \(path) are not finite")
        }
        return model.firstNonFiniteLayer().map { layer in
            NonFiniteCause(
                order: activationsOrder + layer,
                description: "\(name(ofPosition: layer, layers: model.configuration.layers)): its output is not finite")
        }
    }

    /// After a backward pass and before the ranks' gradients are added: gradients flow from the last layer to the first, so
    /// the last layer that is affected is where it began.
    static func inBackward(model: MixtralModel, optimizer: MoEOptimizer) -> NonFiniteCause? {
        let layers = model.configuration.layers
        let affected = optimizer.nonFiniteGradients().map { (path: $0, position: position(ofPath: $0, layers: layers)) }
        return affected.max { $0.position < $1.position }.map { path, position in
            NonFiniteCause(
                order: layers - position,
                description: "\(name(ofPosition: position, layers: layers)): the gradient of \(path) is not finite")
        }
    }

    /// -1: before the first layer; `layers`: after the last.
    static func position(ofPath path: String, layers: Int) -> Int {
        let parts = path.split(separator: ".")
        if let marker = parts.firstIndex(of: "layers"), marker + 1 < parts.count, let layer = Int(parts[marker + 1]) {
            return layer
        }
        return path.contains("embed_tokens") ? -1 : layers
    }

    static func name(ofPosition position: Int, layers: Int) -> String {
        switch position {
        case ..<0: "the token embedding, before layer 0"
        case layers...: "the output head, after layer \(layers - 1)"
        default: "layer \(position)"
        }
    }
}
