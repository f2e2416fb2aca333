import ExpertParallelism
import ExpertPlacement
import MessagePassing
import Testing

@Suite struct ExchangeProbeTests {
    private static let model = ExpertModel(hiddenSize: 64, layers: [[512, 512]])

    @Test func oneRankExchangesNothing() throws {
        #expect(try ExchangeProbe.measure(ThreadCommunicator(), model: Self.model) == nil)
    }

    @Test(arguments: 2...5) func allRanksGetTheSameFigures(worldSize: Int) throws {
        let costs = try ThreadCommunicator.run(worldSize: worldSize) {
            try ExchangeProbe.measure($0, model: Self.model)
        }
        let first = try #require(costs[0])
        #expect(costs.allSatisfy { $0 == first })
        // Between nothing and a second; slower than a modem is no measurement.
        #expect(first.latencySeconds > 0 && first.latencySeconds < 1)
        #expect(first.bytesPerSecond > 1e4 && first.bytesPerSecond.isFinite)
    }
}
