import ExpertPlacement
import PlacementInvariance
import Randomness
import TestSupport
import Testing

@Suite struct MigrationTests {
    /// A way between two random placements of a layer.
    private struct Case {
        let seed: UInt64
        let worldSize: Int
        let widths: [Int]
        let source: LayerPlacement
        let target: LayerPlacement
        let migration: LayerMigration

        init(
            seed: UInt64, round: Int, largestWorld: Int, ownership: OwnershipPolicy, nodes: ((Int) -> Int)? = nil
        ) throws {
            self.seed = seed
            let generator = CounterBasedGenerator(seed: seed, purpose: "migration", keys: [round])
            worldSize = 1 + generator.integer(at: 0, below: largestWorld)
            widths = (0..<3).map { 1 + generator.integer(at: UInt64(1 + $0), below: 9) }
            var plans = RandomPlan(seed: generator.bits(at: 4))
            let model = ExpertModel(hiddenSize: 2, layers: [widths])
            source = try plans.plan(for: model, worldSize: worldSize).layers[0]
            target = try plans.plan(for: model, worldSize: worldSize).layers[0]
            migration = try LayerMigration(
                layer: 1, from: source, to: target, ownership: ownership,
                nodes: (0..<worldSize).map { nodes?($0) ?? 0 })
        }

        var context: Comment { "seed \(seed), \(worldSize) ranks, from \(source.experts) to \(target.experts)" }
    }

    /// Who holds a neuron's weights, and who owns it: bit r for rank r.
    private func holders(
        _ placement: ExpertPlacement, neuron: Int, expert: Int, _ ownership: OwnershipPolicy, _ worldSize: Int
    ) -> (weights: Int, moments: Int) {
        let owners = placement.owners(ownership, layer: 1, expert: expert, worldSize: worldSize)
            .filter { $0.neurons.contains(neuron) }
        let residents = (0..<worldSize).filter { placement.residentNeurons(of: $0)?.contains(neuron) == true }
        let owner = owners.reduce(0) { $0 | 1 << $1.rank }
        return (residents.reduce(owner) { $0 | 1 << $1 }, owner)
    }

    /// The fewest copies after which all ranks of `needed` have what ranks of `held` have: tries all, each to and from any
    /// rank, breadth first.
    private func fewestCopies(held: Int, needed: Int, worldSize: Int) -> Int {
        var (reached, copies) = (Set([held]), 0)
        while !reached.contains(where: { $0 & needed == needed }) {
            copies += 1
            reached = Set(
                reached.flatMap { state in
                    (0..<worldSize).flatMap { source in
                        (0..<worldSize).compactMap { state & (1 << source) == 0 ? nil : state | 1 << $0 }
                    }
                })
        }
        return copies
    }

    /// What a change is told to move without a list of transfers is what is on the list.
    @Test(arguments: OwnershipPolicy.allCases) func bytesAreKnownBeforehand(ownership: OwnershipPolicy) throws {
        let seed = TestRuns.seed("bytes beforehand, \(ownership)")
        for round in 0..<500 {
            let example = try Case(seed: seed, round: round, largestWorld: 9, ownership: ownership)
            let change = PlacementChange(
                from: example.source, to: example.target, worldSize: example.worldSize, ownership: ownership, layer: 1)
            #expect(change.bytes(hiddenSize: 2) == example.migration.bytes(hiddenSize: 2), example.context)
        }
    }

