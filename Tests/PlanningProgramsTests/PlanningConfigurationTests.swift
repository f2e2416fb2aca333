import ControlProtocol
import ControlTestSupport
import ExpertPlacement
import Foundation
import PlanningPrograms
import Testing

struct PlanningConfigurationTests {
    private func read(_ text: String) throws -> PlanningConfiguration {
        let folder = try TemporaryFolder()
        try text.write(toFile: folder.path("moe.yaml"), atomically: true, encoding: .utf8)
        return try PlanningConfiguration(file: folder.path("moe.yaml"))
    }

    @Test func aFileNamesProgramsAndOptions() throws {
        let configuration = try read(
            """
            listen: 127.0.0.1:7700
            planning: {interval_steps: 20}
            allocators:
              mine:
                command: [python3, policy.py, --caution, "2"]
                time_limit_seconds: 5
              eager: {command: [./eager], hysteresis: false}
            """)
        #expect(configuration.options == .init(intervalSteps: 20))
        #expect(
            configuration.programs == [
                "mine": ProgramConfiguration(command: ["python3", "policy.py", "--caution", "2"], timeLimitSeconds: 5),
                "eager": ProgramConfiguration(command: ["./eager"], hysteresis: false),
            ])
        #expect(try read("# nothing\n") == PlanningConfiguration())
    }

    @Test(
        arguments: [
            ("allocators: {a: {command: []}}", "allocators.a.command"), ("allocators: {a: {}}", "command is missing"),
            ("allocators: {a: {command: ls}}", "allocators.a"), ("allocators: [a]", "allocators"),
            ("allocators: {a/b: {command: [ls]}}", "\"a/b\" is no alias"), ("allocators: {a: 5}", "allocators.a"),
            ("allocators: {a: {command: [ls], timelimit: 5}}", "unknown key \"timelimit\"; known are command"),
            ("allocators: {a: {command: [ls], time_limit_seconds: 0}}", "time_limit_seconds is 0.0"),
            ("allocators: {a: {command: [ls], time_limit_seconds: .nan}}", "time_limit_seconds is nan"),
            ("planning: {interval_steps: 0}", "interval_steps is 0"),
            ("planning: {freeze: 1}", "unknown key \"freeze\""),
            ("planning: {enabled: perhaps}", "planning.enabled"), ("a: [", "moe.yaml"),
        ])
    func mistakesAreNamed(text: String, reason: String) throws {
        let error = #expect(throws: PlanningConfigurationError.self) { try read(text) }
        #expect("\(String(describing: error))".contains(reason), "\(String(describing: error))")
    }

    @Test func aLongSearchEndsWithTheCoordinator() throws {
        let cancellation = PlanningCancellation()
        cancellation.cancel()
        var allocator = try PlanningConfiguration().allocator(
            named: "exact:slots=1,limit=500", limits: .standard, memoryLimits: nil, cancellation: cancellation)
        let model = ExpertModel(hiddenSize: 8, layers: [[16, 16, 16, 16, 16, 16, 16]])
        let cluster = Cluster(worldSize: 12)
        let current = try StaticAllocator(.expertParallel).allocateExperts(
            current: nil, model: model, cluster: cluster, step: 0)
        allocator.collectPerformance(Samples.sample(loads: [[900, 170, 130, 110, 70, 50, 30]]), rank: 0)
        let error = #expect(throws: PlacementError.self) {
            try allocator.allocateExperts(current: current, model: model, cluster: cluster, step: 20)
        }
        #expect("\(String(describing: error))".contains("was ended"), "\(String(describing: error))")
    }
}
