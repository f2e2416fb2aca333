import ControlTestSupport
import Testing

/// The bodies that the state machine passes by itself, over a socket and with a database.
struct ScenarioTests {
    @Test(arguments: ChangeScenarios.all.map(\.name))
    func scenario(name: String) async throws {
        let body = try #require(ChangeScenarios.all.first { $0.name == name }?.body)
        try await LiveCoordinator.run { coordinator in
            try await body(ChangeScenarios(coordinator.client()))
        }
    }

    @Test func allScenariosInOneDatabase() async throws {
        try await LiveCoordinator.run { coordinator in
            let client = try await coordinator.client()
            try await withThrowingDiscardingTaskGroup { group in
                for scenario in ChangeScenarios.all {
                    group.addTask { try await scenario.body(ChangeScenarios(client)) }
                }
            }
        }
    }
}
