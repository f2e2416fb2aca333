import Layers
import Testing

@Suite struct AuxiliaryLossTests {
    @Test func evenRoutingGivesTheNumberOfChoices() {
        let value = AuxiliaryLoss.value(
            counts: [[4, 4, 4, 4], [4, 4, 4, 4]], probabilitySums: [[2, 2, 2, 2], [2, 2, 2, 2]], tokens: 8)
        #expect(abs(value - 2) < 1e-12)
    }

    /// Layers are put together before the product: what is uneven in each layer but even in all counts as even.
    @Test func layersAreTakenTogether() {
        let crossed = [[8, 0], [0, 8]]
        let value = AuxiliaryLoss.value(
            counts: crossed, probabilitySums: crossed.map { $0.map(Double.init) }, tokens: 8)
        #expect(abs(value - 1) < 1e-12)
        let byHand = AuxiliaryLoss.value(
            counts: [[3, 1], [2, 2]], probabilitySums: [[2.5, 1.5], [3, 1]], tokens: 4)
        #expect(abs(byHand - 2 * (5.0 / 8 * 5.5 / 8 + 3.0 / 8 * 2.5 / 8)) < 1e-12)
    }

    @Test func gradientIsThatOfTheProbabilitySums() {
        let counts = [[5, 1, 2], [3, 3, 2]]
        let sums = [[1.5, 1.0, 1.5], [2.0, 1.0, 1.0]]
        let gradient = AuxiliaryLoss.gradient(counts: counts, tokens: 4, coefficient: 0.1)
        for expert in 0..<3 {
            for layer in 0..<2 {
                var (above, below) = (sums, sums)
                above[layer][expert] += 0.5
                below[layer][expert] -= 0.5
                let difference =
                    AuxiliaryLoss.value(counts: counts, probabilitySums: above, tokens: 4)
                    - AuxiliaryLoss.value(counts: counts, probabilitySums: below, tokens: 4)
                #expect(abs(Double(gradient[expert]) - 0.1 * difference) < 1e-7)
            }
        }
    }

    @Test func withoutTokensThereIsNoLoss() {
        #expect(AuxiliaryLoss.value(counts: [[0, 0]], probabilitySums: [[0, 0]], tokens: 0) == 0)
        #expect(AuxiliaryLoss.gradient(counts: [[0, 0]], tokens: 0, coefficient: 1) == [0, 0])
        #expect(AuxiliaryLoss.value(counts: [], probabilitySums: [], tokens: 3) == 0)
    }
}
