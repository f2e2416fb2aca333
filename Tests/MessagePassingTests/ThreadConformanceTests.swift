import CommunicatorConformance
import MessagePassing
import Testing

@Suite struct ThreadConformanceTests {
    @Test(arguments: 1...5, CommunicatorConformance.checks)
    func conforms(worldSize: Int, check: CommunicatorConformance.Check) throws {
        let seed = UInt64.random(in: 0 ... .max)
        print("ThreadCommunicator, \(worldSize) ranks, \(check): seed \(seed)")
        _ = try ThreadCommunicator.run(worldSize: worldSize) { try check.run($0, seed) }
    }
}