    @Test(arguments: OwnershipPolicy.allCases) func movesTheFewestBytes(ownership: OwnershipPolicy) throws {
        let seed = TestRuns.seed("fewest bytes, \(ownership)")
        for round in 0..<200 {
            let example = try Case(seed: seed, round: round, largestWorld: 5, ownership: ownership)
            var copies = 0
            for (expert, (old, new)) in zip(example.source.experts, example.target.experts).enumerated() {
                for neuron in 0..<old.width {
                    let held = holders(old, neuron: neuron, expert: expert, ownership, example.worldSize)
                    let needed = holders(new, neuron: neuron, expert: expert, ownership, example.worldSize)
                    copies += fewestCopies(
                        held: held.weights, needed: needed.weights, worldSize: example.worldSize)
                    copies +=
                        2
                        * fewestCopies(
                            held: held.moments, needed: needed.moments, worldSize: example.worldSize)
                }
            }
            #expect(example.migration.bytes(hiddenSize: 2) == copies * 3 * 2 * 4, example.context)
            let sent = (0..<example.worldSize).reduce(0) { $0 + example.migration.bytesSent(by: $1, hiddenSize: 2) }
            #expect(sent == example.migration.bytes(hiddenSize: 2))
            if ownership == .decoupled { #expect(example.migration.moments.isEmpty) }
        }
    }

    /// Replays the stages on sets of neurons: every transfer leaves where its neurons are, and in the end all is in place.
    @Test(arguments: OwnershipPolicy.allCases) func stagesBringEverything(ownership: OwnershipPolicy) throws {
        let seed = TestRuns.seed("stages, \(ownership)")
        for round in 0..<200 {
            let example = try Case(seed: seed, round: round, largestWorld: 6, ownership: ownership)
            let limit = 1 + round % 5
            var arrived = Set<[Int]>()
            var started = Set<Int>()
            var finished = Set<Int>()
            func ranges(_ placement: LayerPlacement, _ expert: Int, _ rank: Int) -> StateRanges {
                placement.stateRanges(
                    of: expert, rank: rank, ownership, layer: 1, worldSize: example.worldSize)
            }
            func parts(_ state: StateRanges, _ part: StatePart) -> [Range<Int>] {
                part == .weights ? state.weights : [state.owned]
            }
            for stage in example.migration.stages(neuronLimit: limit) {
                for expert in stage.starting { #expect(started.insert(expert).inserted) }
                var sent = [Int](repeating: 0, count: example.worldSize)
                var received = sent
                for item in stage.transfers {
                    let transfer = item.transfer
                    #expect(started.contains(transfer.expert) && !finished.contains(transfer.expert))
                    sent[transfer.source] += transfer.neurons.count
                    received[transfer.destination] += transfer.neurons.count
                    // Each end has the neurons in one range.
                    let source = parts(ranges(example.source, transfer.expert, transfer.source), item.part)
                    let target = parts(ranges(example.target, transfer.expert, transfer.destination), item.part)
                    for ends in [source, target] {
                        #expect(
                            ends.contains { $0.clamped(to: transfer.neurons) == transfer.neurons }, example.context)
                    }
                    for neuron in transfer.neurons {
                        let place = [
                            transfer.expert, neuron, transfer.destination,
                            StatePart.allCases.firstIndex(of: item.part) ?? 0,
                        ]
                        #expect(arrived.insert(place).inserted, "twice: \(place)")
                    }
                }
                #expect((sent + received).allSatisfy { $0 <= limit })
                for expert in stage.finishing { #expect(finished.insert(expert).inserted) }
            }
            #expect(started == finished)
            #expect(started.sorted() == example.migration.movedExperts)
            for expert in example.target.experts.indices {
                for rank in 0..<example.worldSize {
                    let (old, new) = (
                        ranges(example.source, expert, rank), ranges(example.target, expert, rank)
                    )
                    for (index, part) in StatePart.allCases.enumerated() {
                        let held = Set(parts(old, part).joined())
                        for neuron in Set(parts(new, part).joined()) {
                            // What is in place never moves.
                            #expect(
                                arrived.contains([expert, neuron, rank, index]) != held.contains(neuron),
                                example.context)
                        }
                    }
                }
            }
        }
    }

    @Test(arguments: OwnershipPolicy.allCases) func nothingMovesBetweenEqualPlans(ownership: OwnershipPolicy) throws {
        var plans = RandomPlan(seed: 8)
        let model = ExpertModel(hiddenSize: 4, layers: [[5, 8], [3]])
        for worldSize in 1...6 {
            let plan = try plans.plan(for: model, worldSize: worldSize)
            // Other fractions, and even cuts that are spelt out, are the same places.
            let same = try PlacementPlan(
                worldSize: worldSize,
                layers: plan.layers.map { layer in
                    LayerPlacement(
                        experts: try layer.experts.map { expert in
                            let bounds = (0..<expert.mesh.tensorParallel).map {
                                expert.neurons(ofShard: $0).upperBound
                            }
                            return try ExpertPlacement(width: expert.width, mesh: expert.mesh, cuts: [0] + bounds)
                        })
                })
            let migration = try Migration(from: plan, to: same, ownership: ownership)
            #expect(migration.bytes(hiddenSize: 4) == 0)
            #expect(migration.layers.allSatisfy { $0.stages(neuronLimit: 1).isEmpty })
            #expect(MigrationSchedule(migration, hiddenSize: 4, budgetBytes: 1).layersByStep == [[0, 1]])
        }
    }

    private func whole(_ ranks: [Int], width: Int) throws -> ExpertPlacement {
        try ExpertPlacement(
            width: width, mesh: DeviceMesh(dataParallel: ranks.count, tensorParallel: 1, ranks: ranks))
    }

    /// Four replicas share the work of making two more.
    @Test func sourcesShareTheWork() throws {
        let migration = try LayerMigration(
            layer: 0, from: LayerPlacement(experts: [whole([0, 1, 2, 3], width: 40)]),
            to: LayerPlacement(experts: [whole([0, 1, 2, 3, 4, 5], width: 40)]), ownership: .decoupled,
            nodes: [0, 0, 0, 0, 0, 0])
        // 4 and 5 own 6 neurons each already, which the other lacks; of the 28 more that each lacks, all send as much.
        #expect((0..<6).map { migration.bytesSent(by: $0, hiddenSize: 1) / 12 }.sorted() == [6, 6, 14, 14, 14, 14])
    }

    @Test func sourcesAreOnTheSameNodeWhereOneHasIt() throws {
        let seed = TestRuns.seed("nodes")
        for round in 0..<100 {
            let example = try Case(
                seed: seed, round: round, largestWorld: 6, ownership: .colocated, nodes: { $0 / 2 })
            for transfer in example.migration.weights where transfer.source / 2 != transfer.destination / 2 {
                let near = example.source.experts[transfer.expert].residentNeurons(of: transfer.destination ^ 1)
                #expect(near?.clamped(to: transfer.neurons).isEmpty != false, example.context)
            }
        }
    }

    @Test func layersSwitchUnderTheBudget() throws {
        // 1, 2, 0 and 3 experts of 12 neuron bytes · (1 + 2) move.
        let (here, there) = (try whole([0], width: 1), try whole([1], width: 1))
        let source = [LayerPlacement](repeating: LayerPlacement(experts: [here, here, here]), count: 4)
        let plan = try PlacementPlan(
            worldSize: 2,
            layers: [
                LayerPlacement(experts: [there, here, here]), LayerPlacement(experts: [there, there, here]),
                LayerPlacement(experts: [here, here, here]), LayerPlacement(experts: [there, there, there]),
            ])
        let migration = try Migration(from: source, to: plan, ownership: .colocated)
        #expect(migration.layers.map { $0.bytes(hiddenSize: 1) } == [36, 72, 0, 108])
        func steps(_ budget: Int?, _ order: [Int]? = nil) -> [[Int]] {
            MigrationSchedule(migration, hiddenSize: 1, budgetBytes: budget, order: order).layersByStep
        }
        #expect(steps(nil) == [[2, 0, 1, 3]])
        #expect(steps(108) == [[2, 0, 1], [3]])
        #expect(steps(1) == [[2, 0], [1], [3]])
        #expect(steps(144, [3, 2, 1, 0]) == [[2, 3], [1, 0]])
        let schedule = MigrationSchedule(migration, hiddenSize: 1, budgetBytes: 1)
        #expect(schedule.switchSteps(firstStep: 7) == [0: 7, 1: 8, 2: 7, 3: 9])
    }

    /// The stated bound holds.
    @Test(arguments: OwnershipPolicy.allCases) func memoryIsBounded(ownership: OwnershipPolicy) throws {
        let seed = TestRuns.seed("memory, \(ownership)")
        for round in 0..<100 {
            let example = try Case(seed: seed, round: round, largestWorld: 5, ownership: ownership)
            for rank in 0..<example.worldSize {
                func neurons(_ placement: LayerPlacement, _ expert: Int) -> (weights: Int, moments: Int) {
                    let state = placement.stateRanges(
                        of: expert, rank: rank, ownership, layer: 1, worldSize: example.worldSize)
                    return (state.weights.reduce(0) { $0 + $1.count }, 2 * state.owned.count)
                }
                var (before, after, bound) = (0, 0, 0)
                for expert in example.source.experts.indices {
                    let (old, new) = (neurons(example.source, expert), neurons(example.target, expert))
                    let full = [old, new].map { 2 * $0.weights + $0.moments }
                    before += full[0]
                    after += full[1]
                    bound += max(full[0], full[1], old.weights + old.moments + new.weights + new.moments)
                }
                for chunk in [1, 24, 100, 10_000] {
                    let peak = example.migration.peakBytes(of: rank, hiddenSize: 2, chunkBytes: chunk)
                    #expect(peak >= max(before, after) * 24, example.context)
                    #expect(peak <= bound * 24, example.context)
                }
            }
        }
    }

    @Test func refusesOtherExpertsAndRanks() throws {
        let layer = LayerPlacement(experts: [try whole([0, 1], width: 4)])
        for (other, nodes) in [
            (LayerPlacement(experts: [try whole([0], width: 5)]), [0, 0]), (LayerPlacement(experts: []), [0, 0]),
            (layer, [0]),
        ] {
            #expect(throws: PlacementError.self) {
                try LayerMigration(layer: 0, from: layer, to: other, ownership: .colocated, nodes: nodes)
            }
        }
        let small = try PlacementPlan(worldSize: 2, layers: [layer])
        let large = try PlacementPlan(worldSize: 3, layers: [layer])
        let deep = try PlacementPlan(worldSize: 2, layers: [layer, layer])
        #expect(throws: PlacementError.self) { try Migration(from: small, to: large, ownership: .colocated) }
        #expect(throws: PlacementError.self) { try Migration(from: small, to: deep, ownership: .colocated) }
    }
}
