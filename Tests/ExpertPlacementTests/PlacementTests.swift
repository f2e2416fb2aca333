import ExpertPlacement
import Testing

/// Shards, owners and the ways between them, for every small mesh.
@Suite struct PlacementTests {
    /// Every mesh of up to `worldSize` ranks, the ranks in an order of their own, with every way to cut `width` neurons.
    private func withEveryPlacement(
        worldSize: Int, width: Int, _ body: (ExpertPlacement) throws -> Void
    ) throws {
        for replicas in 1...worldSize {
            for shards in 1...min(worldSize / replicas, width) {
                let ranks = (0..<replicas * shards).map { ($0 * 3 + 1) % worldSize }
                // Steps of 3 visit every rank once unless 3 divides the world size.
                let distinct = Set(ranks).count == ranks.count ? ranks : Array(ranks.indices.reversed())
                let mesh = try DeviceMesh(dataParallel: replicas, tensorParallel: shards, ranks: distinct)
                try body(ExpertPlacement(width: width, mesh: mesh))
                for chosen in subsets(of: Array(1..<width), count: shards - 1) {
                    try body(ExpertPlacement(width: width, mesh: mesh, cuts: [0] + chosen + [width]))
                }
            }
        }
    }

    private func subsets(of items: [Int], count: Int) -> [[Int]] {
        if count == 0 { return [[]] }
        guard let first = items.first else { return [] }
        let rest = Array(items.dropFirst())
        return subsets(of: rest, count: count - 1).map { [first] + $0 } + subsets(of: rest, count: count)
    }

    @Test func everyNeuronIsInOneShardAndHasOneOwner() throws {
        var placements = 0
        for worldSize in 1...5 {
            for width in 1...6 {
                try withEveryPlacement(worldSize: worldSize, width: width) { placement in
                    placements += 1
                    let shards = (0..<placement.mesh.tensorParallel).map { placement.neurons(ofShard: $0) }
                    #expect(shards.flatMap(Array.init) == Array(0..<width))
                    #expect(shards.allSatisfy { !$0.isEmpty })
                    let owners = placement.owners
                    #expect(owners.flatMap { Array($0.neurons) } == Array(0..<width), "\(placement)")
                    #expect(Set(owners.map(\.rank)).count == owners.count)
                    for rank in 0..<worldSize {
                        let owned = placement.ownedNeurons(of: rank)
                        let listed = owners.first { $0.rank == rank }?.neurons
                        #expect(listed == (owned.isEmpty ? nil : owned))
                        let resident = placement.residentNeurons(of: rank)
                        #expect((resident != nil) == (placement.mesh.position(of: rank) != nil))
                        // State is co-located: what a rank owns it computes with.
                        if !owned.isEmpty { #expect(resident?.clamped(to: owned) == owned) }
                    }
                }
            }
        }
        #expect(placements > 300)
    }

    @Test func evenShardsAndPiecesDifferByOneNeuron() throws {
        for replicas in 1...3 {
            for shards in 1...3 {
                for width in shards...12 {
                    let mesh = try DeviceMesh(
                        dataParallel: replicas, tensorParallel: shards, ranks: Array(0..<replicas * shards))
                    let placement = try ExpertPlacement(width: width, mesh: mesh)
                    let sizes = (0..<shards).map { placement.neurons(ofShard: $0).count }
                    #expect(sizes == sizes.sorted(by: >) && sizes[0] - sizes[shards - 1] <= 1)
                    for shard in 0..<shards {
                        let pieces = (0..<replicas).map {
                            placement.ownedNeurons(of: mesh.rank(replica: $0, shard: shard)).count
                        }
                        #expect(pieces == pieces.sorted(by: >) && pieces[0] - pieces[replicas - 1] <= 1)
                    }
                }
            }
        }
    }

    /// Gradients of every replica reach each owner once, and what is in place does not move.
    @Test func transfersAreTheLeastThatIsNeeded() throws {
        for worldSize in 1...4 {
            for width in 1...5 {
                try withEveryPlacement(worldSize: worldSize, width: width) { placement in
                    let layer = LayerPlacement(experts: [placement])
                    let gradients = layer.gradientTransfers(.colocated, layer: 0, worldSize: worldSize)
                    var arrivals = [Int: [Int]]()  // By neuron: sources.
                    for transfer in gradients {
                        #expect(transfer.source != transfer.destination && !transfer.neurons.isEmpty)
                        for neuron in transfer.neurons {
                            #expect(placement.ownedNeurons(of: transfer.destination).contains(neuron))
                            arrivals[neuron, default: []].append(transfer.source)
                        }
                    }
                    for neuron in 0..<width {
                        let owner = placement.owners.first { $0.neurons.contains(neuron) }?.rank
                        let others = placement.residents
                            .filter { $0.neurons.contains(neuron) && $0.rank != owner }.map(\.rank)
                        #expect((arrivals[neuron] ?? []).sorted() == others.sorted())
                    }
                    // Each replica but the owner's part sends its gradient once: (D − 1)·F neurons in all.
                    let moved = gradients.reduce(0) { $0 + $1.neurons.count }
                    #expect(moved == (placement.mesh.dataParallel - 1) * width)
                    #expect(
                        Set(layer.refreshTransfers(.colocated, layer: 0, worldSize: worldSize))
                            == Set(
                                gradients.map {
                                    NeuronTransfer(
                                        expert: 0, neurons: $0.neurons, source: $0.destination, destination: $0.source)
                                }))
                }
            }
        }
    }

