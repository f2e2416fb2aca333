import ExpertPlacement
import MessagePassing
import Tensors

extension ExpertState {
    /// Brings this layer's experts to where `migration` says. Collective, between two steps.
    ///
    /// Streams: one sparse exchange a stage, then checksums of what moved, from both ends; only then goes the old copy. What
    /// stays on a rank is copied within it. `LayerMigration.peakBytes` says how much memory that takes.
    /// - Throws: `MigrationError` when a checksum differs, on all ranks; the layer is between two placements then, and the
    ///   job has to end.
    func migrate(_ migration: LayerMigration, planRevision: Int, chunkBytes: Int) throws -> MigrationReport {
        try setMasters()
        var report = MigrationReport()
        report.layers = [migration.layer]
        let hiddenSize = experts.hiddenSize
        let rank = experts.context.communicator.rank
        report.totalBytes = migration.bytes(hiddenSize: hiddenSize)
        report.sentBytes = migration.bytesSent(by: rank, hiddenSize: hiddenSize)

        let clock = ContinuousClock()
        let start = clock.now
        var checksums = Duration.zero
        var moves = [Int: ExpertMove]()
        let limit = LayerMigration.neuronLimit(chunkBytes: chunkBytes, hiddenSize: hiddenSize)
        for stage in migration.stages(neuronLimit: limit) {
            begin(stage.starting, migration, &moves)
            try exchange(stage.transfers, moves)
            checksums += try clock.measure { try compare(stage.transfers, moves, layer: migration.layer) }
            finish(stage.finishing, &moves)
        }
        experts.adopt(migration.target, planRevision: planRevision)
        followPlacement()
        report.checksumSeconds = checksums / .seconds(1)
        report.transferSeconds = (clock.now - start) / .seconds(1) - report.checksumSeconds
        return report
    }

    private func begin(_ starting: [Int], _ migration: LayerMigration, _ moves: inout [Int: ExpertMove]) {
        let communicator = experts.context.communicator
        func target(_ expert: Int) -> StateRanges {
            migration.target.stateRanges(
                of: expert, rank: communicator.rank, ownership, layer: migration.layer, worldSize: communicator.size)
        }
        // All gradients go before new memory is taken.
        for expert in starting {
            moves[expert] = ExpertMove(
                shards: holdings(expert), state: owned[expert], target: target(expert))
            experts.shards[expert] = nil
            owned[expert] = nil
        }
        for expert in starting { moves[expert]?.takeMemory(hiddenSize: experts.hiddenSize) }
    }

    /// Sends neurons from where they lie to where they go: ranges are blocks of memory at both ends.
    private func exchange(_ items: [StateTransfer], _ moves: [Int: ExpertMove]) throws {
        if items.isEmpty { return }
        let context = experts.context
        let rank = context.communicator.rank
        try context.startExchange(
            leaving: items.filter { $0.transfer.source == rank }.map {
                ($0.transfer.destination, moves.of($0).source($0))
            },
            arriving: items.filter { $0.transfer.destination == rank }.map {
                ($0.transfer.source, moves.of($0).destination($0))
            }
        ).wait()
    }

    /// Compares what left with what arrived: the sender adds its checksum, the receiver takes its own off, and the sum over
    /// the ranks is zero for each transfer, or every rank knows which went wrong.
    private func compare(_ items: [StateTransfer], _ moves: [Int: ExpertMove], layer: Int) throws {
        if items.isEmpty { return }
        let communicator = experts.context.communicator
        let differences = items.map { item in
            switch communicator.rank {
            case item.transfer.source: Self.checksum(moves.of(item).source(item))
            case item.transfer.destination: -Self.checksum(moves.of(item).destination(item))
            default: 0
            }
        }
        var sums = differences
        var span = sums.mutableSpan
        try communicator.allReduce(&span, .sum)
        if let wrong = sums.firstIndex(where: { $0 != 0 }) {
            throw MigrationError.checksum(layer: layer, part: items[wrong].part, transfer: items[wrong].transfer)
        }
    }

    /// 62 bits, so that neither it nor its negative overflows a sum.
    private static func checksum(_ rows: Tensor) -> Int { Int(Checksum.of(rows) >> 2) }

    private func finish(_ finishing: [Int], _ moves: inout [Int: ExpertMove]) {
        for expert in finishing {
            guard let move = moves.removeValue(forKey: expert) else { continue }
            (experts.shards[expert], owned[expert]) = move.result
        }
        // All old memory is free before gradients take theirs.
        for expert in finishing {
            experts.shards[expert]?.makeGradient()
            for index in owned[expert]?.masters.indices ?? 0..<0 { owned[expert]?.masters[index].makeGradient() }
        }
    }
}

extension [Int: ExpertMove] {
    /// The move of an item's expert, which has begun.
    fileprivate func of(_ item: StateTransfer) -> ExpertMove {
        guard let move = self[item.transfer.expert] else {
            preconditionFailure("expert \(item.transfer.expert) does not migrate")
        }
        return move
    }
}
