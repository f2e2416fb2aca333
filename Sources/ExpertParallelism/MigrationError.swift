import ExpertPlacement

/// What can go wrong when experts move.
public enum MigrationError: Error, Equatable, Sendable, CustomStringConvertible {
    /// What arrived is not what left. The memory of this job is not to be trusted: end it, and start again from the
    /// last checkpoint. Every rank throws it.
    case checksum(layer: Int, part: StatePart, transfer: NeuronTransfer)

    public var description: String {
        switch self {
        case .checksum(let layer, let part, let transfer):
            "layer \(layer), expert \(transfer.expert): the \(part.name) of neurons \(transfer.neurons) changed on "
                + "their way from rank \(transfer.source) to rank \(transfer.destination); start again from the last "
                + "checkpoint, and check the memory and network of both ranks' machines"
        }
    }
}

extension StatePart {
    fileprivate var name: String {
        switch self {
        case .weights: "weights"
        case .firstMoment: "first moments"
        case .secondMoment: "second moments"
        }
    }
}