    @Test func transfersNameTheirExpert() throws {
        let mesh = try DeviceMesh(dataParallel: 2, tensorParallel: 1, ranks: [0, 1])
        let alone = try DeviceMesh(dataParallel: 1, tensorParallel: 1, ranks: [1])
        let layer = LayerPlacement(experts: [
            try ExpertPlacement(width: 3, mesh: alone), try ExpertPlacement(width: 3, mesh: mesh),
        ])
        #expect(
            layer.gradientTransfers(.colocated, layer: 0, worldSize: 2) == [
                NeuronTransfer(expert: 1, neurons: 0..<2, source: 1, destination: 0),
                NeuronTransfer(expert: 1, neurons: 2..<3, source: 0, destination: 1),
            ])
    }

    @Test func fractionsAreEvenUnlessSaid() throws {
        let mesh = try DeviceMesh(dataParallel: 4, tensorParallel: 1, ranks: [0, 1, 2, 3])
        let even = try ExpertPlacement(width: 3, mesh: mesh)
        #expect((0..<4).map { even.fraction(ofReplica: $0) } == [0.25, 0.25, 0.25, 0.25])
        let said = try ExpertPlacement(width: 3, mesh: mesh, fractions: [0, 0.5, 0.25, 0.25])
        #expect((0..<4).map { said.fraction(ofReplica: $0) } == [0, 0.5, 0.25, 0.25])
    }

    @Test func evenPartsCoverTheRange() {
        for count in 1...7 {
            for length in 0...20 {
                let range = 5..<5 + length
                let parts = (0..<count).map { evenPart($0, of: count, in: range) }
                #expect(parts.flatMap(Array.init) == Array(range))
                #expect((parts.map(\.count).max() ?? 0) - (parts.map(\.count).min() ?? 0) <= 1)
            }
        }
    }

    private static let refusals: [(width: Int, fractions: [Double]?, cuts: [Int]?, reason: String)] = [
        (0, nil, nil, "cannot be spread"), (-3, nil, nil, "cannot be spread"), (1, nil, nil, "cannot be spread"),
        (4, [1.0], nil, "1 fractions for 2 replicas"), (4, [0.5, 0.6], nil, "add up to 1"),
        (4, [1.5, -0.5], nil, "must not be negative"), (4, [.nan, 1], nil, "add up to 1"),
        (4, [.infinity, 0], nil, "add up to 1"), (4, nil, [0, 4], "must ascend"), (4, nil, [0, 0, 4], "must ascend"),
        (4, nil, [0, 4, 4], "must ascend"), (4, nil, [1, 2, 4], "must ascend"), (4, nil, [0, 2, 5], "must ascend"),
        (4, nil, [0, 3, 2, 4], "must ascend"), (4, nil, [], "must ascend"),
    ]

    @Test(arguments: refusals)
    func refusesWhatDoesNotFit(width: Int, fractions: [Double]?, cuts: [Int]?, reason: String) throws {
        let mesh = try DeviceMesh(dataParallel: 2, tensorParallel: 2, ranks: [0, 1, 2, 3])
        let error = #expect(throws: PlacementError.self) {
            _ = try ExpertPlacement(width: width, mesh: mesh, fractions: fractions, cuts: cuts)
        }
        #expect(error.map { "\($0)" }?.contains(reason) == true, "\(String(describing: error))")
    }
}
