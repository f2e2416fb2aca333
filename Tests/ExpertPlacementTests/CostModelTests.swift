import ExpertPlacement
import Testing

@Suite struct CostModelTests {
    private func layer(_ experts: [[Int]], width: Int = 8) throws -> LayerPlacement {
        LayerPlacement(
            experts: try experts.map {
                try ExpertPlacement(
                    width: width, mesh: DeviceMesh(dataParallel: $0.count, tensorParallel: 1, ranks: $0))
            })
    }

    @Test func aReplicaAndAHomeHaveTheirOwnPrice() throws {
        let costs = CostModel(exchangeLatencySeconds: 0.5, bytesPerSecond: 1000)
        // A second replica: its weights, and half of the optimizer state.
        var change = try PlacementChange(from: layer([[0]]), to: layer([[0, 1]]), worldSize: 2)
        #expect(change.replicaNeurons == [0, 8] && change.homeNeurons == [0, 4])
        #expect(costs.replicaBytes(neurons: 8, hiddenSize: 2) == 192)
        #expect(costs.homeBytes(neurons: 4, hiddenSize: 2) == 192)
        #expect(abs(costs.seconds(change, hiddenSize: 2) - (0.5 + 0.384)) < 1e-12)
        // A new home: all of both.
        change = try PlacementChange(from: layer([[0]]), to: layer([[1]]), worldSize: 2)
        #expect(change.replicaNeurons == [0, 8] && change.homeNeurons == [0, 8])
        change = try PlacementChange(from: layer([[0, 1]]), to: layer([[0, 1]]), worldSize: 2)
        #expect(change.isEmpty && costs.seconds(change, hiddenSize: 2) == 0)
        // Narrow values have masters besides.
        let narrow = CostModel(valueBytes: 2)
        #expect(
            narrow.replicaBytes(neurons: 1, hiddenSize: 1) == 6 && narrow.homeBytes(neurons: 1, hiddenSize: 1) == 36)
    }

    @Test func theSlowestRankCounts() throws {
        let costs = CostModel(
            rowSeconds: 1, neuronSeconds: 0.5, slowness: [1, 2], exchangeLatencySeconds: 0, bytesPerSecond: 1e30)
        let prediction = LayerPrediction(
            try layer([[0], [1]]), loads: [10, 10], deviations: [1, 1], caution: 2, costs: costs, hiddenSize: 2,
            worldSize: 2)
        // A row takes 1 + 8 · 0.5 seconds, twice that on rank 1. Where the one expert has a row more, the other has one less.
        for (seconds, expected) in zip(prediction.rankSeconds, [60.0, 120]) { #expect(abs(seconds - expected) < 1e-9) }
        #expect(prediction.seconds == prediction.rankSeconds[1])
        #expect(abs(prediction.balance - 0.75) < 1e-9)
    }

    /// Errors of experts have nothing to do with each other, but add up to nothing.
    @Test func errorsOfLoadsAddUpToNothing() throws {
        let costs = CostModel(rowSeconds: 0, neuronSeconds: 1, exchangeLatencySeconds: 0, bytesPerSecond: 1e30)
        let layer = try layer([[0], [1], [0, 1], [1]])
        let deviations = [3.0, 1, 2, 2]
        let (mean, cautious) = try (
            predict(layer, deviations: deviations, caution: 0, costs),
            predict(layer, deviations: deviations, caution: 1, costs)
        )
        // Rank 0 has expert 0 and half of expert 2: conditioned on a sum of nothing, the errors' covariances are
        // d_i² δ_ij - d_i² d_j² / Σ d².
        let squares = deviations.map { $0 * $0 }
        let parts = [1, 0, 0.5, 0]
        var variance = 0.0
        for i in 0..<4 {
            for j in 0..<4 {
                let covariance = (i == j ? squares[i] : 0) - squares[i] * squares[j] / squares.reduce(0, +)
                variance += 8 * parts[i] * 8 * parts[j] * covariance
            }
        }
        // Of two ranks, each deviates by half of their difference.
        for rank in 0..<2 {
            #expect(abs(cautious[rank] - mean[rank] - (2 * variance).squareRoot()) < 1e-9)
        }
        // Every expert on both ranks: whatever the errors, they have as much to do.
        let even = try self.layer([[0, 1], [0, 1], [0, 1], [0, 1]])
        #expect(
            try predict(even, deviations: deviations, caution: 1, costs).elementsEqual(
                predict(even, deviations: deviations, caution: 0, costs)
            ) { abs($0 - $1) < 1e-6 })
    }

    private func predict(
        _ layer: LayerPlacement, deviations: [Double], caution: Double, _ costs: CostModel
    ) throws -> [Double] {
        LayerPrediction(
            layer, loads: [10, 10, 10, 10], deviations: deviations, caution: caution, costs: costs, hiddenSize: 2,
            worldSize: 2
        ).rankSeconds
    }

    /// Every layer has an exchange, and replicas two more, of gradients and of weights.
    @Test func replicasAreKeptEqualInTwoExchanges() throws {
        let costs = CostModel(rowSeconds: 0, neuronSeconds: 0, exchangeLatencySeconds: 1, bytesPerSecond: 1e30)
        for (ranks, latency) in [([[0], [1]], 1.0), ([[0, 1], [1]], 3)] {
            let prediction = LayerPrediction(
                try layer(ranks), loads: [10, 10], deviations: [0, 0], caution: 0, costs: costs, hiddenSize: 2,
                worldSize: 2)
            #expect(prediction.rankSeconds.allSatisfy { abs($0 - latency) < 1e-9 })
        }
    }

    @Test func refusesWhatIsNoCost() {
        for costs in [
            CostModel(rowSeconds: -1), CostModel(neuronSeconds: 0), CostModel(slowness: [1]),
            CostModel(slowness: [1, 0]), CostModel(bytesPerSecond: 0), CostModel(neuronSeconds: .infinity),
        ] {
            #expect(throws: PlacementError.self) { try costs.validate(worldSize: 2) }
        }
    }
}
