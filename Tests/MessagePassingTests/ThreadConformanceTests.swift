import CommunicatorConformance
import MessagePassing
import TestSupport
import Testing

@Suite struct ThreadConformanceTests {
    @Test(arguments: 1...5, CommunicatorConformance.checks)
    func conforms(worldSize: Int, check: CommunicatorConformance.Check) throws {
        let seed = TestRuns.seed("ThreadCommunicator, \(worldSize) ranks, \(check)")
        _ = try ThreadCommunicator.run(worldSize: worldSize) { try check.run($0, seed) }
    }
}
