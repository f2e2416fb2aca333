/// What travels of a neuron.
public enum StatePart: String, Sendable, CaseIterable, Codable {
    case weights
    case firstMoment = "first_moment"
    case secondMoment = "second_moment"
}

/// One part of some neurons on its way.
public struct StateTransfer: Hashable, Sendable {
    public let part: StatePart
    public let transfer: NeuronTransfer

    public init(part: StatePart, transfer: NeuronTransfer) {
        self.part = part
        self.transfer = transfer
    }
}

/// One of the exchanges that a layer's migration is cut into.
public struct MigrationStage: Hashable, Sendable {
    /// Experts that get their new memory before the exchange, and those whose old memory goes after it.
    public var starting = [Int]()
    public var finishing = [Int]()
    public var transfers = [StateTransfer]()
}

extension LayerMigration {
    /// The migration as a sequence of exchanges in which no rank sends, and none receives, more than `neuronLimit` neurons'
    /// weights (or one of their moments). Experts follow one another as far as that keeps all ranks busy; those that only
    /// give up neurons go first, since that frees memory.
    public func stages(neuronLimit: Int) -> [MigrationStage] {
        precondition(neuronLimit > 0, "an exchange that moves nothing never ends")
        var stages = [MigrationStage]()
        var waiting =
            (weights.map { StateTransfer(part: .weights, transfer: $0) }
            + moments.map { StateTransfer(part: .firstMoment, transfer: $0) }
            + moments.map { StateTransfer(part: .secondMoment, transfer: $0) })
            .enumerated().sorted { ($0.element.transfer.expert, $0.offset) < ($1.element.transfer.expert, $1.offset) }
            .map(\.element)
        var last = [Int: Int]()  // By expert: the stage of its last transfer.
        let travelling = Set(waiting.map(\.transfer.expert))
        let still = movedExperts.filter { !travelling.contains($0) }
        if !still.isEmpty { stages.append(MigrationStage(starting: still, finishing: still)) }
        while !waiting.isEmpty {
            var stage = MigrationStage()
            var rest = [StateTransfer]()
            var sent = [Int](repeating: 0, count: worldSize)
            var received = sent
            for item in waiting {
                let transfer = item.transfer
                let room = neuronLimit - max(sent[transfer.source], received[transfer.destination])
                let (now, later) = transfer.split(after: min(room, transfer.neurons.count))
                if let later { rest.append(StateTransfer(part: item.part, transfer: later)) }
                guard let now else { continue }
                stage.transfers.append(StateTransfer(part: item.part, transfer: now))
                sent[now.source] += now.neurons.count
                received[now.destination] += now.neurons.count
                if last.updateValue(stages.count, forKey: now.expert) == nil { stage.starting.append(now.expert) }
            }
            waiting = rest
            stages.append(stage)
        }
        for (expert, stage) in last.sorted(by: { $0.key < $1.key }) { stages[stage].finishing.append(expert) }
        return stages
    }
}

extension NeuronTransfer {
    /// The first `count` neurons, and the others; nil where there are none.
    fileprivate func split(after count: Int) -> (now: NeuronTransfer?, later: NeuronTransfer?) {
        func part(_ range: Range<Int>) -> NeuronTransfer? {
            range.isEmpty
                ? nil : NeuronTransfer(expert: expert, neurons: range, source: source, destination: destination)
        }
        let bound = neurons.lowerBound + count
        return (part(neurons.lowerBound..<bound), part(bound..<neurons.upperBound))
    }
}
