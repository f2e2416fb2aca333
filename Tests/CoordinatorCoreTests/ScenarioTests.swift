import ControlTestSupport
import Testing

struct ScenarioTests {
    @Test(arguments: ChangeScenarios.all.map(\.name))
    func scenario(name: String) async throws {
        let body = try #require(ChangeScenarios.all.first { $0.name == name }?.body)
        try await body(ChangeScenarios(InProcessPeer()))
    }
}
